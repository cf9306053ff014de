"""Flags of the experiments, from the configuration and a script's own options.

Nothing here imports jax, so that `--help` and errors about flags appear at once.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import tyro

from jaxq.config import aliases, command_line, flag_conflicts, help_page, user_code
from jaxq.config.config import Config, Fields, changed, from_json
from jaxq.config.fields import ConfigError, check_name


@dataclasses.dataclass(frozen=True)
class Machine:
    """Devices, caches and output; none of these affects results."""

    title: ClassVar[str] = "machine"

    deterministic: bool = False
    """On a GPU, use only operations that give the same bits every time; slower."""
    platform: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Device to compute on; auto uses an accelerator if there is one."""
    cpu_cores: int = 0
    """CPU cores to use; 0 uses all, but only one for one seed of a small network."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache directory, so that the next start is
    faster; JAX_COMPILATION_CACHE_DIR sets another directory."""
    progress: bool = True
    """Print progress; the directory and the result are always printed."""
    plot: bool = True
    """Draw figures, and write report.html."""
    figure_format: Literal["png", "pdf"] = "png"
    """Format of the figures; pdf is written beside png."""
    output: pathlib.Path = pathlib.Path("results/runs")
    """Directory of results; every run creates a directory below it."""
    force_resume: bool = False
    """Resume even if versions or devices differ."""


@dataclasses.dataclass(frozen=True)
class Options(Machine):
    """Options of a run that do not affect its results."""

    title: ClassVar[str] = "checkpoint"

    resume: pathlib.Path | None = None
    """Directory of a run to resume; however it was stopped, the results are those of an
    uninterrupted run, bit for bit. The configuration of the run is used; only
    --total-steps may be larger."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, which take at most a twentieth of the time; one is
    always written at the end."""
    checkpoint: bool = True
    """Write checkpoints to resume from."""
    allow_import: bool = False
    """With --resume: import the environment or algorithm of your own that the run
    names. Otherwise its name must be given again."""
    track: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Services that also receive the curve."""
    profile: pathlib.Path | None = None
    """Write a trace of one chunk of training, for Perfetto or XProf, to this
    directory."""


_Options = TypeVar("_Options", bound=Machine)


def parse(
    presets: Mapping[str, Config],
    description: str,
    args: list[str],
    options: _Options,
) -> tuple[Config, _Options]:
    """Read flags; the defaults are those of `--preset NAME`, or of the first preset.

    `--algorithm` and `--environment` fill in what belongs to them; a flag always wins.
    `--help` shows the flags of the configuration that the other flags give, and exits.

    Args:
        presets: name -> configuration.
        description: shown by `--help`.
        args: words of the command line.
        options: defaults of everything besides the configuration.

    Raises:
        ConfigError: for an unknown flag, preset or directory, with a suggestion.
    """
    args = aliases.canonical_flags(args)
    preset = _value(args, "--preset") or next(iter(presets))
    check_name("preset", preset, presets)
    base, directory = presets[preset], _value(args, "--resume")
    if directory is not None:
        base = read_config(pathlib.Path(directory))
        if "--allow-import" not in args:
            given = [_value(args, aliases.flag(name)) for name in user_code.FIELDS]
            source = f"{directory}/config.json"
            remedy = "Add {flags} or --allow-import."
            user_code.check_permitted(vars(base), source, given, remedy)
    for name in ("algorithm", "environment", "defaults"):
        if (value := _value(args, f"--{name}")) is not None:
            chosen: dict[str, Any] = {name: value}
            base = dataclasses.replace(base, **chosen)
    if help_page.is_requested(args):
        config, options = _understood(base, options, args)
        everything = help_page.HELP_ALL in args
        help_page.show(description, presets, preset, config, options, everything)
    values = {**dataclasses.asdict(base), **dataclasses.asdict(options)}
    aliases.check_flags(args, {"preset": preset, **values})
    return _read(base, options, args)


def _read(base: Config, options: _Options, args: list[str]) -> tuple[Config, _Options]:
    """The configuration and the options that flags change `base` and `options` into."""
    flat = tyro.conf.OmitArgPrefixes
    command = dataclasses.make_dataclass(
        "Command",
        [
            ("preset", str),
            ("config", flat[Fields]),
            ("options", flat[type(options)]),
        ],
    )
    default = command("", Fields(**dataclasses.asdict(base)), options)
    parsed: Any = command_line.read(command, default=default, args=args)
    flags = {name: getattr(parsed.config, name) for name in fields_of(args)}
    return dataclasses.replace(base, **flags), parsed.options


def _understood(
    base: Config, options: _Options, args: list[str]
) -> tuple[Config, _Options]:
    """Read the flags besides `--help`; if they are malformed, keep the defaults."""
    words = [word for word in args if not help_page.is_requested([word])]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return _read(base, options, words)
    except SystemExit:
        return base, options


def fields_of(args: list[str]) -> list[str]:
    """Names of the configuration's fields that are set by flags."""
    given = flag_conflicts.given(args)
    names = [field.name for field in dataclasses.fields(Config)]
    return [name for name in names if aliases.flag(name) in given]


def flags(config: Config) -> list[str]:
    """Command-line flags that change the defaults into a configuration.

    The fields that the algorithm and the environment fill in are left out.
    """
    named = ("algorithm", "environment", "defaults")
    kept: dict[str, Any] = {name: getattr(config, name) for name in named}
    base, plain = Config(**kept), Config()
    chosen = [name for name in named if kept[name] != getattr(plain, name)]
    words: list[str] = []
    for name in [*chosen, *changed(config, base)]:
        value, flag = getattr(config, name), aliases.flag(name)
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)]
        else:
            words += [flag, str(value)]
    return words


def _value(args: list[str], flag: str) -> str | None:
    """The value of a flag, or None if it is not given; the last one counts."""
    value = None
    for word, following in itertools.zip_longest(args, args[1:]):
        if word == flag:
            value = following
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


def read_config(directory: pathlib.Path, argument: str = "resume") -> Config:
    """The configuration of a run's directory.

    Raises:
        ConfigError: if it cannot be read; the message names the argument.
    """
    path = directory / "config.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{argument} = {str(directory)!r} is not the directory of a run: "
            f"config.json cannot be read ({error})."
        ) from error
    return from_json(fields)
