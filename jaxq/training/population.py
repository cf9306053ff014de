"""The training states of all seeds."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.envs.adapter import Environment
from jaxq.training import (
    block_pool,
    compiled,
    datasets,
    diagnostics,
    evaluate,
    loop,
    metrics,
    pytree_arrays,
)
from jaxq.training.blocks import Block
from jaxq.types import PyTree


class Population:
    """The training states of all seeds, one pytree per block.

    Attributes:
        states: RunState of each block; leading axis the block's members.
        intact: whether the states can be read. An interrupted `train` leaves donated,
            unreadable states behind.
        width: members per block.
    """

    def __init__(
        self,
        config: Config,
        env: Environment,
        lengths: loop_lengths.LoopLengths,
        blocks: Sequence[Block],
        arrays: dict[str, np.ndarray] | None = None,
        num_members: int | None = None,
        compile_once: block_pool.CompileOnce | None = None,
    ):
        """Initialise and warm up every member, or restore it.

        Args:
            config: shared by all members; a block may change its traced fields.
            env: the environment.
            lengths: loop lengths of `config`.
            blocks: of members.
            arrays: result of `arrays()` to resume from; emptied as states are restored.
            num_members: members, excluding the repeats that fill up the last block;
                None means num_seeds.
            compile_once: shared with other populations that run the same programs.
        """
        self._config, self._env, self._lengths = config, env, lengths
        self._blocks = blocks
        self._num_members = config.num_seeds if num_members is None else num_members
        self._pool = block_pool.BlockPool(blocks, compile_once)
        self._settings = [self._setting(block) for block in blocks]
        self._keys = [
            jax.device_put(compiled.make_keys(block.seeds), block.device)
            for block in blocks
        ]
        self.width = int(blocks[0].seeds.size)
        self.intact = True
        # A sweep shares `compile_once`, and its other blocks keep the cores busy.
        if arrays is None and compile_once is None and self._on_cpu:
            self._compile_ahead()
        self.states = (
            self._map(compiled.start, lambda i: (self._keys[i],))
            if arrays is None
            else [self._restore(i, arrays) for i in range(len(blocks))]
        )

    @property
    def devices(self) -> list[jax.Device]:
        """The device of every worker."""
        return self._pool.devices

    @property
    def _on_cpu(self) -> bool:
        return self.devices[0].platform == "cpu"

    def _setting(self, block: Block) -> tuple[Config, dict[str, np.ndarray]]:
        """Inputs of a block's programs: the configuration, and the environment's."""
        values = dict(self._env.parameters) | dict(block.parameters)
        parameters = {k: np.asarray(v, np.float32) for k, v in values.items()}
        dataset = datasets.on_device(self._config, self._env.spec, block.device)
        return compiled.traced(self._config, block.changes, dataset), parameters

    def _map(
        self,
        program: Callable[..., PyTree],
        arguments: Callable[[int], tuple[PyTree, ...]],
    ) -> list[PyTree]:
        """Return program(config, *arguments(index)) for every block."""

        def call(index: int) -> PyTree:
            config, parameters = self._settings[index]
            return program(
                config, *arguments(index), parameters=parameters, env=self._env
            )

        return self._pool.map(program, call)

    def _compile_ahead(self) -> None:
        """Compile `chunk` while `start` compiles; results/performance.md#compile-ahead.

        Not on a GPU, whose compiler times kernels on the device.
        """
        config, parameters = self._settings[0]
        keys, device = self._keys[0], self._blocks[0].device
        options = {"parameters": parameters, "env": self._env}
        sharding = jax.sharding.SingleDeviceSharding(device)
        state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding
            ),
            compiled.start.lower(config, keys, **options).out_info,
        )

        def compile_chunk() -> None:
            lowered = compiled.chunk.lower(config, keys, state, np.int32(0), **options)
            lowered.compile()

        self._pool.compile_ahead(compiled.chunk, device, compile_chunk)

    def _restore(self, index: int, arrays: dict[str, np.ndarray]) -> loop.RunState:
        """The state of one block; drops its arrays, so that no second copy is kept."""
        config, parameters = self._settings[index]
        template = jax.eval_shape(
            lambda keys: compiled.start(config, keys, parameters, env=self._env),
            self._keys[index],
        )
        prefix = f"block{index}/"
        names = [name for name in arrays if name.startswith(prefix)]
        selected = {name: arrays.pop(name) for name in names}
        state = pytree_arrays.unflatten(template, selected, prefix)
        return jax.device_put(state, self._blocks[index].device)

    def arrays(self) -> dict[str, np.ndarray]:
        """The states as named arrays on the host, to resume from."""
        result: dict[str, np.ndarray] = {}
        for index, state in enumerate(self.states):
            result |= pytree_arrays.flatten(state, f"block{index}/")
        return result

    @property
    def steps(self) -> int:
        """Environment steps taken, per seed."""
        return int(self.states[0].steps.value) * self._config.num_envs

    @property
    def iterations(self) -> int:
        """Iterations since the warm-up."""
        rollouts = int(self.states[0].steps.value) // self._lengths.rollout_length
        return rollouts - self._lengths.warmup_rollouts

    def train(self, iterations: int | None = None) -> None:
        """Train every seed.

        A CPU's program takes any number of iterations at no cost. In a GPU's, which
        would otherwise wait for the host in every iteration, chunk_iterations are
        compiled; any other number runs another program.

        Args:
            iterations: None means chunk_iterations.
        """
        chunk = self._lengths.chunk_iterations
        count = chunk if iterations is None else iterations
        compiled_in = count == chunk and not self._on_cpu
        length = () if compiled_in else (np.int32(count),)
        self.intact = False  # until the donated states are replaced
        self.states = self._map(
            compiled.chunk, lambda i: (self._keys[i], self.states[i], *length)
        )
        self.intact = True

    def evaluate(
        self, epsilon: float, stream: int = compiled.CURVE
    ) -> evaluate.Evaluation:
        """Evaluate every seed; [S, K].

        Args:
            epsilon: probability of a random action.
            stream: of random numbers; `compiled.CURVE` or `compiled.RANDOM_POLICY`.
        """
        options = np.float32(epsilon), np.uint32(stream)
        return self._join(
            self._map(
                compiled.evaluate_block,
                lambda i: (self._keys[i], self.states[i], *options),
            )
        )

    def diagnose(self) -> dict[str, np.ndarray]:
        """Diagnostics of every seed; name -> [S]."""
        program = compiled.diagnose_block
        parts = self._map(program, lambda i: (self._keys[i], self.states[i]))
        return diagnostics.with_ranks(self._join(parts))

    def measure(
        self, extra: Callable[[PyTree], dict[str, np.ndarray]] | None = None
    ) -> metrics.Measurement:
        """Evaluate every seed and read its running means.

        Args:
            extra: further metrics, params[S] -> name -> [S].
        """
        further = self.diagnose() if self._config.diagnostics else {}
        if extra:
            further |= extra(self.params)
        return metrics.Measurement(
            evaluation=self.evaluate(self._config.eval_epsilon),
            tally=self._gather(lambda state: state.tally),
            diverged_at=self._gather(lambda state: state.agent.learner.diverged_at),
            finished=self._gather(lambda state: state.episodes.finished),
            extra=further,
        )

    def reset_metrics(self) -> None:
        """Set the running means to zero."""
        self.states = [
            state._replace(tally=jax.tree.map(jnp.zeros_like, state.tally))
            for state in self.states
        ]

    @property
    def params(self) -> PyTree:
        """Parameters of every seed, on the host; leading axis [S]."""
        return self.params_of(self.states)

    def params_of(self, states: Sequence[loop.RunState]) -> PyTree:
        """Parameters of every seed in earlier states, which `train` deletes."""
        return self._join([state.agent.learner.params for state in states])

    def _gather(self, read: Callable[[loop.RunState], PyTree]) -> PyTree:
        """Part of every seed's state, on the host; leading axis [S]."""
        return self._join([read(state) for state in self.states])

    def _join(self, parts: list[PyTree]) -> PyTree:
        """Concatenate the results of the blocks, without the repeats."""
        return jax.tree.map(
            lambda *leaves: np.concatenate(leaves)[: self._num_members],
            *jax.device_get(parts),
        )
