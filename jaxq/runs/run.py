"""The edge: a configuration in, learning curves and files out."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config import loop_lengths
from jaxq.config.config import Config, ConfigError
from jaxq.envs.adapter import Environment
from jaxq.runs import checkpoint, curves, files, manifest, progress, results
from jaxq.runs import resume as runs_resume
from jaxq.runs.run_writer import RunWriter
from jaxq.runs.signals import Stopper
from jaxq.training import memory
from jaxq.training.blocks import (
    layout,
    used_devices,
    workers,
)
from jaxq.training.checks import check
from jaxq.training.population import Population
from jaxq.types import PyTree


class Result(NamedTuple):
    """What a run returns; leading axis [S] seeds."""

    config: Config
    curve: results.Curve
    eval_returns: np.ndarray  # [S, P, K]
    extra: dict[str, np.ndarray]  # what the experiment measured besides; [S, P]
    params: PyTree
    summary: dict[str, Any]
    directory: pathlib.Path | None


class ExtraMetrics(NamedTuple):
    """What an experiment adds to a run."""

    # params[S] -> name -> [S]
    measure: Callable[[PyTree], dict[str, np.ndarray]] | None
    levels: dict[str, float]  # horizontal lines of the plot


NO_EXTRAS = ExtraMetrics(None, {})


def run(
    config: Config,
    environment: Environment | None = None,
    *,
    output: str | pathlib.Path | None = None,
    resume: str | pathlib.Path | None = None,
    force_resume: bool = False,
    checkpoint_seconds: float | None = 60.0,
    show_progress: bool = False,
    plot: bool = True,
    profile: pathlib.Path | None = None,
    devices: list[jax.Device] | None = None,
    extras: ExtraMetrics = NO_EXTRAS,
) -> Result:
    """Train every seed, evaluate on the way, and keep what was measured.

    Threads of their own compile and compute. What a context manager of jax's sets, as
    `jax.debug_nans(True)`, holds for the thread that enters it, and so has no effect
    here; what `jax.config.update` sets has.

    Args:
        config: what is run.
        environment: in place of the one `config` names; see `environments.adapt`.
        output: root of the results; None writes nothing.
        resume: directory of a run to go on with, in the place of `output`; `config`
            must be its own, but may have more steps.
        force_resume: go on although versions or devices differ.
        checkpoint_seconds: between checkpoints, which take a twentieth of the time at
            most; one is kept at the end, too. 0 keeps one after every call, None none.
        show_progress: print a bar, or lines where there is no terminal.
        plot: draw the learning curve.
        profile: directory for a trace of the second call of the training, or the only
            one.
        devices: of the workers; None takes `blocks.workers()`.
        extras: measured at every point of the curve besides the returns.

    Raises:
        ConfigError: before anything is compiled.
        files.Locked: if another process holds the directory.
        checkpoint.CheckpointError: if there is nothing whole to go on from.
        signals.Stopped: after Ctrl-C or SIGTERM, when everything is saved.
    """
    output = None if output is None else pathlib.Path(output)
    resume = None if resume is None else pathlib.Path(resume)
    env = check(config, environment)
    each = memory.need(config, env)
    blocks = layout(config, devices or workers(), each.update)
    record = manifest.manifest(env.spec.name, used_devices(blocks), 0)
    directory, saved = resume, None
    with contextlib.ExitStack() as held:
        stop = held.enter_context(Stopper())
        if resume:
            if not resume.is_dir():
                raise ConfigError(f"resume = {str(resume)!r} is no directory.")
            held.enter_context(files.Lock(resume))
            held.enter_context(_note_the_way(resume))
            saved = runs_resume.load(resume, config, record, force_resume)
            runs_resume.check_extras(saved, extras.measure is not None)
            config = saved.config
            blocks = layout(config, devices or workers(), each.update, saved.width)
        takes = memory.check(config, each, blocks)
        if output and not resume:
            directory = results.make_directory(output, config, env.spec.name)
            held.enter_context(files.Lock(directory))
            held.enter_context(_note_the_way(directory))
        used, width = used_devices(blocks), int(blocks[0].seeds.size)
        record["seed_block"] = width
        lengths = loop_lengths.loop_lengths(config)
        title = f"{config.algorithm} on {env.spec.name}"
        keep = RunWriter(
            config, record, width, title, directory, saved, checkpoint_seconds, plot
        )
        bar = held.enter_context(
            progress.Progress(lengths.total_steps, config.num_seeds, show_progress)
        )
        for note in saved.notes if saved else ():
            bar.say(note)
        bar.say(
            f"{title} | {config.num_seeds} seeds in blocks of {width} | "
            f"{lengths.total_steps:,} steps each | {len(used)} x {used[0].device_kind}"
        )
        bar.say(takes)
        for note in loop_lengths.notes(config, lengths):
            bar.say(note)
        if directory:
            bar.say(f"run: {directory}")
        began = time.monotonic()
        population = None
        try:
            arrays = saved.arrays if saved else None
            population = Population(config, env, blocks, arrays)
            if saved:
                bar.say(f"goes on at {population.steps:,} steps")
                keep.save(None)
            if not keep.levels:
                random = population.evaluate(1.0).episode_return
                levels = {"random policy": float(random.mean())}
                keep.levels = levels | {"optimum": env.optimal_return} | extras.levels
            _train(population, lengths, config, keep, bar, stop, extras, profile)
            timing = {
                "steps_per_second_all_seeds": bar.steps_per_second(),
                "seconds": time.monotonic() - began,
                "seconds_to_first_chunk": bar.seconds_to_first_chunk,
            }
            measured = curves.to_arrays(config, keep.points)
            summary = results.summarize(config, measured, keep.levels, timing)
            result = Result(config, *measured, population.params, summary, directory)
            with stop.deferred(last=True):
                status = "diverged" if all_diverged(result) else "finished"
                keep.finish(population, summary, status)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            status = "interrupted" if interrupted else "failed"
            failure = None if stop.twice else keep.abort(population, status)
            if failure and failure is not error:
                bar.say(f"warning: the latest state could not be saved: {failure}")
            raise
        bar.say(report(result))
    return result


@contextlib.contextmanager
def _note_the_way(directory: pathlib.Path) -> Iterator[None]:
    """Note on every error how to go on after it, if there is a checkpoint."""
    try:
        yield
    except BaseException as error:
        if checkpoint.found(directory):
            error.add_note(f"--resume {directory}")
        raise


CALL_SECONDS = 1.0  # of a compiled call on a CPU: how long a signal waits


def _train(
    population: Population,
    lengths: loop_lengths.LoopLengths,
    config: Config,
    keep: RunWriter,
    bar: progress.Progress,
    stop: Stopper,
    extras: ExtraMetrics,
    profile: pathlib.Path | None,
) -> None:
    """Train, measure at every point of the curve, and save now and then.

    The first point comes before any learning; the last where every seed has diverged.
    """
    apart = lengths.chunk_iterations * lengths.point_chunks
    # A GPU takes the calls that were compiled, a CPU as many iterations as fill one.
    paced = population.devices[0].platform == "cpu" and not config.chunk_iterations
    pace, calls = 1, 0
    text = curves.latest(keep.points[-1]) if keep.points else ""
    while True:
        done = population.iterations
        if len(keep.points) <= done // apart:
            point = population.measure(extras.measure)
            with stop.deferred():
                keep.points.append(point)
                population.reset_metrics()
            text = curves.latest(point)
            if done:
                bar.update(population.steps, text)
        if done >= apart * lengths.num_points or _diverged(keep):
            return
        left = apart - done % apart
        tracing = profile and calls == min(
            1, lengths.num_points * lengths.point_chunks - 1
        )
        size = lengths.chunk_iterations
        if paced:
            size = min(size if tracing else pace, left)
        with contextlib.ExitStack() as around:
            if calls:  # the first one compiles, and nothing is lost if it is left
                around.enter_context(stop.deferred())
            if tracing and profile:
                around.enter_context(jax.profiler.trace(profile))
            began = time.monotonic()
            population.advance(size if paced else None)
            seconds = time.monotonic() - began
        if tracing:
            bar.say(f"trace: {profile}")
        if calls:
            pace = max(1, min(10 * size, int(size * CALL_SECONDS / seconds)))
        calls += 1
        if (done + size) % apart:  # else a newer point is measured first
            bar.update(population.steps, text)
        if keep.due:
            with stop.deferred():
                keep.save(population)


def _diverged(keep: RunWriter) -> bool:
    return bool((keep.points[-1].diverged_at >= 0).all())


def report(result: Result) -> str:
    """What a user wants to know at the end."""
    final = result.summary["final_eval_return"]
    low, high = final["confidence_95"]
    diverged = result.summary["diverged_seeds"]
    lines = [
        f"done in {progress.duration(result.summary['seconds'])} | "
        f"final return IQM {final['iqm']:.4g}, 95 % CI [{low:.4g}, {high:.4g}] | "
        f"{result.config.num_seeds - len(diverged)} of {result.config.num_seeds} seeds "
        "finite"
    ]
    unfinished = result.curve.eval_unfinished[:, -1].mean()
    if unfinished > 0:
        lines.append(
            f"{unfinished:.0%} of the last evaluation's episodes were cut off before "
            "they ended; --time-limit truncates them, --eval-max-steps lets them last"
        )
    if len(diverged):
        cure = "A lower learning_rate may help."
        if result.config.loss_reduction == "sum":
            cure = (
                "Losses are summed, so what comes k times in a minibatch moves k times "
                "as far: a lower learning_rate or a smaller minibatch may help."
            )
        lines.append(
            f"diverged and frozen: seeds {', '.join(map(str, diverged))}; they count "
            f"in every statistic with the policy they had. {cure}"
        )
    if result.directory:
        names = sorted(path.name for path in result.directory.glob("[!.]*"))
        lines.append(f"saved {', '.join(names)}")
    return "\n".join(lines)


def all_diverged(result: Result) -> bool:
    """Whether no seed is left that learns."""
    return bool(result.curve.diverged[:, -1].all())


__all__ = [
    "NO_EXTRAS",
    "ExtraMetrics",
    "Result",
    "all_diverged",
    "check",
    "report",
    "run",
]
