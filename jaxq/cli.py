"""Command lines of the experiments: flags from the configuration, errors in words.

Nothing here imports jax before the flags are parsed and the configuration is checked.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import tyro

from jaxq.config import Config, ConfigError
from jaxq.validation import validate

if TYPE_CHECKING:
    from jaxq.run import Extras, Result

BAD_INPUT, ALL_DIVERGED, CANNOT_WRITE, INTERRUPTED = 2, 5, 7, 130


@dataclasses.dataclass(frozen=True)
class Options:
    """Where and how, without effect on any number."""

    output: pathlib.Path = pathlib.Path("results/runs")
    """Directory of results; a run makes its own below it."""
    platform: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute; auto takes an accelerator if there is one."""
    cpu_cores: int = 0
    """CPU cores to use; 0 takes all of them, or one if a small network has one seed."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache directory, so that the next start is
    quicker; JAX_COMPILATION_CACHE_DIR sets another directory."""
    profile: pathlib.Path | None = None
    """Write a trace of one chunk of training, for Perfetto or XProf, to this
    directory."""
    progress: bool = True
    """Print progress."""
    plot: bool = True
    """Draw the learning curve."""


@dataclasses.dataclass(frozen=True)
class _Command:
    config: tyro.conf.OmitArgPrefixes[Config]
    options: tyro.conf.OmitArgPrefixes[Options]


def parse(
    presets: Mapping[str, Config], description: str, args: list[str]
) -> tuple[Config, Options]:
    """Read flags; the defaults are those of `--preset NAME`, or of the first preset."""
    args, name = _take_preset(list(args), presets)
    text = (
        f"{description.strip()}\n\n--preset NAME sets the defaults shown below: "
        f"{', '.join(presets)}. Shown: {name}."
    )
    default = _Command(presets[name], Options())
    command = tyro.cli(_Command, default=default, args=args, description=text)
    return command.config, command.options


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
    if name not in presets:
        raise ConfigError(f"preset = {name!r}: choose one of {', '.join(presets)}.")
    return args, name


def set_up_jax(options: Options, config: Config | None = None) -> None:
    """Choose the platform and the cache of compiled programs, before jax starts.

    Args:
        options: platform, compilation_cache and cpu_cores.
        config: what will run, if that is known.
    """
    if options.cpu_cores < 0:
        raise ConfigError(
            f"cpu_cores = {options.cpu_cores} is negative; 0 takes all there are."
        )
    cores = options.cpu_cores or (config is not None and _one_core(config))
    if cores:  # XLA reads its number of threads here
        os.environ.setdefault("NPROC", str(int(cores)))
    import jax

    if options.compilation_cache and not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache_directory()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if options.platform != "auto":
        jax.config.update("jax_platforms", options.platform.replace("gpu", "cuda"))
    try:
        jax.devices()
    except Exception as error:  # of several types, by platform
        raise ConfigError(
            f"platform = {options.platform!r} cannot be used ({error!r}). Use cpu, or "
            "install the extra cuda13, cuda12 or tpu."
        ) from error


def _one_core(config: Config) -> bool:
    """Whether a second thread of XLA's costs a run more than it brings.

    One seed, two cores, microseconds an update with one thread and with two: 49 and 65
    (64-64 units, batch of 32), 621 and 642 (256-256, 64), 1,892 and 1,351 (256-256,
    256); MinAtar's network is a quarter slower with one. The numbers are the same bits.
    """
    sizes = config.rollout_length * config.num_envs // config.num_minibatches
    products = (sizes or config.batch_size) * max(config.hidden_sizes, default=1) ** 2
    grid = config.network == "minatar" or "MinAtar" in config.environment
    return config.num_seeds == 1 and not grid and products <= 2**22


def cache_directory() -> pathlib.Path:
    """Where compiled programs are kept between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "jaxq" / "compiled"


def main(
    presets: Mapping[str, Config],
    description: str | None,
    args: list[str] | None = None,
    extras: Callable[[Config], "Extras"] | None = None,
) -> "Result":
    """Run an experiment from the command line; exits with a code on failure.

    Args:
        presets: name -> configuration; the first is the default.
        description: shown by `--help`.
        args: words of the command line; None takes the process's.
        extras: what to measure besides the returns, for a configuration.

    Exit codes: 2 bad input, 5 every seed diverged, 7 results cannot be written,
    130 interrupted.
    """
    with exit_codes():
        config, options = parse(
            presets, description or "", sys.argv[1:] if args is None else args
        )
        validate(config)
        set_up_jax(options, config)
        from jaxq import blocks, run

        result = run.run(
            config,
            output=options.output,
            show_progress=options.progress,
            plot=options.plot,
            profile=options.profile,
            devices=blocks.workers(options.cpu_cores),
            extras=extras(config) if extras else run.NO_EXTRAS,
        )
        if run.all_diverged(result):
            print("error: every seed diverged", file=sys.stderr)
            sys.exit(ALL_DIVERGED)
    return result


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what a user can mend into one message and an exit code."""
    try:
        yield
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except OSError as error:
        print(f"error: {error}; results go below --output", file=sys.stderr)
        sys.exit(CANNOT_WRITE)
    except KeyboardInterrupt:
        print("interrupted; the curves so far are in --output", file=sys.stderr)
        sys.exit(INTERRUPTED)
