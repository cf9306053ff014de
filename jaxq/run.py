"""The edge: a configuration in, learning curves and files out."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq import memory, progress, provenance, results, statistics, train
from jaxq import plan as plans
from jaxq.blocks import layout, used_devices, workers
from jaxq.checks import check
from jaxq.config import Config
from jaxq.environments import Environment
from jaxq.papers import compose
from jaxq.population import Measurement, Population
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


SAVE_SECONDS = 30  # between writes of the metrics during a run


class Extras(NamedTuple):
    """What an experiment adds to a run."""

    # params[S] -> name -> [S]
    measure: Callable[[PyTree], dict[str, np.ndarray]] | None
    levels: dict[str, float]  # horizontal lines of the plot


NO_EXTRAS = Extras(None, {})


def run(
    config: Config,
    environment: Environment | None = None,
    *,
    output: pathlib.Path | None = None,
    show_progress: bool = False,
    plot: bool = True,
    profile: pathlib.Path | None = None,
    devices: list[jax.Device] | None = None,
    extras: Extras = NO_EXTRAS,
) -> Result:
    """Train every seed, evaluate on the way, and keep what was measured.

    Args:
        config: what is run.
        environment: in place of the one `config` names; see `environments.adapt`.
        output: root of the results; None writes nothing.
        show_progress: print a bar, or lines where there is no terminal.
        plot: draw the learning curve.
        profile: directory for a trace of the second chunk of training, or the only one.
        devices: of the workers; None takes `blocks.workers()`.
        extras: measured at every point of the curve besides the returns.

    Raises:
        ConfigError: before anything is compiled.
    """
    env = check(config, environment)
    config = compose(config)
    each = memory.need(config, env)
    blocks = layout(config, devices or workers(), each.learner)
    used = used_devices(blocks)
    width = blocks[0].seeds.size
    takes = memory.check(config, each, used)
    loop = plans.plan(config)
    title = f"{config.algorithm} on {env.spec.name}"
    record = provenance.manifest(env.spec.name, used, width)
    directory = None
    if output:
        directory = results.make_directory(output, config, env.spec.name)
        results.write_config(directory, config)
        results.write_json(directory / "manifest.json", record)
    points: list[Measurement] = []
    levels: dict[str, float] = {}

    def save() -> None:
        """Write what was measured so far."""
        if directory and points:
            arrays = to_arrays(config, points)
            results.write_curve(directory, config, *arrays)
            if plot:
                from jaxq import plots

                path = directory / "curve.png"
                plots.learning_curve(path, title, arrays.curve, levels)

    with progress.Progress(loop.total_steps, config.num_seeds, show_progress) as bar:
        bar.say(
            f"{title} | {config.num_seeds} seeds in blocks of {width} | "
            f"{loop.total_steps:,} steps each | {len(used)} x {used[0].device_kind}"
        )
        bar.say(takes)
        if directory:
            bar.say(f"run: {directory}")
        began = saved = time.monotonic()
        try:
            population = Population(config, env, blocks)
            random = population.evaluate(1.0).episode_return
            levels["random policy"] = float(random.mean())
            levels["optimum"] = env.optimal_return
            levels |= extras.levels
            for measurement in _points(population, loop, bar, extras, profile):
                points.append(measurement)
                if time.monotonic() - saved > SAVE_SECONDS:
                    save()
                    saved = time.monotonic()
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            record["status"] = "interrupted" if interrupted else "failed"
            if directory:
                # The cause matters more than a second failure while saving.
                with contextlib.suppress(OSError):
                    results.write_json(directory / "manifest.json", record)
                    save()
            raise
        timing = {
            "steps_per_second_all_seeds": bar.steps_per_second(),
            "seconds": time.monotonic() - began,
            "seconds_to_first_chunk": bar.seconds_to_first_chunk,
        }
        arrays = to_arrays(config, points)
        summary = results.summarize(config, arrays, levels, timing)
        diverged = arrays.curve.diverged[:, -1].all()
        record["status"] = "diverged" if diverged else "finished"
        params = population.params
        if directory:
            save()
            flat = results.flatten_params(params)
            results.write_arrays(directory / "params.npz", flat)
            results.write_json(directory / "summary.json", summary)
            results.write_json(directory / "manifest.json", record)
        result = Result(config, *arrays, params, summary, directory)
        bar.say(report(result))
    return result


def _points(
    population: Population,
    loop: plans.Plan,
    bar: progress.Progress,
    extras: Extras,
    profile: pathlib.Path | None,
) -> Iterator[Measurement]:
    """Train, and yield what was measured at every point of the curve.

    The first point comes before any learning; the last where every seed has diverged.
    """
    latest = population.measure(extras.measure)
    yield latest
    text = _latest(latest)
    # The first chunk compiles.
    traced = min(1, loop.num_points * loop.point_chunks - 1)
    for point in range(loop.num_points):
        for part in range(loop.point_chunks):
            if profile and point * loop.point_chunks + part == traced:
                with jax.profiler.trace(profile):
                    population.advance()
                bar.say(f"trace: {profile}")
            else:
                population.advance()
            bar.update(population.steps, text)
        latest = population.measure(extras.measure)
        text = _latest(latest)
        bar.update(population.steps, text)
        yield latest
        if (latest.diverged_at >= 0).all():
            return


def _latest(point: Measurement) -> str:
    scores = np.asarray(point.evaluation.episode_return).mean(axis=1)
    interval = statistics.bootstrap_iqm(scores[:, None], resamples=200)
    low, high = interval.low[0], interval.high[0]
    extra = "".join(f"  {k} {np.median(v):.3g}" for k, v in point.extra.items())
    return f"return IQM {interval.value[0]:.4g} [{low:.4g}, {high:.4g}]{extra}"


def to_arrays(config: Config, points: list[Measurement]) -> results.Arrays:
    """Measurements as arrays [S, P]."""
    loop = plans.plan(config)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *points)
    tally, evaluation = stacked.tally, stacked.evaluation
    steps = loop.warmup_steps + loop.point_steps * np.arange(len(points))
    epsilon = train.epsilon_schedule(config)(jnp.asarray(steps), stacked.finished)
    if config.epsilon_schedule == "ladder":
        epsilon = jnp.mean(epsilon)
    none = tally.episodes == 0

    def of_updates(mean: np.ndarray) -> np.ndarray:
        return np.where(tally.updates == 0, np.nan, mean)

    curve = results.Curve(
        steps=steps,
        epsilon=np.broadcast_to(np.asarray(epsilon), none.shape),
        train_return=np.where(none, np.nan, tally.episode_return),
        train_length=np.where(none, np.nan, tally.episode_length),
        train_episodes=tally.episodes,
        eval_return=evaluation.episode_return.mean(axis=-1),
        eval_length=evaluation.episode_length.mean(axis=-1),
        eval_unfinished=1.0 - evaluation.finished.mean(axis=-1),
        loss=of_updates(tally.update.loss),
        td_error=of_updates(tally.update.td_error),
        q_value=of_updates(tally.update.q_value),
        grad_norm=of_updates(tally.update.grad_norm),
        diverged=stacked.diverged_at >= 0,
    )
    return results.Arrays(curve, evaluation.episode_return, stacked.extra)


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
    if len(diverged):
        lines.append(
            f"diverged and frozen: seeds {', '.join(map(str, diverged))}; they count "
            "in every statistic with the policy they had. A lower learning_rate may "
            "help."
        )
    if result.directory:
        lines.append(
            f"saved {', '.join(sorted(p.name for p in result.directory.iterdir()))}"
        )
    return "\n".join(lines)


def all_diverged(result: Result) -> bool:
    """Whether no seed is left that learns."""
    return bool(result.curve.diverged[:, -1].all())


__all__ = ["NO_EXTRAS", "Extras", "Result", "all_diverged", "check", "report", "run"]
