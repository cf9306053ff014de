"""`--help`: flags in groups, the common ones first, of the parts that are in use.

`--help-all` shows the flags of every part, with their whole descriptions.
"""

import contextlib
import dataclasses
import pathlib
import re
import sys
import typing
from collections.abc import Container, Iterator, Mapping
from typing import Annotated, Any, NoReturn

import tyro

from jaxq.config import (
    algorithm_table,
    aliases,
    basics,
    command_line,
    components,
    estimates,
    field_usage,
    flag_groups,
    recurrence,
)
from jaxq.config.config import Config
from jaxq.config.flag_groups import Flag, Group

HELP_ALL = "--help-all"

COMMON = (
    "help_all", "preset", "defaults", "algorithm", "algorithm_args", "environment",
    "num_seeds", "first_seed", "total_steps", "num_envs", "learning_rate", "discount",
    "batch_size", "buffer_size", "warmup_steps", "update_steps", "target_period",
    "epsilon_start", "epsilon_end", "epsilon_steps", "hidden_sizes", "output", "resume",
)  # fmt: skip
# Title -> fields. A script's own options follow.
GROUPS = {
    "environment": (basics.EnvironmentOptions,),
    "target": (estimates.Target, estimates.ReturnRepresentation),
    "replay": (basics.Replay, components.Sampling, components.Rollouts),
    "optimizer": (basics.Optimization, components.Plasticity),
    "network": (
        components.NetworkLayers,
        recurrence.Recurrence,
        components.Representation,
    ),
    "exploration": (basics.Exploration,),
    "evaluation": (basics.Evaluation,),
    "seeds": (basics.Experiment,),
}
# Shown only by --help-all.
RARE = (
    "seed_block", "chunk_iterations", "full_action_set", "adam_b1", "adam_b2",
    "loss_reduction", "weight_init", "stream_sizes", "channels", "dense_size",
    "q_penalty", "next_value", "value_rescaling", "eval_epsilon", "eval_max_steps",
    "optimizer_eps", "deterministic", "cpu_cores", "compilation_cache", "force_resume",
    "profile", "checkpoint", "checkpoint_seconds", "sticky_actions", "activation",
    "exploration", "track", "frame_stack", "reward_clip", "episodic_life",
    "allow_import", "figure_format", "weight_decay", "l2_penalty", "l2_init_penalty",
    "reset_period", "redo_period", "hare_period", "weight_norm", "ensemble_target",
    "diagnostics", "sparsity", "normalize_observations", "normalize_rewards",
    "averaged_targets", "impala_scale", "impala_pool", "overshoot_bound",
    "gradient_correction", "correction_penalty", "correction_rate",
    "return_estimator",
    "ensemble_acting", "intrinsic_bonus",
    "average_reward", "value_decomposition",
    "n_step_start", "discount_start",
    "conservative_weight", "margin_weight", "dataset", "iterated_heads",
    "spr_steps",
)  # fmt: skip
COLUMN = 24  # wider flags than this have their own line in tyro's help

NOTES = f"""Algorithms: {", ".join(algorithm_table.ALGORITHMS)}.

In brackets: the defaults, which follow the preset and the other flags. The flags of a
part appear once it is in use: try --munchausen --help, or --algorithm iqn --help.
"""


def is_requested(words: Container[str]) -> bool:
    """Whether a command line asks for help."""
    return any(word in words for word in ("-h", "--help", HELP_ALL))


def show(
    description: str,
    presets: Mapping[str, Config],
    preset: str,
    config: Config,
    options: Any,
    everything: bool = False,
) -> NoReturn:
    """Print the flags of a configuration, and exit.

    Args:
        description: of the script.
        presets: name -> configuration.
        preset: name of the one that the configuration starts from.
        config: the defaults to show; it decides which parts are in use.
        options: defaults of the script's own options.
        everything: show the flags of every part, with their whole descriptions.
    """
    first = [
        Flag("help_all", bool, False, "Show every flag, with its whole description"),
        Flag("preset", str, preset, _preset_text(presets)),
    ]
    groups = [*_field_groups(config), *flag_groups.of_options(options)]
    groups = groups if everything else _in_use(groups, config)
    _print(_common_first([Group("", "", first), *groups]), description)
    with command_line.until_closed():
        print(command_line.wrap(NOTES))
    sys.exit(0)


def _preset_text(presets: Mapping[str, Config]) -> str:
    """The names of the presets, those of the algorithms in one word."""
    names = [name for name in presets if name not in algorithm_table.ALGORITHMS]
    if len(names) < len(presets):
        names.append("or an algorithm, for the settings of its paper")
    return f"Settings to start from: {', '.join(names)}"


def _field_groups(config: Config) -> Iterator[Group]:
    for title, parts in GROUPS.items():
        description = " ".join(part.__doc__ or "" for part in parts)
        flags = [flag for part in parts for flag in flag_groups.declared(part, config)]
        yield Group(title, description, flags)


def _in_use(groups: list[Group], config: Config) -> list[Group]:
    """Groups in short: no flag that has no effect, and one clause about each other."""
    hidden = {*field_usage.unused(config), *RARE}
    return [
        Group(title, "", [_short(flag) for flag in flags if flag.name not in hidden])
        for title, _, flags in groups
    ]


def _short(flag: Flag) -> Flag:
    """A flag with the first clause of its description."""
    ends = "[.;:]" if flag.choices else "[.;]"
    return flag._replace(text=re.split(rf"(?<!\.){ends}(?:\s|$)", flag.text)[0])


def _common_first(groups: list[Group]) -> list[Group]:
    """Move the common flags to an untitled group at the top."""
    flags = {flag.name: flag for group in groups for flag in group.flags}
    common = Group("", "", [flags[name] for name in COMMON if name in flags])
    rest = [
        Group(title, description, [f for f in flags if f.name not in COMMON])
        for title, description, flags in groups
    ]
    return [common, *(group for group in rest if group.flags)]


def _print(groups: list[Group], description: str) -> None:
    """Print the flags as tyro does, each group in a box."""
    common, *titled = groups
    fields: list[Any] = [_field(flag) for flag in common.flags]
    for i, group in enumerate(titled):
        part: Any = dataclasses.make_dataclass("Part", map(_field, group.flags))
        part.__doc__ = group.description
        titled_part = Annotated[part, tyro.conf.arg(name=group.title)]
        box = tyro.conf.OmitArgPrefixes[titled_part]
        fields.append((f"group_{i}", box, dataclasses.field(default_factory=part)))
    command = dataclasses.make_dataclass("Command", fields)
    with contextlib.suppress(SystemExit):
        command_line.read(command, description, args=["--help"])


def _field(flag: Flag) -> tuple[str, Any, Any]:
    """The field of a dataclass from which tyro prints a flag."""
    is_bool = flag.type is bool
    name = aliases.flag(flag.name)[2:]
    name = f"[no-]{name}" if is_bool and flag.default else name
    metavar, default = _metavar(flag), _default(flag.default)
    arg = tyro.conf.arg(
        name=name,
        metavar=metavar if len(f"--{name} {metavar}") <= COLUMN else "",
        help=_help(flag),
        help_behavior_hint=f"[{default}]" if default else "",
    )
    if is_bool:
        return flag.name, Annotated[tyro.conf.FlagCreatePairsOff[bool], arg], False
    return flag.name, Annotated[str, arg], ""


def _help(flag: Flag) -> str:
    """The description of a flag, its choices and its aliases."""
    text, choices = flag.text, ", ".join(flag.choices)
    if choices:
        text += f" One of {choices}." if text.endswith(".") else f": {choices}"
    also = [alias for alias, name in aliases.ALIASES.items() if name == flag.name]
    return f"{text} ({', '.join(map(aliases.flag, also))})" if also else text


def _metavar(flag: Flag) -> str:
    """The placeholder of a value."""
    names = {int: "N", float: "X", bool: "", str: "NAME", pathlib.Path: "PATH"}
    name = names.get(flag.type, "NAME")
    return f"{name} ..." if typing.get_origin(flag.hint) is tuple else name


def _default(value: Any) -> str:
    """The default, as it would be written; empty for none."""
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return "" if value is None else str(value)
