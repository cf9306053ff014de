"""Command line of the experiments: jax set-up, error messages and exit codes.

Nothing here imports jax before the flags are parsed and the configuration is validated.
"""

import contextlib
import io
import os
import pathlib
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

from jaxq.config import command_line, flag_conflicts, flags, user_code
from jaxq.config.config import Config
from jaxq.config.fields import CheckpointError, ConfigError, Locked, UnusedFieldWarning
from jaxq.config.validate import validate
from jaxq.runs import compilation_cache, cpu_threads

if TYPE_CHECKING:
    from jaxq.runs import results

BAD_INPUT, IN_USE, ALL_DIVERGED, CORRUPT, CANNOT_WRITE, INTERRUPTED = 2, 3, 5, 6, 7, 130


def set_up_jax(
    options: flags.Machine, config: Config | None = None, join: str = ""
) -> None:
    """Select the platform and the compilation cache before jax is initialised.

    Args:
        options: platform, compilation_cache, cpu_cores and deterministic.
        config: the configuration to run, if known.
        join: address of other processes; see `hosts.start`.

    Raises:
        ConfigError: if the platform is not available.
    """
    if options.cpu_cores < 0:
        raise ConfigError(
            f"cpu_cores must be >= 0, got {options.cpu_cores} (0 uses all cores)."
        )
    cores = options.cpu_cores or (
        config is not None and cpu_threads.one_is_fastest(config)
    )
    if cores:  # XLA reads its number of threads from here
        os.environ.setdefault("NPROC", str(int(cores)))
    if options.deterministic:
        xla_flags = os.environ.get("XLA_FLAGS", "")
        xla_flags = f"{xla_flags} --xla_gpu_deterministic_ops=true"
        os.environ["XLA_FLAGS"] = xla_flags.strip()
    import jax

    if options.compilation_cache and not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        compilation_cache.use()
    if options.platform != "auto":
        jax.config.update("jax_platforms", options.platform.replace("gpu", "cuda"))
    if join:
        from jaxq.sweeps import hosts

        hosts.start(join)
    try:
        jax.devices()
    except Exception as error:  # the type depends on the platform
        raise ConfigError(
            f"platform = {options.platform!r} is not available "
            f"({str(error) or 'jax finds no such device'}). Use cpu, or "
            "install the extra cuda13, cuda12 or tpu."
        ) from error


def main(
    presets: Mapping[str, Config],
    description: str | None,
    args: list[str] | None = None,
    extras: Callable[[Config], "results.ExtraMetrics"] | None = None,
) -> "results.Result":
    """Run an experiment from the command line; exits with a code on failure.

    Args:
        presets: name -> configuration; the first is the default.
        description: shown by `--help`.
        args: command-line arguments; None uses those of the process.
        extras: configuration -> additional metrics of the experiment.

    Exit codes: 2 invalid input, 3 directory in use, 5 every seed diverged, 6 no valid
    checkpoint, 7 results cannot be written, 130 Ctrl-C, 143 SIGTERM.
    """
    repeated: list[str] = []
    with exit_codes(repeated, at_once=args is None):
        words = sys.argv[1:] if args is None else args
        flag_conflicts.check_run(words)
        config, options = flags.parse(
            presets, description or "", words, flags.Options()
        )
        validate(config)
        if not options.checkpoint_seconds >= 0:
            raise ConfigError(
                f"checkpoint_seconds must be >= 0, got {options.checkpoint_seconds} (0 "
                "writes a checkpoint after every call; --no-checkpoint writes none)."
            )
        repeated += _repeated(options, config)
        set_up_jax(options, config)
        from jaxq.runs import closing_message, signals

        signals.Stopper.end_process = args is None
        print_notes(config, flags.fields_of(words))
        result = _run(config, options, extras)
        if closing_message.all_diverged(result):
            print("error: every seed diverged", file=sys.stderr)
            sys.exit(ALL_DIVERGED)
    return result


def print_notes(config: Config, names: list[str]) -> None:
    """Print a note for every field of `names` that has no effect."""
    from jaxq.agents import field_effects
    from jaxq.envs import make

    for note in field_effects.notes(config, make.from_config(config).spec, names):
        print(f"note: {note}")


def _run(
    config: Config,
    options: flags.Options,
    extras: Callable[[Config], "results.ExtraMetrics"] | None,
) -> "results.Result":
    from jaxq.runs import results, run, tracking_services
    from jaxq.training import blocks

    return run.run(
        config,
        output=options.output,
        resume=options.resume,
        force_resume=options.force_resume,
        checkpoint_seconds=options.checkpoint_seconds if options.checkpoint else None,
        show_progress=options.progress,
        verbose=True,
        plot=options.plot,
        figure_format=options.figure_format,
        profile=options.profile,
        devices=blocks.workers(options.cpu_cores),
        extras=extras(config) if extras else results.NO_EXTRAS,
        trackers=[tracking_services.make(name) for name in options.track],
    )


def _repeated(options: flags.Options, config: Config) -> list[str]:
    """Options that a command that resumes the run must repeat."""
    words = [] if options.platform == "auto" else ["--platform", options.platform]
    words += ["--deterministic"] if options.deterministic else []
    words += ["--track", *options.track] if options.track else []
    words += ["--figure-format", "pdf"] if options.figure_format == "pdf" else []
    words += user_code.flags(vars(config))
    return words + (["--force-resume"] if options.force_resume else [])


@contextlib.contextmanager
def exit_codes(
    resume_with: list[str] | str | None = None, at_once: bool = False
) -> Iterator[None]:
    """Convert user-fixable errors into a message and an exit code.

    Warnings about unused fields are silenced: scripts share settings between
    algorithms, and report only the fields of flags; see `print_notes`.

    Args:
        resume_with: instructions for resuming; or, if the script takes --resume, the
            other options that a resuming command must repeat; None suggests resuming
            with experiments/dqn.py.
        at_once: on Ctrl-C or SIGTERM, end the process without waiting for threads that
            compile or compute.
    """
    _escape_unprintable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnusedFieldWarning)
            yield
    except ConfigError as error:
        _fail(f"error: {error}", BAD_INPUT)
    except Locked as error:
        _fail(f"error: {error}", IN_USE)
    except CheckpointError as error:
        _fail(f"error: {error}. Start a new run.", CORRUPT)
    except OSError as error:
        hint = _resume_hint(error, resume_with)
        _fail(f"error: {error}; results are written below --output{hint}", CANNOT_WRITE)
    except KeyboardInterrupt as error:
        code = 128 + getattr(error, "number", INTERRUPTED - 128)
        _fail(f"interrupted{_resume_hint(error, resume_with)}", code, at_once)


def _escape_unprintable() -> None:
    """Print characters that the terminal's encoding lacks, as in paths, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(text: str, code: int, at_once: bool = False) -> NoReturn:
    """Print a message, even to a closed pipe, and exit."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    if at_once:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def python() -> str:
    """Path of the running Python, relative to the current directory if inside it."""
    path = pathlib.Path(sys.executable)
    with contextlib.suppress(ValueError):
        path = path.relative_to(pathlib.Path.cwd())
    return str(path)


def command(script: str = "") -> list[str]:
    """Words that start the running script again, or another one beside it."""
    *module, path = command_line.program()
    if script and module:
        path = ".".join([*path.split(".")[:-1], script])
    elif script:
        path = str(pathlib.Path(path).with_name(f"{script}.py"))
    return [python(), *module, path]


def _resume_hint(error: BaseException, resume_with: list[str] | str | None) -> str:
    """Command that resumes after an error, or nothing without a checkpoint."""
    if isinstance(resume_with, str):
        return f"; {resume_with}"
    for note in getattr(error, "__notes__", ()):
        if note.startswith("--resume "):
            start = command("dqn" if resume_with is None else "")
            words = [*start, *note.split(" ", 1), *(resume_with or ())]
            return f"; resume with: {shlex.join(words)}"
    return ""
