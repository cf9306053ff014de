"""Preparation of a run: checks, lock, signal handling, progress bar and files."""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.agents import torso_factory
from jaxq.config import environment_notes, loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs.adapter import Environment
from jaxq.runs import (
    checkpoint,
    curves,
    files,
    manifest,
    matplotlib_check,
    progress,
    results,
    resume,
    run_writer,
    signals,
    trackers,
)
from jaxq.training import blocks, datasets, memory, metrics
from jaxq.training import population as populations
from jaxq.types import PyTree


class Options(NamedTuple):
    """The arguments of `run.run`, except the configuration and the environment."""

    output: pathlib.Path | None
    resume: pathlib.Path | None
    force_resume: bool
    checkpoint_seconds: float | None
    show_progress: bool
    verbose: bool
    plot: bool
    figure_format: matplotlib_check.Format
    profile: pathlib.Path | None
    devices: list[jax.Device] | None
    extras: results.ExtraMetrics
    params: PyTree  # [S, ...] to start from, or None
    trackers: list[trackers.Tracker]


@dataclasses.dataclass
class Session:
    """A run in progress, and the resources it holds."""

    config: Config  # of the whole run, possibly longer than the one it resumes
    env: Environment
    lengths: loop_lengths.LoopLengths
    blocks: list[blocks.Block]
    options: Options
    saved: resume.ResumePoint | None
    stop: signals.Stopper
    bar: progress.Progress
    writer: run_writer.RunWriter
    population: populations.Population | None = None
    latest: str = ""  # summary of the last point, shown with the progress

    def abort(self, error: BaseException) -> None:
        """Save as much as possible of a run that was ended by an error."""
        interrupted = isinstance(error, KeyboardInterrupt)
        status = "interrupted" if interrupted else "failed"
        if self.stop.twice:
            return
        failure = self.writer.abort(self.population, status)
        self.finish_trackers(status, {})
        if failure and failure is not error:
            self.bar.print(f"warning: could not save the latest state: {failure}")

    def start_trackers(self) -> None:
        """Announce the run to its trackers."""
        last = len(self.writer.points) - 1
        done = self.lengths.warmup_steps + last * self.lengths.point_steps
        step = done if self.saved and last >= 0 else None
        name, directory = self.env.spec.name, self.writer.directory
        info = trackers.RunInfo(self.config, name, directory, step)
        for tracker in self.options.trackers:
            tracker.start(info)

    def record(
        self, point: metrics.Measurement, population: populations.Population
    ) -> None:
        """Pass a new point of the curve to the trackers."""
        if not self.options.trackers:
            return
        points = [*self.writer.points, point]
        arrays = curves.to_arrays(self.config, self.lengths, points)
        metrics = results.per_seed(arrays.curve, arrays.extra)
        row = trackers.Point(
            int(arrays.curve.steps[-1]),
            results.seeds(self.config),
            {name: values[:, -1] for name, values in metrics.items()},
            functools.partial(population.params_of, population.states),
        )
        for tracker in self.options.trackers:
            tracker.record(row)

    def finish_trackers(self, status: str, summary: Mapping[str, Any]) -> None:
        """Tell the trackers that the run ends; their errors change nothing."""
        for tracker in self.options.trackers:
            try:
                tracker.finish(status, summary)
            except Exception as error:
                self.bar.print(f"warning: {tracker!r} failed to finish: {error!r}")


@contextlib.contextmanager
def prepare(config: Config, env: Environment, options: Options) -> Iterator[Session]:
    """Open a run: lock its directory, load its checkpoint, and print its header.

    Args:
        config: the configuration.
        env: its environment.
        options: see `Options`.
    """
    draws = options.plot and bool(options.output or options.resume)
    matplotlib_check.check_figures(draws, options.figure_format)
    lengths = loop_lengths.loop_lengths(config)
    need = memory.estimate(config, env, lengths)
    devices = options.devices or blocks.workers()
    layout = blocks.layout(config, devices, need.update)
    provenance = manifest.collect(env.spec.name, blocks.used_devices(layout), 0)
    facts = datasets.facts(config, env.spec)
    if facts:
        provenance["dataset"] = facts
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.Stopper())
        directory, saved = options.resume, None
        if directory:
            saved = _load(stack, directory, config, provenance, options)
            config = saved.config
            lengths = loop_lengths.loop_lengths(config)
            layout = blocks.layout(config, devices, need.update, saved.width)
        estimate = memory.check(config, lengths, need, layout)
        if options.output and not directory:
            directory = results.make_directory(options.output, config, env.spec.name)
            _hold(stack, directory)
        provenance["seed_block"] = int(layout[0].seeds.size)
        if options.params is not None:
            provenance["initial_params"] = _digest(options.params)
        writer = run_writer.RunWriter(
            config,
            lengths,
            provenance,
            directory,
            saved,
            options.checkpoint_seconds,
            options.plot,
            options.figure_format,
        )
        bar = stack.enter_context(
            progress.Progress(
                lengths.total_steps,
                config.num_seeds,
                options.show_progress,
                options.verbose,
            )
        )
        session = Session(
            config, env, lengths, layout, options, saved, stop, bar, writer
        )
        _print_header(session, estimate)
        yield session


def _digest(params: PyTree) -> str:
    """SHA-256 of given parameters."""
    leaves = (np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(params))
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()


def _load(
    stack: contextlib.ExitStack,
    directory: pathlib.Path,
    config: Config,
    provenance: Mapping[str, Any],
    options: Options,
) -> resume.ResumePoint:
    """Lock the directory of a run, and load its checkpoint."""
    if not directory.is_dir():
        raise ConfigError(f"resume = {str(directory)!r} is not a directory.")
    _hold(stack, directory)
    saved = resume.load(directory, config, provenance, options.force_resume)
    measured = options.extras.measure is not None or config.diagnostics
    resume.check_extras(saved, measured)
    return saved


def _hold(stack: contextlib.ExitStack, directory: pathlib.Path) -> None:
    """Lock a directory until the stack is closed."""
    stack.enter_context(files.Lock(directory))
    stack.enter_context(_resume_note(directory))


@contextlib.contextmanager
def _resume_note(directory: pathlib.Path) -> Iterator[None]:
    """Add the option that resumes the run to any error, if a checkpoint exists."""
    try:
        yield
    except BaseException as error:
        if checkpoint.paths(directory):
            error.add_note(f"--resume {directory}")
        raise


def _print_header(session: Session, estimate: str) -> None:
    """Print warnings, the size of the run, and its directory."""
    config, directory = session.config, session.writer.directory
    used = blocks.used_devices(session.blocks)
    lines = [
        *(session.saved.notes if session.saved else ()),
        f"{session.writer.title} | {config.num_seeds} seeds in blocks of "
        f"{session.blocks[0].seeds.size} | {session.lengths.total_steps:,} steps per "
        f"seed | {len(used)} x {used[0].device_kind}",
        *environment_notes.notes(config),
        *torso_factory.notes(config, session.env.spec),
        *datasets.notes(config, session.env.spec),
        estimate,
        *loop_lengths.notes(config, session.lengths),
    ]
    if directory:
        lines.append(f"run: {directory}")
    for line in lines:
        session.bar.print(line)
