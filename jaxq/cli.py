"""Command lines of the experiments: how jax is set up, and errors in words.

Nothing here imports jax before the flags are parsed and the configuration is checked.
"""

import contextlib
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

from jaxq.config import flags
from jaxq.config.config import Config, ConfigError
from jaxq.config.fields import CheckpointError, Locked
from jaxq.config.validate import validate

if TYPE_CHECKING:
    from jaxq.runs.run import ExtraMetrics, Result

BAD_INPUT, IN_USE, ALL_DIVERGED, DAMAGED, CANNOT_WRITE, INTERRUPTED = 2, 3, 5, 6, 7, 130


def set_up_jax(
    options: flags.Machine, config: Config | None = None, join: str = ""
) -> None:
    """Choose the platform and the cache of compiled programs, before jax starts.

    Args:
        options: platform, compilation_cache and cpu_cores.
        config: what will run, if that is known.
        join: other processes; see `hosts.start`.
    """
    if options.cpu_cores < 0:
        raise ConfigError(
            f"cpu_cores = {options.cpu_cores} is negative; 0 takes all there are."
        )
    cores = options.cpu_cores or (config is not None and _one_core(config))
    if cores:  # XLA reads its number of threads here
        os.environ.setdefault("NPROC", str(int(cores)))
    if options.deterministic:
        given = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{given} --xla_gpu_deterministic_ops=true".strip()
    import jax

    if options.compilation_cache and not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache_directory()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if options.platform != "auto":
        jax.config.update("jax_platforms", options.platform.replace("gpu", "cuda"))
    if join:
        from jaxq.sweeps import hosts

        hosts.start(join)
    try:
        jax.devices()
    except Exception as error:  # of several types, by platform
        raise ConfigError(
            f"platform = {options.platform!r} cannot be used "
            f"({str(error) or 'jax finds no such device'}). Use cpu, or "
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
    extras: Callable[[Config], "ExtraMetrics"] | None = None,
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
        config, options = flags.parse(
            presets,
            description or "",
            sys.argv[1:] if args is None else args,
            flags.Options(),
        )
        validate(config)
        if not options.checkpoint_seconds >= 0:
            raise ConfigError(
                f"checkpoint_seconds = {options.checkpoint_seconds} is no time; 0 "
                "keeps a checkpoint after every call, --no-checkpoint none."
            )
        again += _to_go_on(options)
        set_up_jax(options, config)
        from jaxq.runs import run, signals
        from jaxq.training import blocks

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


def _to_go_on(options: flags.Options) -> list[str]:
    """The options that a command to go on has to repeat."""
    words = [] if options.platform == "auto" else ["--platform", options.platform]
    words += ["--deterministic"] if options.deterministic else []
    return words + (["--force-resume"] if options.force_resume else [])


@contextlib.contextmanager
def exit_codes(
    again: list[str] | str | None = None, at_once: bool = False
) -> Iterator[None]:
    """Turn what a user can mend into one message and an exit code.

    Args:
        again: how to go on, in words; or the options that a command to go on has to
            repeat, for an experiment that takes --resume; None leaves that to
            experiments/dqn.py.
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


def python() -> str:
    """The running Python, as a command in the current directory names it."""
    path = pathlib.Path(sys.executable)
    with contextlib.suppress(ValueError):
        path = path.relative_to(pathlib.Path.cwd())
    return str(path)


def _way_on(error: BaseException, again: list[str] | str | None) -> str:
    """How to go on after an error, if a checkpoint is there."""
    if isinstance(again, str):
        return f"; {again}"
    for note in getattr(error, "__notes__", ()):
        if note.startswith("--resume "):
            script = pathlib.Path(sys.argv[0])
            if again is None:
                script = script.with_name("dqn.py")
            words = [python(), str(script), *note.split(" ", 1), *(again or ())]
            return f"; go on with: {shlex.join(words)}"
    return ""
