"""Flags of the experiments, from the configuration and from what a script adds.

Nothing here imports jax, so that `--help` and a misspelt flag are answered at once.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import tyro

from jaxq.config import presets as config_presets
from jaxq.config.config import (
    Config,
    ConfigError,
    from_json,
)
from jaxq.config.fields import check_name


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where to compute, without effect on any number."""

    deterministic: bool = False
    """On a GPU, use only operations that give the same bits every time; slower."""
    platform: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute; auto takes an accelerator if there is one."""
    cpu_cores: int = 0
    """CPU cores to use; 0 takes all of them, or one if a small network has one seed."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache directory, so that the next start is
    quicker; JAX_COMPILATION_CACHE_DIR sets another directory."""
    progress: bool = True
    """Print progress."""
    plot: bool = True
    """Draw what was measured."""
    output: pathlib.Path = pathlib.Path("results/runs")
    """Directory of results; a run makes its own below it."""
    force_resume: bool = False
    """Go on although versions or devices differ."""


@dataclasses.dataclass(frozen=True)
class Options(Machine):
    """Where and how, without effect on any number."""

    resume: pathlib.Path | None = None
    """Directory of a run to go on with, whatever stopped it: to the same bits as if it
    had not been stopped. Its configuration is taken; only --total-steps may be more."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, which take a twentieth of the time at most; one is
    kept at the end, too."""
    checkpoint: bool = True
    """Keep checkpoints to go on from."""
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

    Args:
        presets: name -> configuration.
        description: shown by `--help`.
        args: words of the command line.
        options: defaults of everything besides the configuration.
    """
    args, name = _take_preset(list(args), presets)
    base, directory = presets[name], _value(args, "--resume")
    if directory is not None:
        base = read_config(pathlib.Path(directory))
    text = (
        f"{description.strip()}\n\n--preset NAME sets the defaults shown below: "
        f"{', '.join(presets)}. Shown: {name}."
    )
    flat = tyro.conf.OmitArgPrefixes
    command = dataclasses.make_dataclass(
        "Command", [("config", flat[Config]), ("options", flat[type(options)])]
    )
    default = command(base, options)
    read: Any = tyro.cli(command, default=default, args=args, description=text)
    config_presets.compose_given(read.config, _given(args))
    return read.config, read.options


def _given(args: list[str]) -> list[str]:
    """Names of the configuration's fields that flags among words set."""
    words = [word[2:].partition("=")[0].replace("-", "_") for word in args]
    flags = [word for word, text in zip(words, args, strict=True) if text[:2] == "--"]
    names = {name for word in flags for name in (word, word.removeprefix("no_"))}
    return [field.name for field in dataclasses.fields(Config) if field.name in names]


def flags(config: Config) -> list[str]:
    """The words that make a configuration from the default one."""
    words: list[str] = []
    for field in dataclasses.fields(Config):
        value, flag = getattr(config, field.name), field.name.replace("_", "-")
        if value == field.default:
            continue
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
    """The value of a flag among words, if it is there."""
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
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"resume = {str(directory)!r} is no directory of a run: config.json cannot "
            f"be read ({error})."
        ) from error
    return from_json(fields)
