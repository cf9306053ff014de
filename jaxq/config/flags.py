"""Flags of the experiments, from the configuration and a script's own options.

Nothing here imports jax, so that `--help` and errors about flags appear at once.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import tyro

from jaxq.config.config import Config, Fields, changed, from_json
from jaxq.config.fields import ConfigError, check_name


@dataclasses.dataclass(frozen=True)
class Machine:
    """Devices, caches and output; none of these affects results."""

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
    """Draw the learning curve."""
    output: pathlib.Path = pathlib.Path("results/runs")
    """Directory of results; every run creates a directory below it."""
    force_resume: bool = False
    """Resume even if versions or devices differ."""


@dataclasses.dataclass(frozen=True)
class Options(Machine):
    """Options of a run that do not affect its results."""

    resume: pathlib.Path | None = None
    """Directory of a run to resume, however it was stopped; the results are those of an
    uninterrupted run, bit for bit. The configuration of the run is used; only
    --total-steps may be larger."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, which take at most a twentieth of the time; one is
    always written at the end."""
    checkpoint: bool = True
    """Write checkpoints to resume from."""
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

    `--algorithm` and `--environment` fill in what belongs to them, so that `--help`
    shows it; a flag always wins.

    Args:
        presets: name -> configuration.
        description: shown by `--help`.
        args: words of the command line.
        options: defaults of everything besides the configuration.
    """
    args, preset = _take_preset(list(args), presets)
    base, directory = presets[preset], _value(args, "--resume")
    if directory is not None:
        base = read_config(pathlib.Path(directory))
    for name in ("algorithm", "environment", "defaults"):
        if (value := _value(args, f"--{name}")) is not None:
            chosen: dict[str, Any] = {name: value}
            base = dataclasses.replace(base, **chosen)
    text = (
        f"{description.strip()}\n\n--preset NAME sets the defaults shown below: "
        f"{', '.join(presets)}. Shown: {preset}."
    )
    flat = tyro.conf.OmitArgPrefixes
    command = dataclasses.make_dataclass(
        "Command", [("config", flat[Fields]), ("options", flat[type(options)])]
    )
    default = command(Fields(**dataclasses.asdict(base)), options)
    parsed: Any = tyro.cli(command, default=default, args=args, description=text)
    flags = {name: getattr(parsed.config, name) for name in _fields_of(args)}
    return dataclasses.replace(base, **flags), parsed.options


def _fields_of(args: list[str]) -> list[str]:
    """Names of the configuration's fields that are set by flags."""
    words = [word.partition("=")[0] for word in args if word.startswith("--")]
    names = {word[2:].replace("-", "_") for word in words}
    names |= {name.removeprefix("no_") for name in names}
    return [field.name for field in dataclasses.fields(Config) if field.name in names]


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
        value, flag = getattr(config, name), name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            words += [f"--{flag}", *map(str, value)]
        else:
            words += [f"--{flag}", str(value)]
    return words


def _take_preset(
    args: list[str], presets: Mapping[str, Config]
) -> tuple[list[str], str]:
    name = next(iter(presets))
    for i, word in enumerate(args):
        if word == "--preset" and i + 1 < len(args):
            name = args[i + 1]
            del args[i : i + 2]
            break
        if word.startswith("--preset="):
            name = word.partition("=")[2]
            del args[i]
            break
    check_name("preset", name, presets)
    return args, name


def _value(args: list[str], flag: str) -> str | None:
    """The value of a flag, or None if it is not given."""
    for word, following in itertools.zip_longest(args, args[1:]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def read_config(directory: pathlib.Path) -> Config:
    """The configuration of a run's directory."""
    path = directory / "config.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"resume = {str(directory)!r} is not the directory of a run: config.json "
            f"cannot be read ({error})."
        ) from error
    return from_json(fields)
