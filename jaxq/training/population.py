"""All seeds of a run: their states, block by block, and what is read from them."""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.config.config import Config
from jaxq.config.loop_lengths import loop_lengths
from jaxq.envs.adapter import Environment
from jaxq.training import compiled, evaluate, loop, metrics, pytree_arrays
from jaxq.training.blocks import Block, used_devices
from jaxq.types import PyTree


class Measurement(NamedTuple):
    """What the host reads at a point of the curve; leading axis [S]."""

    tally: metrics.TrainMetrics
    evaluation: evaluate.Evaluation
    diverged_at: np.ndarray
    finished: np.ndarray
    extra: dict[str, np.ndarray]


class CompileOnce:
    """Lets the first of several threads compile while the others wait."""

    def __init__(self) -> None:
        self._locks: collections.defaultdict = collections.defaultdict(threading.Lock)
        self._done: set[Any] = set()

    def __call__(self, key: Any, call: Callable[[], PyTree]) -> PyTree:
        """call(), alone if it is the first for its key."""
        if key in self._done:
            return call()
        with self._locks[key]:
            result = call()
        self._done.add(key)
        return result


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
        members: int | None = None,
        once: CompileOnce | None = None,
    ):
        """Warm every member up.

        Args:
            config: of all; a block may change its traced fields.
            env: the environment.
            blocks: of members.
            saved: what `arrays` gave, to go on from; it is emptied.
            members: those of the blocks that are no repeats; None takes num_seeds.
            once: of a population with the same program, which has compiled it or may be
                compiling it now.
        """
        self._once = once or CompileOnce()
        self._members = config.num_seeds if members is None else members
        self._config = config
        self._env = env
        self._settings = [self._setting(block) for block in blocks]
        self._blocks = blocks
        self.devices = used_devices(blocks)
        self.width = int(blocks[0].seeds.size)
        self._pool = concurrent.futures.ThreadPoolExecutor(len(self.devices))
        self._keys = [
            jax.device_put(compiled.make_keys(block.seeds), block.device)
            for block in blocks
        ]
        self.intact = True  # whether the states can be read
        if saved is None and once is None and self.devices[0].platform == "cpu":
            self._compile_ahead()  # a sweep, which shares `once`, keeps its cores busy
        self.states = (
            self._each(compiled.start, lambda i: (self._keys[i],))
            if saved is None
            else [self._restore(i, saved) for i in range(len(blocks))]
        )

    def _setting(self, block: Block) -> tuple[Config, dict[str, np.ndarray]]:
        """Traced fields and parameters of the environment, on the block's device."""
        values = dict(self._env.parameters) | dict(block.parameters)
        parameters = {
            name: np.asarray(value, np.float32) for name, value in values.items()
        }
        return compiled.traced(self._config, block.changes), parameters

    def _restore(self, index: int, saved: dict[str, np.ndarray]) -> loop.RunState:
        config, parameters = self._settings[index]
        shapes = jax.eval_shape(
            functools.partial(compiled.start, env=self._env),
            config, self._keys[index], parameters,
        )  # fmt: skip
        prefix = f"block{index}/"
        names = [name for name in saved if name.startswith(prefix)]
        own = {name: saved.pop(name) for name in names}  # no second copy is kept
        state = pytree_arrays.unflatten(shapes, own, prefix)
        return jax.device_put(state, self._blocks[index].device)

    def _compile_ahead(self) -> None:
        """Compile the training while `start` is compiled.

        7.5 and 6.7 s until the first chunk of CartPole is done (8 seeds, two cores),
        for 60 MB more. A GPU's compiler measures kernels, and is left alone with it.
        """
        config, parameters = self._settings[0]
        more = {"parameters": parameters, "env": self._env}
        keys, device = self._keys[0], self._blocks[0].device
        here = jax.sharding.SingleDeviceSharding(device)
        state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            compiled.start.lower(config, keys, **more).out_info,
        )

        def compile_chunk() -> None:
            lowered = compiled.chunk.lower(config, keys, state, np.int32(0), **more)
            lowered.compile()

        def work() -> None:
            # What fails here will fail again where it is called.
            with contextlib.suppress(Exception):
                self._once((compiled.chunk, device), compile_chunk)

        threading.Thread(target=work).start()

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that decides the rest of the run, by name, on the host."""
        found: dict[str, np.ndarray] = {}
        for index, state in enumerate(self.states):
            found |= pytree_arrays.flatten(state, f"block{index}/")
        return found

    def _each(
        self, function: Callable, arguments: Callable[[int], tuple[PyTree, ...]]
    ) -> list[PyTree]:
        """function(config, *arguments(index)) for every block, workers side by side.

        Workers of one device share its blocks, each taking the next one when it is
        free: cores are not equally fast, nor theirs alone.
        """
        waiting: dict[jax.Device, collections.deque[int]] = {}
        for index, block in enumerate(self._blocks):
            waiting.setdefault(block.device, collections.deque()).append(index)

        def call(index: int) -> PyTree:
            config, parameters = self._settings[index]
            more = {"parameters": parameters, "env": self._env}
            key = function, self._blocks[index].device
            return self._once(key, lambda: function(config, *arguments(index), **more))

        def work(device: jax.Device) -> list[tuple[int, PyTree]]:
            done: list[tuple[int, PyTree]] = []
            while True:
                try:
                    index = waiting[device].popleft()
                except IndexError:
                    return done
                done.append((index, jax.block_until_ready(call(index))))

        done = dict(itertools.chain(*self._pool.map(work, self.devices)))
        return [done[i] for i in range(len(self._blocks))]

    @property
    def steps(self) -> int:
        """Environment steps taken by every seed."""
        return int(self.states[0].steps.value) * self._config.num_envs

    @property
    def iterations(self) -> int:
        """Iterations since the warm-up."""
        lengths = loop_lengths(self._config)
        steps = int(self.states[0].steps.value)
        return steps // lengths.rollout_length - lengths.warmup_rollouts

    def advance(self, iterations: int | None = None) -> None:
        """Train every seed for a number of iterations, or for the plan's chunk.

        A number is known to the program only when it runs, on a CPU the plan's as well;
        that costs nothing there, but a GPU would wait for the host in every iteration.
        """
        if iterations is None and self.devices[0].platform == "cpu":
            iterations = loop_lengths(self._config).chunk_iterations
        more = () if iterations is None else (np.int32(iterations),)
        self.intact = False  # the states are handed over
        self.states = self._each(
            compiled.chunk, lambda i: (self._keys[i], self.states[i], *more)
        )
        self.intact = True

    def gather(self, read: Callable[[loop.RunState], PyTree]) -> PyTree:
        """Part of every seed's state on the host, the repeats dropped."""
        return self._join([read(state) for state in self.states])

    def _join(self, parts: list[PyTree]) -> PyTree:
        return jax.tree.map(
            lambda *leaves: np.concatenate(leaves)[: self._members],
            *jax.device_get(parts),
        )

    def evaluate(self, epsilon: float) -> evaluate.Evaluation:
        """Evaluate every seed; [S, K]."""
        chance = np.float32(epsilon)
        return self._join(
            self._each(
                compiled.evaluate_block,
                lambda i: (self._keys[i], self.states[i], chance),
            )
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

    def reset_metrics(self) -> None:
        """Start the running means anew."""
        self.states = [
            state._replace(tally=jax.tree.map(jnp.zeros_like, state.tally))
            for state in self.states
        ]
