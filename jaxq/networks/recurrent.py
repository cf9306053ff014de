"""Networks with a recurrent cell between the torso and the output layers."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.networks import (
    from_flax,
    gated_cells,
    initializers,
    layers,
    linear_cells,
    readouts,
)
from jaxq.rl import linear_recurrence, recall, unrolling
from jaxq.types import Array, EnvSpec, Head, Key, Network, PyTree
from jaxq.xla import loops

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
        self, memory: Array, x: Array, last: Array | None = None, *extra: Array
    ) -> tuple[Array, PyTree]:
        """[M...], [...], [L], the last step's action and reward -> [M...], [A, K].

        Further inputs are those of `outputs`.
        """
        memory, x = self.cell(memory, self.inputs(x, last))
        self.sow(layers.RECORDS, layers.FEATURES, x)
        return memory, self.outputs(x, *extra)

    def outputs(self, x: Array, *extra: Array) -> PyTree:
        """The output of the cell [D] -> [A, K]."""
        del extra
        return self.values(x)

    def affine(self, x: Array, last: Array | None = None) -> tuple[Array, Array, Array]:
        """The part before the memory of a linear cell.

        [...], [L] -> the cell's inputs [D], decay [M] and drive [M].
        """
        x = self.inputs(x, last)
        return x, *self.cell.affine(x)

    def read(self, state: Array, x: Array, *extra: Array) -> PyTree:
        """The part after it: the cell's state [M] and inputs [D] -> [A, K]."""
        return self.outputs(self.cell.output(state, x), *extra)

    def inputs(self, x: Array, last: Array | None = None) -> Array:
        """[...], [L] -> the inputs of the cell [D]."""
        x = self.torso(x)
        return x if last is None else jnp.concatenate([x, last])


def network(
    module: RecurrentQNetwork,
    spec: EnvSpec,
    head: Head,
    memory_size: int,
    readout: readouts.Readout = readouts.PLAIN,
) -> Network:
    """A network with a recurrent cell, whose initial memory is zero.

    Args:
        module: (memory, [...]) -> (memory, [A, K]).
        spec: describes the observations.
        head: represents the return by the output.
        memory_size: width of the cell.
        readout: of the outputs; what it draws is shared by the steps of a sequence.
    """
    convert, cell = inputs(spec), module.cell
    fixed = readout.draw(None)[1]

    def initial_memory(key: Key) -> PyTree:
        del key
        if isinstance(cell, linear_cells.LinearCell):
            return jnp.zeros(cell.memory_shape())
        zeros = jnp.zeros(memory_size)
        return (zeros, zeros) if isinstance(cell, nn.OptimizedLSTMCell) else zeros

    def init(key: Key, observation: PyTree) -> PyTree:
        return from_flax.flat(
            module.init(key, initial_memory(key), *convert(observation), *fixed)
        )

    def step(
        key: Key | None, params: PyTree, memory: PyTree, observation: PyTree
    ) -> tuple[PyTree, PyTree]:
        noise_key, extra = readout.draw(key)
        memory, outputs = from_flax.apply_module(
            module, params, noise_key, memory, *convert(observation), *extra
        )
        return readout.output(outputs, extra), memory

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        return step(key, params, initial_memory(jax.random.key(0)), observation)[0]

    read = from_flax.activations(module, lambda x: (*convert(x), *fixed))
    made = Network(init, apply, head, step, initial_memory, activations=read)
    if isinstance(cell, linear_cells.LinearCell):
        unroll = functools.partial(_unroll_linear, module, convert, readout)
        return made._replace(unroll=unroll)
    one_by_one = functools.partial(unrolling.step_by_step, made)
    at_once = functools.partial(_unroll_cell, module, convert, readout)
    return made._replace(unroll=loops.unroll_of_platform(one_by_one, at_once))


def inputs(spec: EnvSpec) -> Callable[[PyTree], tuple[PyTree, ...]]:
    """The function from an observation to the inputs of a module, after its memory.

    They are the features and, of an observation that comes with the last step, its
    one-hot action and its reward; zeros at the start of an episode.
    """
    features = from_flax.features(spec)

    def convert(observation: PyTree) -> tuple[PyTree, ...]:
        x = features(recall.plain(observation))
        if not isinstance(observation, recall.Recalled):
            return x, None
        action = jax.nn.one_hot(observation.action, spec.num_actions)
        return x, jnp.concatenate([action, observation.reward[None]])

    return convert


def _unroll_cell(
    module: RecurrentQNetwork,
    convert: Callable[[PyTree], tuple[PyTree, ...]],
    readout: readouts.Readout,
    key: Key | None,
    params: PyTree,
    memory: PyTree,
    observation: PyTree,
    ended: Array,
) -> tuple[PyTree, PyTree]:
    """`unrolling.step_by_step`, but only the cell sees one step after the other.

    Args:
        module, convert, readout: as in `_unroll_linear`.
        key, params, memory, observation, ended: as in `Network.unroll`.
    """
    noise_key, extra = readout.draw(key)
    call = functools.partial(from_flax.apply_module, module, params, noise_key)
    cell = gated_cells.GATED_CELLS[type(module.cell)]

    def step(
        weights: PyTree, memory: PyTree, gates: Array, ended: Array
    ) -> tuple[PyTree, Array]:
        memory, x = cell.step(weights, memory, gates)
        fresh = jax.tree.map(jnp.zeros_like, memory)
        return unrolling.reset_where(ended, fresh, memory), x

    def read(x: Array) -> PyTree:
        return readout.output(call(x, *extra, method="outputs"), extra)

    x = jax.vmap(lambda o: call(*convert(o), method="inputs"))(observation)
    gates = jax.vmap(cell.project, in_axes=(None, 0))(params["cell"], x)
    weights = cell.weights(params["cell"])
    memory, x = loops.scan_with_weights(step, weights, memory, gates, ended)
    return jax.vmap(read)(x), memory


def _unroll_linear(
    module: RecurrentQNetwork,
    convert: Callable[[PyTree], tuple[PyTree, ...]],
    readout: readouts.Readout,
    key: Key | None,
    params: PyTree,
    memory: Array,
    observation: PyTree,
    ended: Array,
) -> tuple[PyTree, Array]:
    """The `unroll` of a network with a linear cell; the layers see all steps at once.

    Args:
        module: with a linear cell.
        convert: observation -> inputs of the module, after the memory.
        readout: of its outputs.
        key, params, memory, observation, ended: as in `Network.unroll`.
    """
    cell = module.cell
    assert isinstance(cell, linear_cells.LinearCell)
    noise_key, extra = readout.draw(key)

    def affine(observation: PyTree) -> tuple[Array, Array, Array]:
        return from_flax.apply_module(
            module, params, noise_key, *convert(observation), method="affine"
        )

    def read(state: Array, x: Array) -> PyTree:
        outputs = from_flax.apply_module(
            module, params, noise_key, state, x, *extra, method="read"
        )
        return readout.output(outputs, extra)

    x, decay, drive = jax.vmap(affine)(observation)
    start, initial = map(cell.to_state, (memory, jnp.zeros_like(memory)))
    states, last = linear_recurrence.resettable_scan(
        decay, drive, ended, start, initial
    )
    return jax.vmap(read)(states, x), cell.to_memory(last)
