"""Command lines of the experiments: flags from the configuration, errors in words.

Nothing here imports jax before the flags are parsed and the configuration is checked.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NoReturn

import tyro

from jaxq.config import Config, ConfigError, from_json
from jaxq.fields import CheckpointError, Locked
from jaxq.validation import validate

if TYPE_CHECKING:
    from jaxq.run import Extras, Result

BAD_INPUT, IN_USE, ALL_DIVERGED, DAMAGED, CANNOT_WRITE, INTERRUPTED = 2, 3, 5, 6, 7, 130


@dataclasses.dataclass(frozen=True)
class Options:
    """Where and how, without effect on any number."""

    output: pathlib.Path = pathlib.Path("results/runs")
    """Directory of results; a run makes its own below it."""
    resume: pathlib.Path | None = None
    """Directory of a run to go on with, whatever stopped it: to the same bits as if it
    had not been stopped. Its configuration is taken; only --total-steps may be more."""
    force_resume: bool = False
    """Go on although versions or devices differ."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, which take a twentieth of the time at most; one is
    kept at the end, too."""
    checkpoint: bool = True
    """Keep checkpoints to go on from."""
    deterministic: bool = False
    """On a GPU, use only operations that give the same bits every time; slower."""
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
    base, directory = presets[name], _value(args, "--resume")
    if directory is not None:
        base = _read_config(pathlib.Path(directory))
    text = (
        f"{description.strip()}\n\n--preset NAME sets the defaults shown below: "
        f"{', '.join(presets)}. Shown: {name}."
    )
    default = _Command(base, Options())
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


def _value(args: list[str], flag: str) -> str | None:
    """The value of a flag among words, if it is there."""
    for word, following in itertools.zip_longest(args, args[1:]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _read_config(directory: pathlib.Path) -> Config:
    path = directory / "config.json"
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"resume = {str(directory)!r} is no directory of a run: config.json cannot "
            f"be read ({error})."
        ) from error
    return from_json(fields)


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
    if not options.checkpoint_seconds >= 0:
        raise ConfigError(
            f"checkpoint_seconds = {options.checkpoint_seconds} is no time; 0 keeps a "
            "checkpoint after every call, --no-checkpoint none."
        )
    cores = options.cpu_cores or (config is not None and _one_core(config))
    if cores:  # XLA reads its number of threads here
        os.environ.setdefault("NPROC", str(int(cores)))
    if options.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
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

    Exit codes: 2 bad input, 3 the directory is in use, 5 every seed diverged, 6 no
    whole checkpoint, 7 results cannot be written, 130 Ctrl-C, 143 SIGTERM.
    """
    again: list[str] = []
    with exit_codes(again, at_once=args is None):
        config, options = parse(
            presets, description or "", sys.argv[1:] if args is None else args
        )
        validate(config)
        again += _to_go_on(options)
        set_up_jax(options, config)
        from jaxq import blocks, run, signals

        signals.Stopper.end_process = args is None

        result = run.run(
            config,
            output=options.output,
            resume=options.resume,
            force_resume=options.force_resume,
            checkpoint_seconds=(
                options.checkpoint_seconds if options.checkpoint else None
            ),
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


def _to_go_on(options: Options) -> list[str]:
    """The options that a command to go on has to repeat."""
    words = [] if options.platform == "auto" else ["--platform", options.platform]
    words += ["--deterministic"] if options.deterministic else []
    return words + (["--force-resume"] if options.force_resume else [])


@contextlib.contextmanager
def exit_codes(again: list[str] | None = None, at_once: bool = False) -> Iterator[None]:
    """Turn what a user can mend into one message and an exit code.

    Args:
        again: options that a command to go on has to repeat, for an experiment that
            takes --resume; others leave that to experiments/dqn.py.
        at_once: end the process when it is interrupted, without waiting for what other
            threads compile or compute.
    """
    try:
        yield
    except ConfigError as error:
        _fail(f"error: {error}", BAD_INPUT)
    except Locked as error:
        _fail(f"error: {error}", IN_USE)
    except CheckpointError as error:
        _fail(f"error: {error}. Start a new run.", DAMAGED)
    except OSError as error:
        way = _way_on(error, again)
        _fail(f"error: {error}; results go below --output{way}", CANNOT_WRITE)
    except KeyboardInterrupt as error:
        code = 128 + getattr(error, "number", INTERRUPTED - 128)
        _fail(f"interrupted{_way_on(error, again)}", code, at_once)


def _fail(text: str, code: int, at_once: bool = False) -> NoReturn:
    """Print a message, to a pipe that may be closed, and exit."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    if at_once:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _way_on(error: BaseException, again: list[str] | None) -> str:
    """How to go on after an error, if a checkpoint is there."""
    for note in getattr(error, "__notes__", ()):
        if note.startswith("--resume "):
            script = pathlib.Path(sys.argv[0])
            if again is None:
                script = script.with_name("dqn.py")
            words = ["python", str(script), *note.split(" ", 1), *(again or ())]
            return f"; go on with: {shlex.join(words)}"
    return ""
