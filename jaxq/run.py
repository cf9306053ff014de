"""The edge: a configuration in, learning curves and files out."""

import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq import algorithms, progress, registry, results, statistics, train, validation
from jaxq import config as configs
from jaxq.config import Config, ConfigError
from jaxq.environments import Environment
from jaxq.population import Measurement, Population, layout
from jaxq.types import EnvSpec, PyTree


class Result(NamedTuple):
    """What a run returns; leading axis [S] seeds."""

    config: Config
    curve: results.Curve
    eval_returns: np.ndarray  # [S, P, K]
    extra: dict[str, np.ndarray]  # what the experiment measured besides; [S, P]
    params: PyTree
    summary: dict[str, Any]
    directory: pathlib.Path | None


class Extras(NamedTuple):
    """What an experiment adds to a run."""

    measure: Callable[[PyTree], dict[str, np.ndarray]]  # params[S] -> name -> [S]
    levels: dict[str, float]  # horizontal lines of the plot


NO_EXTRAS = Extras(lambda params: {}, {})


def check(config: Config, environment: Environment | None = None) -> Environment:
    """Refuse what cannot run, before anything is compiled; see `validation.validate`.

    Returns:
        The environment.
    """
    validation.validate(config)
    if config.algorithm not in algorithms.ALGORITHMS:
        known = ", ".join(algorithms.ALGORITHMS)
        raise ConfigError(f"algorithm = {config.algorithm!r}: choose one of {known}.")
    env = environment or registry.from_config(config)
    if not config.timeout_is_terminal:
        validation.check_time_limit(env.time_limit)
    check_agent(config, env.spec)
    return env


def check_agent(config: Config, spec: EnvSpec) -> None:
    """Trace the agent's functions on shapes alone."""
    try:
        agent = algorithms.make(config, spec)
        jax.eval_shape(
            agent.init, jax.eval_shape(lambda: jax.random.key(0)), spec.example()
        )
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def run(
    config: Config,
    environment: Environment | None = None,
    *,
    output: pathlib.Path | None = None,
    show_progress: bool = False,
    plot: bool = True,
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
        devices: to compute on; None takes all local ones.
        extras: measured at every point of the curve besides the returns.

    Raises:
        ConfigError: before anything is compiled.
    """
    env = check(config, environment)
    devices = devices or jax.local_devices()
    blocks = layout(config, devices)
    used = list(dict.fromkeys(block.device for block in blocks))
    width = blocks[0].seeds.size
    directory = results.make_directory(output, config) if output else None
    record = results.manifest(used, width)
    loop = configs.plan(config)
    title = f"{config.algorithm} on {env.spec.name}"
    points: list[Measurement] = []
    levels = {}
    if directory:
        results.write_config(directory, config)
        results.write_json(directory / "manifest.json", record)
    with progress.Progress(loop.total_steps, config.num_seeds, show_progress) as bar:
        bar.say(
            f"{title} | {config.num_seeds} seeds in blocks of {width} | "
            f"{loop.total_steps:,} steps each | {len(used)} x {used[0].device_kind}"
        )
        if directory:
            bar.say(f"run: {directory}")
        began = time.monotonic()
        population = Population(config, env, blocks)
        levels["random policy"] = float(population.evaluate(1.0).episode_return.mean())
        levels["optimum"] = env.optimal_return
        levels |= extras.levels
        points.append(population.measure(extras.measure))
        try:
            for point in range(loop.num_points):
                for piece in range(loop.point_chunks):
                    population.advance()
                    if point == piece == 0:
                        bar.start(population.steps)
                    bar.update(population.steps, _latest(points[-1]))
                points.append(population.measure(extras.measure))
                bar.update(population.steps, _latest(points[-1]))
                if (points[-1].diverged_at >= 0).all():
                    break
            record["status"] = "finished"
        except KeyboardInterrupt:
            record["status"] = "interrupted"
            raise
        finally:
            timing = {
                "steps_per_second_all_seeds": bar.steps_per_second(),
                "seconds": time.monotonic() - began,
            }
            result = _finish(
                config, env, points, population, levels, timing, directory, record, plot
            )
        bar.say(report(result))
    return result


def _latest(point: Measurement) -> str:
    scores = np.asarray(point.evaluation.episode_return).mean(axis=1)
    interval = statistics.bootstrap_iqm(scores[:, None], resamples=200)
    low, high = interval.low[0], interval.high[0]
    extra = "".join(f"  {k} {np.median(v):.3g}" for k, v in point.extra.items())
    return f"return IQM {interval.value[0]:.4g} [{low:.4g}, {high:.4g}]{extra}"


def to_curve(config: Config, points: list[Measurement]) -> results.Curve:
    """Measurements as arrays [S, P]."""
    loop = configs.plan(config)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *points)
    tally, evaluation = stacked.tally, stacked.evaluation
    steps = loop.warmup_steps + loop.point_steps * np.arange(len(points))
    epsilon = train.epsilon_schedule(config)(jnp.asarray(steps), stacked.finished)
    none = tally.episodes == 0

    def of_updates(mean: np.ndarray) -> np.ndarray:
        return np.where(tally.updates == 0, np.nan, mean)

    return results.Curve(
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


def _finish(
    config: Config,
    env: Environment,
    points: list[Measurement],
    population: Population,
    levels: dict[str, float],
    timing: dict[str, float],
    directory: pathlib.Path | None,
    record: dict[str, Any],
    plot: bool,
) -> Result:
    """Write what was measured, however far the run came."""
    curve = to_curve(config, points)
    returns = np.stack([point.evaluation.episode_return for point in points], axis=1)
    params = population.params
    extra = {
        name: np.stack([point.extra[name] for point in points], axis=1)
        for name in points[0].extra
    }
    summary = results.summarize(config, curve, levels, timing, extra)
    if directory:
        results.write_curve(directory, config, curve, returns, extra)
        results.write_arrays(directory / "params.npz", results.flatten_params(params))
        results.write_json(directory / "summary.json", summary)
        results.write_json(directory / "manifest.json", record)
        if plot:
            from jaxq import plots

            title = f"{config.algorithm} on {env.spec.name}"
            plots.learning_curve(directory / "curve.png", title, curve, levels)
    return Result(config, curve, returns, extra, params, summary, directory)


def report(result: Result) -> str:
    """What a user wants to know at the end."""
    final = result.summary["final_eval_return"]
    low, high = final["confidence_95"]
    diverged = result.summary["diverged_seeds"]
    lines = [
        f"done in {progress.duration(result.summary['seconds'])} at "
        f"{progress.short(result.summary['steps_per_second_all_seeds'])} steps/s | "
        f"final return IQM {final['iqm']:.4g}, 95 % CI [{low:.4g}, {high:.4g}] | "
        f"{result.config.num_seeds - len(diverged)} of {result.config.num_seeds} seeds "
        "finite"
    ]
    if len(diverged):
        lines.append(
            f"diverged and frozen: seeds {', '.join(map(str, diverged))}; they count "
            "in every statistic with the policy they had. Try a lower learning_rate."
        )
    if result.directory:
        lines.append(
            f"saved {', '.join(sorted(p.name for p in result.directory.iterdir()))}"
        )
    return "\n".join(lines)


def all_diverged(result: Result) -> bool:
    """Whether no seed is left that learns."""
    return bool(result.curve.diverged[:, -1].all())


__all__ = ["Result", "all_diverged", "check", "run"]
