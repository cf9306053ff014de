"""All seeds of a run: their states, block by block, and what is read from them."""

import concurrent.futures
import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq import algorithms, evaluate, snapshot, tallies, threefry, train
from jaxq.blocks import Block, used_devices
from jaxq.config import Config, annotation, traced_fields
from jaxq.environments import Environment
from jaxq.papers import compose
from jaxq.plan import plan
from jaxq.types import Array, Key, PyTree, seed_axes

_EVALUATE = 2**32 - 2  # folded into a seed's key for the keys of evaluation


def traced(config: Config) -> Config:
    """The configuration with its traced fields as arrays, ready for `jit`."""
    config = compose(config)
    arrays: dict[str, Any] = {}
    for name in traced_fields():
        value, kind = getattr(config, name), annotation(name)[0]
        if value is not None:
            arrays[name] = np.asarray(value, np.int32 if kind is int else np.float32)
    return dataclasses.replace(config, **arrays)


@functools.partial(jax.jit, static_argnames=("env",))
def start(config: Config, keys: Key, *, env: Environment) -> train.RunState:
    """Initialise and warm up the seeds of a block; keys: [S]."""
    one = functools.partial(train.start, config, env)
    axes = seed_axes(jax.eval_shape(one, keys[0]))
    return jax.vmap(one, out_axes=axes)(keys)


@functools.partial(jax.jit, static_argnames=("env",), donate_argnames=("state",))
def chunk(
    config: Config,
    keys: Key,
    state: train.RunState,
    iterations: Array | None = None,
    *,
    env: Environment,
) -> train.RunState:
    """Train the seeds of a block for a chunk of iterations."""
    axes = seed_axes(state)

    def one(key: Key, state: train.RunState) -> train.RunState:
        return train.chunk(config, env, key, state, iterations)

    return jax.vmap(one, in_axes=(0, axes), out_axes=axes)(keys, state)


@functools.partial(jax.jit, static_argnames=("env",))
def play(
    config: Config,
    keys: Key,
    state: train.RunState,
    epsilon: Array,
    *,
    env: Environment,
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


make_keys = jax.jit(jax.vmap(threefry.key))


class Measurement(NamedTuple):
    """What the host reads at a point of the curve; leading axis [S]."""

    tally: tallies.Tally
    evaluation: evaluate.Evaluation
    diverged_at: np.ndarray
    finished: np.ndarray
    extra: dict[str, np.ndarray]


class Population:
    """The states of all seeds, block by block.

    Every device has an executable of its own. One program partitioned over the devices
    would be compiled once, but not to the code of the program for a single device: its
    numbers differ in the last bit (jax 0.10.2, two CPU devices).
    """

    def __init__(
        self,
        config: Config,
        env: Environment,
        blocks: list[Block],
        saved: dict[str, np.ndarray] | None = None,
    ):
        """Warm every seed up, or go on from what `arrays` gave, which is emptied."""
        self._config = config
        self._traced = traced(config)
        self._env = env
        self._blocks = blocks
        self.devices = used_devices(blocks)
        self.width = int(blocks[0].seeds.size)
        self._pool = concurrent.futures.ThreadPoolExecutor(len(self.devices))
        self._compiling = {device: threading.Lock() for device in self.devices}
        self._compiled: set[tuple[Callable, jax.Device]] = set()
        self._keys = [
            jax.device_put(make_keys(block.seeds), block.device) for block in blocks
        ]
        self.intact = True  # whether the states can be read
        self.states = (
            self._each(start, lambda i: (self._keys[i],))
            if saved is None
            else [self._restore(i, saved) for i in range(len(blocks))]
        )

    def _restore(self, index: int, saved: dict[str, np.ndarray]) -> train.RunState:
        start_one = functools.partial(start, env=self._env)
        shapes = jax.eval_shape(start_one, self._traced, self._keys[index])
        prefix = f"block{index}/"
        names = [name for name in saved if name.startswith(prefix)]
        own = {name: saved.pop(name) for name in names}  # no second copy is kept
        state = snapshot.unflatten(shapes, own, prefix)
        return jax.device_put(state, self._blocks[index].device)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that decides the rest of the run, by name, on the host."""
        found: dict[str, np.ndarray] = {}
        for index, state in enumerate(self.states):
            found |= snapshot.flatten(state, f"block{index}/")
        return found

    def _each(
        self, function: Callable, arguments: Callable[[int], tuple[PyTree, ...]]
    ) -> list[PyTree]:
        """function(config, *arguments(index)) for every block, workers side by side."""

        def call(index: int) -> PyTree:
            return function(self._traced, *arguments(index), env=self._env)

        def call_compiled(index: int) -> PyTree:
            device = self._blocks[index].device
            if (function, device) in self._compiled:
                return call(index)
            with self._compiling[device]:  # by the first; the others find it compiled
                result = call(index)
            self._compiled.add((function, device))
            return result

        def work(worker: int) -> list[tuple[int, PyTree]]:
            return [
                (i, jax.block_until_ready(call_compiled(i)))
                for i, block in enumerate(self._blocks)
                if block.worker == worker
            ]

        done = dict(itertools.chain(*self._pool.map(work, range(len(self.devices)))))
        return [done[i] for i in range(len(self._blocks))]

    @property
    def steps(self) -> int:
        """Environment steps taken by every seed."""
        return int(self.states[0].steps.value) * self._config.num_envs

    @property
    def iterations(self) -> int:
        """Iterations since the warm-up."""
        loop = plan(self._config)
        steps = int(self.states[0].steps.value)
        return steps // loop.rollout_length - loop.warmup_rollouts

    def advance(self, iterations: int | None = None) -> None:
        """Train every seed for a number of iterations, or for the plan's chunk.

        A number is known to the program only when it runs. On a CPU that costs nothing;
        a GPU would wait for the host in every iteration.
        """
        more = () if iterations is None else (np.int32(iterations),)
        self.intact = False  # the states are handed over
        self.states = self._each(
            chunk, lambda i: (self._keys[i], self.states[i], *more)
        )
        self.intact = True

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
            self._each(play, lambda i: (self._keys[i], self.states[i], chance))
        )

    @property
    def params(self) -> PyTree:
        """Parameters of every seed, on the host; leading axis [S]."""
        return self.gather(lambda state: state.agent.learner.params)

    def measure(
        self, extra: Callable[[PyTree], dict[str, np.ndarray]] | None = None
    ) -> Measurement:
        """Evaluate, and read the running means.

        Args:
            extra: params[S] -> name -> [S], measured besides.
        """
        evaluation = self.evaluate(self._config.eval_epsilon)
        return Measurement(
            tally=self.gather(lambda state: state.tally),
            evaluation=evaluation,
            diverged_at=self.gather(lambda state: state.agent.learner.diverged_at),
            finished=self.gather(lambda state: state.episodes.finished),
            extra=extra(self.params) if extra else {},
        )

    def forget(self) -> None:
        """Start the running means anew."""
        self.states = [
            state._replace(tally=jax.tree.map(jnp.zeros_like, state.tally))
            for state in self.states
        ]
