"""Networks with a recurrent cell between the torso and the output layers."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.networks import from_flax, initializers, layers, linear_cells
from jaxq.rl import linear_recurrence, recall
from jaxq.types import Array, EnvSpec, Head, Key, Network, PyTree

Cell = nn.RNNCellBase | linear_cells.LinearCell


def make_cell(kind: str, memory_size: int) -> Cell:
    """A cell by name: "lstm", "gru", "min_gru" or "lru"."""
    init = initializers.orthogonal()
    cells: dict[str, Callable[[int], Cell]] = {
        "lstm": lambda size: nn.OptimizedLSTMCell(size, recurrent_kernel_init=init),
        "gru": lambda size: nn.GRUCell(size, recurrent_kernel_init=init),
        "min_gru": linear_cells.MinGRU,
        "lru": linear_cells.LRU,
    }
    return cells[kind](memory_size)


class RecurrentQNetwork(nn.Module):
    """A torso, a recurrent cell, and K outputs for every action."""

    torso: nn.Module
    cell: Cell
    values: layers.ActionValues

    def __call__(
        self, memory: Array, x: Array, last: Array | None = None
    ) -> tuple[Array, Array]:
        """[M...], [...], [L], the last step's action and reward -> [M...], [A, K]."""
        memory, x = self.cell(memory, self._inputs(x, last))
        self.sow(layers.RECORDS, layers.FEATURES, x)
        return memory, self.values(x)

    def affine(self, x: Array, last: Array | None = None) -> tuple[Array, Array, Array]:
        """The part before the memory of a linear cell.

        [...], [L] -> the cell's inputs [D], decay [M] and drive [M].
        """
        x = self._inputs(x, last)
        return x, *self.cell.affine(x)

    def read(self, state: Array, x: Array) -> Array:
        """The part after it: the cell's state [M] and inputs [D] -> [A, K]."""
        return self.values(self.cell.output(state, x))

    def _inputs(self, x: Array, last: Array | None) -> Array:
        x = self.torso(x)
        return x if last is None else jnp.concatenate([x, last])


def network(
    module: RecurrentQNetwork, spec: EnvSpec, head: Head, memory_size: int
) -> Network:
    """A network with a recurrent cell, whose initial memory is zero.

    Args:
        module: (memory, [...]) -> (memory, [A, K]).
        spec: describes the observations.
        head: represents the return by the output.
        memory_size: width of the cell.
    """
    convert, cell = inputs(spec), module.cell
    is_lstm = isinstance(cell, nn.OptimizedLSTMCell)

    def initial_memory(key: Key) -> PyTree:
        del key
        if isinstance(cell, linear_cells.LinearCell):
            return jnp.zeros(cell.memory_shape())
        zeros = jnp.zeros(memory_size)
        return (zeros, zeros) if is_lstm else zeros

    def init(key: Key, observation: PyTree) -> PyTree:
        return from_flax.flat(
            module.init(key, initial_memory(key), *convert(observation))
        )

    def step(
        key: Key | None, params: PyTree, memory: PyTree, observation: PyTree
    ) -> tuple[Array, PyTree]:
        memory, output = from_flax.apply_module(
            module, params, key, memory, *convert(observation)
        )
        return output, memory

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> Array:
        return step(key, params, initial_memory(jax.random.key(0)), observation)[0]

    read = from_flax.activations(module, convert)
    made = Network(init, apply, head, step, initial_memory, activations=read)
    if isinstance(cell, linear_cells.LinearCell):
        unroll = functools.partial(_unroll_linear, module, convert)
        return made._replace(unroll=unroll)
    return made


def inputs(spec: EnvSpec) -> Callable[[PyTree], tuple[PyTree, ...]]:
    """The function from an observation to the inputs of a module, after its memory.

    They are the features and, of an observation that comes with the last step, its
    one-hot action and its reward; zeros at the start of an episode.
    """
    features = from_flax.features(spec)

    def convert(observation: PyTree) -> tuple[PyTree, ...]:
        x = features(recall.plain(observation))
        if not isinstance(observation, recall.Recalled):
            return (x,)
        action = jax.nn.one_hot(observation.action, spec.num_actions)
        return x, jnp.concatenate([action, observation.reward[None]])

    return convert


def _unroll_linear(
    module: RecurrentQNetwork,
    convert: Callable[[PyTree], tuple[PyTree, ...]],
    key: Key | None,
    params: PyTree,
    memory: Array,
    observation: PyTree,
    ended: Array,
) -> tuple[Array, Array]:
    """The `unroll` of a network with a linear cell; the layers see all steps at once.

    Args:
        module: with a linear cell.
        convert: observation -> inputs of the module, after the memory.
        key, params, memory, observation, ended: as in `Network.unroll`.
    """
    cell = module.cell
    assert isinstance(cell, linear_cells.LinearCell)

    def affine(observation: PyTree) -> tuple[Array, Array, Array]:
        return from_flax.apply_module(
            module, params, key, *convert(observation), method="affine"
        )

    def read(state: Array, x: Array) -> Array:
        return from_flax.apply_module(module, params, key, state, x, method="read")

    x, decay, drive = jax.vmap(affine)(observation)
    start, initial = map(cell.to_state, (memory, jnp.zeros_like(memory)))
    states, last = linear_recurrence.resettable_scan(
        decay, drive, ended, start, initial
    )
    return jax.vmap(read)(states, x), cell.to_memory(last)
