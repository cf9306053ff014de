"""Other names of the fields: those that are accepted, and those that get a hint.

Aliases hold wherever a field is named in text: as a flag, in a range of a sweep, and in
the header of a CSV file. In Python, a field has one name.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jaxq.config.fields import ConfigError, close_matches, hint

ALIASES = {
    "algo": "algorithm",
    "env": "environment",
    "env_id": "environment",
    "gamma": "discount",
    "lr": "learning_rate",
    "seed": "first_seed",
    "seeds": "num_seeds",
    "steps": "total_steps",
    "total_timesteps": "total_steps",
}
# Names in other codebases and papers, with the fields or options that are closest.
SIMILAR = {
    "agent": ("algorithm",),
    "alpha": ("learning_rate", "priority_exponent", "munchausen_alpha"),
    "anneal_lr": ("learning_rate_schedule",),
    "atoms": ("num_atoms",),
    "batch": ("batch_size",),
    "beta": ("importance_exponent",),
    "buffer": ("buffer_size",),
    "clip": ("max_grad_norm",),
    "device": ("platform",),
    "double": ("double_q",),
    "ddqn": ("double_q",),
    "end_e": ("epsilon_end",),
    "epsilon": ("epsilon_start", "epsilon_end", "epsilon_steps"),
    "epsilon_decay": ("epsilon_steps", "epsilon_schedule"),
    "epsilon_final": ("epsilon_end",),
    "epsilon_min": ("epsilon_end",),
    "eval_freq": ("eval_points",),
    "eval_interval": ("eval_points",),
    "exploration_final_eps": ("epsilon_end",),
    "exploration_fraction": ("epsilon_steps",),
    "exploration_initial_eps": ("epsilon_start",),
    "final_epsilon": ("epsilon_end",),
    "game": ("environment",),
    "gpu": ("platform",),
    "grad_clip": ("max_grad_norm",),
    "gradient_steps": ("num_updates",),
    "hidden": ("hidden_sizes",),
    "hidden_dim": ("hidden_sizes",),
    "initial_epsilon": ("epsilon_start",),
    "kappa": ("huber_delta",),
    "lambda": ("trace_decay",),
    "learning_starts": ("warmup_steps",),
    "log_dir": ("output",),
    "lr_decay": ("learning_rate_schedule", "learning_rate_updates"),
    "max_episode_steps": ("time_limit",),
    "memory": ("buffer_size", "memory_size"),
    "memory_capacity": ("buffer_size",),
    "min_epsilon": ("epsilon_end",),
    "n_steps": ("n_step", "total_steps"),
    "net_arch": ("hidden_sizes",),
    "num_steps": ("total_steps", "rollout_length"),
    "num_timesteps": ("total_steps",),
    "output_dir": ("output",),
    "per": ("prioritized",),
    "per_alpha": ("priority_exponent",),
    "per_beta": ("importance_exponent",),
    "polyak": ("target_tau",),
    "replay_size": ("buffer_size",),
    "replay_buffer_size": ("buffer_size",),
    "save_dir": ("output",),
    "start_e": ("epsilon_start",),
    "target_network_frequency": ("target_period",),
    "target_update": ("target_period",),
    "target_update_freq": ("target_period",),
    "target_update_interval": ("target_period",),
    "task": ("environment",),
    "tau": ("target_tau",),
    "td_lambda": ("trace_decay",),
    "timesteps": ("total_steps",),
    "train_freq": ("update_steps",),
    "train_frequency": ("update_steps",),
}
HYPERPARAMETER = "algo."  # prefix of a hyper-parameter in a sweep
# Prefix, in a sweep, of what a field sets as name=value.
ARGUMENTS = {"env.": "environment_args", HYPERPARAMETER: "algorithm_args"}
ABBREVIATIONS = {
    "env": "environment",
    "eps": "epsilon",
    "lr": "learning_rate",
    "n": "num",
    "opt": "optimizer",
    "param": "args",
    "params": "args",
}


def canonical(name: str) -> str:
    """The name of a field, from an alias or written with hyphens."""
    name = name.replace("-", "_")
    return ALIASES.get(name, name)


def canonical_flags(words: Iterable[str]) -> list[str]:
    """Words of a command line, with the canonical name in place of every alias."""
    return [
        re.sub(r"^--([\w-]+)(?==|$)", lambda match: flag(canonical(match[1])), word)
        for word in words
    ]


def flag(name: str) -> str:
    """The flag of a field."""
    return f"--{name.replace('_', '-')}"


def similar(name: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that an unknown name may stand for, the likeliest first."""
    names, name = list(names), canonical(name)
    expanded = "_".join(ABBREVIATIONS.get(part, part) for part in name.split("_"))
    for guess in (name, expanded):
        known = [field for field in (guess, *SIMILAR.get(guess, ())) if field in names]
        if known:
            return known
    return close_matches(expanded, names, 0.8) or close_matches(expanded, names)


def suggest(name: str, names: Iterable[str]) -> str:
    """A hint after an unknown name of a field; empty if none of `names` is similar."""
    return hint(similar(name, names))


def check_flags(words: Iterable[str], values: Mapping[str, Any]) -> None:
    """Check the flags of a command line; `values` has a default for each that exists.

    Raises:
        ConfigError: for one that does not exist, with those that are similar.
    """
    switches = [name for name, value in values.items() if isinstance(value, bool)]
    known = {*values, *(f"no_{name}" for name in switches)}
    for word in words:
        unknown = word.partition("=")[0]
        name = unknown.removeprefix("--").replace("-", "_")
        if word.startswith("--") and name not in known:
            raise ConfigError(
                f"{unknown} is not a flag.{_hint(name, values)} --help-all lists the "
                "flags."
            )


def _hint(name: str, names: Iterable[str]) -> str:
    """The flags that an unknown one may stand for."""
    for prefix, arguments in ARGUMENTS.items():
        if name.startswith(prefix):
            return f" To set it, use {flag(arguments)} {name.removeprefix(prefix)}=..."
    known = " or ".join(map(flag, similar(name, names)))
    return f" Did you mean {known}?" if known else ""
