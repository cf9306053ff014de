"""Train a configuration; return and save its learning curves."""

import contextlib
import pathlib
import time
import warnings
from collections.abc import Callable, Sequence

import jax

from jaxq.agents import algorithms, field_effects
from jaxq.config import field_usage
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError, UnusedFieldWarning
from jaxq.envs.adapter import Environment
from jaxq.runs import (
    closing_message,
    curves,
    matplotlib_check,
    pacing,
    results,
    summary,
)
from jaxq.runs import session as sessions
from jaxq.runs.trackers import Point, Tracker, as_trackers
from jaxq.training import checks, compiled, warm_start
from jaxq.training import population as populations
from jaxq.types import PyTree


def run(
    config: Config,
    environment: Environment | None = None,
    *,
    output: str | pathlib.Path | None = None,
    resume: str | pathlib.Path | None = None,
    force_resume: bool = False,
    checkpoint_seconds: float | None = 60.0,
    show_progress: bool = False,
    verbose: bool = False,
    plot: bool = True,
    figure_format: matplotlib_check.Format = "png",
    profile: pathlib.Path | None = None,
    devices: list[jax.Device] | None = None,
    extras: results.ExtraMetrics = results.NO_EXTRAS,
    params: PyTree = None,
    trackers: Sequence[Tracker | Callable[[Point], object]] = (),
) -> results.Result:
    """Train all seeds of a configuration, with periodic evaluations.

    Programs are compiled and run in separate threads. Context managers of jax, such as
    `jax.debug_nans(True)`, apply only to the thread that enters them and have no effect
    here; use `jax.config.update` instead.

    Args:
        config: the configuration.
        environment: replaces the one that `config` names; see `adapter.adapt`.
        output: root directory of results; None writes no files.
        resume: directory of a run to resume, in place of `output`; `config` must be the
            same, except that it may have more steps.
        force_resume: resume even if versions or devices differ.
        checkpoint_seconds: minimum time between checkpoints; longer if they would take
            more than 5 % of the time. One is always written at the end. 0 writes one
            after every call, None writes none.
        show_progress: print a progress bar, or lines if there is no terminal; implies
            `verbose`.
        verbose: print the directory, warnings and the final result.
        plot: plot the learning curve, and write report.html.
        figure_format: pdf writes the curve as PDF, beside the PNG.
        profile: directory for a profile of the second training call, or of the only
            one.
        devices: one per worker; None uses `blocks.workers()`.
        extras: additional metrics, measured at every point of the curve.
        params: to start from, for the online and the target network: of one seed, or
            of every seed with a leading axis [S]. The replay buffer starts with the
            experience of a new agent, and the optimizer's state is new.
        trackers: follow the run: functions of every point of the curve, or objects;
            see `trackers.Tracker` and `tracking_services.make`.

    Raises:
        ConfigError: for invalid settings, before anything is compiled.
        fields.Locked: if another process uses the directory.
        fields.CheckpointError: if no valid checkpoint exists to resume from.
        signals.Stopped: on Ctrl-C or SIGTERM, after everything is saved.

    Warns:
        fields.UnusedFieldWarning: for every given field that has no effect.
    """
    if environment is not None:
        config = checks.settings_for_object(config)
    env = checks.check(config, environment)
    config = algorithms.resolved(config)
    chosen = sorted(field_usage.chosen(config))
    for note in field_effects.notes(config, env.spec, chosen):
        warnings.warn(note, UnusedFieldWarning, stacklevel=2)
    if params is not None:
        if resume is not None:
            raise ConfigError("params has no effect on a run that resumes: omit it.")
        params = warm_start.per_seed(config, env.spec, params)
    options = sessions.Options(
        None if output is None else pathlib.Path(output),
        None if resume is None else pathlib.Path(resume),
        force_resume,
        checkpoint_seconds,
        show_progress,
        verbose,
        plot,
        figure_format,
        profile,
        devices,
        extras,
        params,
        as_trackers(trackers),
    )
    with sessions.prepare(config, env, options) as session:
        started = time.monotonic()
        try:
            session.start_trackers()
            population = start(session)
            train(session, population)
            result = finish(session, population, started)
        except BaseException as error:
            session.abort(error)
            raise
        status = "diverged" if closing_message.all_diverged(result) else "finished"
        session.finish_trackers(status, result.summary)
        session.bar.print(closing_message.text(result))
    return result


def start(session: sessions.Session) -> populations.Population:
    """Warm up all seeds, or restore their states; measure the reference levels."""
    writer, saved = session.writer, session.saved
    population = session.population = populations.Population(
        session.config,
        session.env,
        session.lengths,
        session.blocks,
        saved.arrays if saved else None,
    )
    if session.options.params is not None:
        population.states = warm_start.replace_params(
            population.states, session.options.params
        )
    if saved:
        session.bar.print(f"resuming at {population.steps:,} steps")
        writer.save(None)
    if not writer.levels:
        random = population.evaluate(1.0, compiled.RANDOM_POLICY)
        writer.levels = {
            "random policy": float(random.episode_return.mean()),
            "optimum": session.env.optimal_return,
            **session.options.extras.levels,
        }
    return population


def train(session: sessions.Session, population: populations.Population) -> None:
    """Train up to the last point of the curve, or until every seed has diverged.

    The first point is measured before any learning.
    """
    lengths, writer = session.lengths, session.writer
    point_iterations = lengths.point_iterations
    fixed = bool(session.config.chunk_iterations)
    on_cpu = population.devices[0].platform == "cpu"
    pacer = pacing.Pacer(lengths, adaptive=on_cpu and not fixed)
    if writer.points:
        session.latest = curves.latest(writer.points[-1])
    while True:
        iterations = population.iterations
        if len(writer.points) <= iterations // point_iterations:
            _measure(session, population, iterations)
        if iterations >= lengths.iterations:
            return
        if (writer.points[-1].diverged_at >= 0).all():
            return
        iterations += _call(session, population, pacer, iterations)
        if iterations % point_iterations:  # otherwise the new point is shown
            session.bar.update(population.steps, session.latest)
        if writer.due:
            with session.stop.deferred():
                writer.save(population)


def _measure(
    session: sessions.Session, population: populations.Population, iterations: int
) -> None:
    """Add a point to the curve."""
    point = population.measure(session.options.extras.measure)
    session.record(point, population)  # a failing tracker receives it again on resume
    with session.stop.deferred():
        session.writer.points.append(point)
        population.reset_metrics()
    session.latest = curves.latest(point)
    if iterations:
        session.bar.update(population.steps, session.latest)


def _call(
    session: sessions.Session,
    population: populations.Population,
    pacer: pacing.Pacer,
    done: int,
) -> int:
    """Make one compiled call, and return its number of iterations."""
    lengths, profile = session.lengths, session.options.profile
    if pacer.calls != min(1, lengths.num_points * lengths.point_chunks - 1):
        profile = None
    iterations = pacer.next(done, whole_chunk=profile is not None)
    with contextlib.ExitStack() as stack:
        if pacer.calls:  # the first call compiles: stop at once, nothing is lost
            stack.enter_context(session.stop.deferred())
        if profile:
            stack.enter_context(jax.profiler.trace(profile))
        started = time.monotonic()
        population.train(iterations)
        pacer.record(iterations, time.monotonic() - started)
    if profile:
        session.bar.print(f"trace: {profile}")
    return iterations


def finish(
    session: sessions.Session, population: populations.Population, started: float
) -> results.Result:
    """Summarise the run, and write its files."""
    config, writer, bar = session.config, session.writer, session.bar
    timing = {
        "steps_per_second_all_seeds": bar.steps_per_second(),
        "seconds": time.monotonic() - started,
        "seconds_to_first_chunk": bar.seconds_to_first_chunk,
    }
    arrays = curves.to_arrays(config, session.lengths, writer.points)
    statistics = summary.summarize(config, arrays, writer.levels, timing)
    result = results.Result(
        config,
        *arrays,
        population.params,
        statistics,
        writer.directory,
        session.env.spec.name,
    )
    with session.stop.deferred(last=True):
        status = "diverged" if closing_message.all_diverged(result) else "finished"
        writer.finish(population, statistics, status)
    return result
