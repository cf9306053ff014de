"""The edge: seeds by vmap, devices by sharding, chunks from the host, files.

Seeds are vectorised in blocks of a fixed width, one block a device at a time. A seed's
numbers depend on the width, because XLA chooses its kernels by it, but neither on its
neighbours nor on how many blocks there are; the last block is filled up with repeats,
which are dropped.
"""

import concurrent.futures
import functools
import itertools
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq import algorithms, environments, evaluate, progress, results, statistics, train
from jaxq import config as configs
from jaxq.config import Config, ConfigError
from jaxq.environments import Environment
from jaxq.types import Array, EnvSpec, Key, PyTree, seed_axes

MAX_CPU_BLOCK = 16  # wider blocks of seeds leave a core's cache
_EVALUATE = 2**32 - 2  # folded into a seed's key for the keys of evaluation


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


class Block(NamedTuple):
    """Seeds that are vectorised together on one device."""

    seeds: np.ndarray  # [width] uint32
    device: jax.Device


def layout(config: Config, devices: list[jax.Device]) -> list[Block]:
    """Distribute seeds over devices, in blocks of one width.

    Args:
        config: num_seeds, first_seed and seed_block; 0 takes the fewest equal blocks
            that fill every device, at most `MAX_CPU_BLOCK` wide on a CPU.
        devices: to compute on, taken in turn.
    """
    widest = MAX_CPU_BLOCK if devices[0].platform == "cpu" else config.num_seeds
    share = -(-config.num_seeds // len(devices))
    width = config.seed_block or -(-share // -(-share // widest))
    count = -(-config.num_seeds // width)
    lanes = np.minimum(np.arange(count * width), config.num_seeds - 1)
    seeds = (config.first_seed + lanes).astype(np.uint32)
    return [
        Block(part, devices[i % len(devices)])
        for i, part in enumerate(np.split(seeds, count))
    ]


def traced(config: Config) -> Config:
    """The configuration with its traced fields as arrays, ready for `jit`."""
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.int32 if isinstance(leaf, int) else np.float32),
        config,
    )


@functools.partial(jax.jit, static_argnames=("env",))
def start(config: Config, keys: Key, *, env: Environment) -> train.RunState:
    """Initialise and warm up the seeds of a block; keys: [S]."""
    one = functools.partial(train.start, config, env)
    axes = seed_axes(jax.eval_shape(one, keys[0]))
    return jax.vmap(one, out_axes=axes)(keys)


@functools.partial(jax.jit, static_argnames=("env",), donate_argnames=("state",))
def chunk(
    config: Config, keys: Key, state: train.RunState, *, env: Environment
) -> train.RunState:
    """Train the seeds of a block for a chunk of iterations."""
    axes = seed_axes(state)
    one = functools.partial(train.chunk, config, env)
    return jax.vmap(one, in_axes=(0, axes), out_axes=axes)(keys, state)


@functools.partial(jax.jit, static_argnames=("env",))
def play(
    config: Config, keys: Key, state: train.RunState, epsilon: Array, *, env: Environment
) -> evaluate.Evaluation:
    """Evaluate the seeds of a block on keys of their own; [S, K]."""
    agent = algorithms.make(config, env.spec)
    max_steps = int(min(config.eval_max_steps, env.time_limit))

    def one(key: Key, state: train.RunState) -> evaluate.Evaluation:
        key = jax.random.fold_in(jax.random.fold_in(key, _EVALUATE), state.steps.value)
        return evaluate.evaluate(
            key, agent, state.agent, env, config.eval_episodes, epsilon, max_steps
        )

    return jax.vmap(one, in_axes=(0, seed_axes(state)))(keys, state)


make_keys = jax.jit(jax.vmap(jax.random.key))


class Measurement(NamedTuple):
    """What the host reads at a point of the curve; leading axis [S]."""

    tally: train.Tally
    evaluation: evaluate.Evaluation
    diverged_at: np.ndarray
    finished: np.ndarray
    extra: dict[str, np.ndarray]


def check(config: Config, environment: Environment | None = None) -> Environment:
    """Refuse what cannot run, before anything is compiled; see `configs.validate`.

    Returns:
        The environment.
    """
    configs.validate(config)
    if config.algorithm not in algorithms.ALGORITHMS:
        known = ", ".join(algorithms.ALGORITHMS)
        raise ConfigError(f"algorithm = {config.algorithm!r}: choose one of {known}.")
    env = environment or environments.from_config(config)
    if not config.timeout_is_terminal:
        configs.check_time_limit(config, env.time_limit)
    check_agent(config, env.spec)
    return env


def check_agent(config: Config, spec: EnvSpec) -> None:
    """Trace the agent's functions on shapes alone."""
    try:
        agent = algorithms.make(config, spec)
        jax.eval_shape(agent.init, jax.eval_shape(lambda: jax.random.key(0)), spec.example())
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
        points.append(population.measure(extras))
        try:
            for point in range(loop.num_points):
                for piece in range(loop.point_chunks):
                    population.advance()
                    if point == piece == 0:
                        bar.start(population.steps)
                    bar.update(population.steps, _latest(points[-1]))
                points.append(population.measure(extras))
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
    scores = point.evaluation.episode_return.mean(axis=1)
    interval = statistics.bootstrap_iqm(scores[:, None], resamples=200)
    low, high = interval.low[0], interval.high[0]
    extra = "".join(f"  {k} {np.median(v):.3g}" for k, v in point.extra.items())
    return f"return IQM {interval.value[0]:.4g} [{low:.4g}, {high:.4g}]{extra}"


class Population:
    """The states of all seeds, block by block.

    Every device has a thread and an executable of its own. One program partitioned over
    the devices would be compiled once, but not to the code of the program for a single
    device: its numbers differ in the last bit (jax 0.10.2, two CPU devices).
    """

    def __init__(self, config: Config, env: Environment, blocks: list[Block]):
        self._config = config
        self._traced = traced(config)
        self._env = env
        self._blocks = blocks
        self._devices = list(dict.fromkeys(block.device for block in blocks))
        self._pool = concurrent.futures.ThreadPoolExecutor(len(self._devices))
        self._keys = [
            jax.device_put(make_keys(block.seeds), block.device) for block in blocks
        ]
        self.states = self._each(
            lambda i: start(self._traced, self._keys[i], env=self._env)
        )

    def _each(self, function: Callable[[int], PyTree]) -> list[PyTree]:
        """function(index) for every block, the devices side by side."""

        def on_device(device: jax.Device) -> list[tuple[int, PyTree]]:
            mine = [i for i, b in enumerate(self._blocks) if b.device == device]
            return [(i, jax.block_until_ready(function(i))) for i in mine]

        done = dict(itertools.chain(*self._pool.map(on_device, self._devices)))
        return [done[i] for i in range(len(self._blocks))]

    @property
    def steps(self) -> int:
        """Environment steps taken by every seed."""
        return int(self.states[0].steps.value) * self._config.num_envs

    def advance(self) -> None:
        """Train every seed for one chunk."""
        self.states = self._each(
            lambda i: chunk(
                self._traced, self._keys[i], self.states[i], env=self._env
            )
        )

    def gather(self, read: Callable[[train.RunState], PyTree]) -> PyTree:
        """Part of every seed's state on the host, the repeats dropped."""
        return self._join([read(state) for state in self.states])

    def _join(self, parts: list[PyTree]) -> PyTree:
        count = self._config.num_seeds
        return jax.tree.map(
            lambda *leaves: np.concatenate(leaves)[:count], *jax.device_get(parts)
        )

    def evaluate(self, epsilon: float) -> evaluate.Evaluation:
        """Evaluate every seed; [S, K]."""
        chance = np.float32(epsilon)
        return self._join(
            self._each(
                lambda i: play(
                    self._traced, self._keys[i], self.states[i], chance, env=self._env
                )
            )
        )

    @property
    def params(self) -> PyTree:
        """Parameters of every seed, on the host; leading axis [S]."""
        return self.gather(lambda state: state.agent.learner.params)

    def measure(self, extras: Extras = NO_EXTRAS) -> Measurement:
        """Evaluate, read the running means, and start them anew."""
        evaluation = self.evaluate(self._config.eval_epsilon)
        measurement = Measurement(
            tally=self.gather(lambda state: state.tally),
            evaluation=evaluation,
            diverged_at=self.gather(lambda state: state.agent.learner.diverged_at),
            finished=self.gather(lambda state: state.episodes.finished),
            extra=extras.measure(self.params),
        )
        self.states = [
            state._replace(tally=jax.tree.map(jnp.zeros_like, state.tally))
            for state in self.states
        ]
        return measurement


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
            f"diverged and frozen: seeds {', '.join(map(str, diverged))}; they count in "
            "every statistic with the policy they had. Try a lower learning_rate."
        )
    if result.directory:
        lines.append(f"saved {', '.join(sorted(p.name for p in result.directory.iterdir()))}")
    return "\n".join(lines)


def all_diverged(result: Result) -> bool:
    """Whether no seed is left that learns."""
    return bool(result.curve.diverged[:, -1].all())


__all__ = ["Result", "all_diverged", "check", "run"]
