"""Networks as pure functions: flax modules, and the table as the simplest of them.

Every network maps one observation to an output with a row for each of A actions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq import types
from jaxq.networks import layers
from jaxq.types import Array, EnvSpec, Head, Key, Network, PyTree


def features(spec: EnvSpec) -> Callable[[Array], Array]:
    """Function from an observation to float32 inputs of a network.

    A scalar integer of a known number of categories becomes one-hot.
    """

    def convert(observation: Array) -> Array:
        if spec.num_categories is not None:
            return jax.nn.one_hot(observation, spec.num_categories)
        return observation.astype(jnp.float32)

    return convert


STATISTICS = "batch_stats"  # flax's name of the collection


def from_module(module: nn.Module, spec: EnvSpec, head: Head) -> Network:
    """A network from a flax module that maps features to the head's output.

    Args:
        module: [...] -> [A, K]. Its random numbers are named "noise".
        spec: what is observed.
        head: what the output means.
    """
    convert = features(spec)

    def init(key: Key, observation: Array) -> PyTree:
        return flat(module.init(key, convert(observation)))

    def apply(key: Key | None, params: PyTree, observation: Array) -> Array:
        return apply_module(module, params, key, convert(observation))

    return types.feed_forward(init, apply, head)


def flat(variables: PyTree) -> PyTree:
    """Parameters, with the statistics of normalisation, if any, beside them."""
    rest = {k: v for k, v in variables.items() if k != "params"}
    return {**variables["params"], **rest}


def _variables(params: PyTree) -> PyTree:
    """The inverse of `flat`."""
    own = {k: v for k, v in params.items() if k != STATISTICS}
    rest = {k: v for k, v in params.items() if k == STATISTICS}
    return {"params": own, **rest}


def apply_module(
    module: nn.Module, params: PyTree, key: Key | None, *inputs: Any
) -> Any:
    """Apply a module to parameters as `flat` gives them; key: for noise, or None."""
    rngs = {} if key is None else {"noise": key}
    # Batch normalisation computes new statistics; `update_batch_stats` keeps them.
    mutable = [STATISTICS] if STATISTICS in params else False
    output = module.apply(_variables(params), *inputs, rngs=rngs, mutable=mutable)
    return output[0] if mutable else output


def with_statistics(network: Network, module: nn.Module, spec: EnvSpec) -> Network:
    """Add `update_batch_stats` to a network with batch normalisation."""
    convert = features(spec)

    def update_batch_stats(params: PyTree, observation: Array) -> PyTree:
        def one(observation: Array) -> PyTree:
            variables, x = _variables(params), convert(observation)
            return module.apply(variables, x, mutable=[STATISTICS])[1]

        news = jax.vmap(one, axis_name=layers.BATCH)(observation)
        # Every example computed the same.
        return {**params, **jax.tree.map(lambda leaf: leaf[0], news)}

    return network._replace(update_batch_stats=update_batch_stats)


def from_torso(
    torso: nn.Module,
    spec: EnvSpec,
    head: Head,
    style: layers.LayerConfig = layers.LayerConfig(),  # noqa: B008
) -> Network:
    """A network from any flax module that maps features to a vector.

    Args:
        torso: module [...] -> [D].
        spec: what is observed and how many actions there are.
        head: how many outputs an action has.
        style: of the last layer.
    """
    values = layers.ActionValues(spec.num_actions, head.num_outputs, style=style)
    return from_module(layers.QNetwork(torso, values), spec, head)


def table(
    spec: EnvSpec,
    head: Head,
    initial_value: Array | float = 0.0,
    initial_spread: float = 0.0,
) -> Network:
    """A table of values, one row for every state.

    Args:
        spec: its `state_index` maps an observation to one of `num_states` rows; actions
            that do not exist in a state get minus infinity.
        head: K outputs for every entry.
        initial_value: [] value of every entry at the start.
        initial_spread: standard deviation around it, of a normal distribution.

    Raises:
        ValueError: if the environment's states are not numbered.
    """
    index, rows, valid = spec.state_index, spec.num_states, spec.valid_actions
    if index is None or rows is None:
        raise ValueError(
            f"{spec.name} has no numbered states, so no table can hold its values. Use "
            "network = 'mlp' with algorithm = 'dqn', or pass an environment whose spec "
            "has num_states and state_index."
        )

    def init(key: Key, observation: Array) -> PyTree:
        del observation
        values = jnp.full((rows, spec.num_actions, head.num_outputs), initial_value)
        if initial_spread:
            values += initial_spread * jax.random.normal(key, values.shape)
        return {"table": values.astype(jnp.float32)}

    def apply(key: Key | None, params: PyTree, observation: Array) -> Array:
        del key
        row = jnp.asarray(params["table"]).at[index(observation)].get(mode="clip")
        if valid is None:
            return row
        return jnp.where(valid(observation)[:, None], row, -jnp.inf)

    return types.feed_forward(init, apply, head)


def recurrent(
    module: layers.RecurrentQNetwork, spec: EnvSpec, head: Head, memory_size: int
) -> Network:
    """A network with a recurrent cell; its memory starts as zeros.

    Args:
        module: (memory, [...]) -> (memory, [A, K]).
        spec: what is observed.
        head: what the output means.
        memory_size: width of the cell.
    """
    convert = features(spec)
    pair = isinstance(module.cell, nn.OptimizedLSTMCell)

    def initial_memory(key: Key) -> PyTree:
        del key
        zeros = jnp.zeros(memory_size)
        return (zeros, zeros) if pair else zeros

    def init(key: Key, observation: Array) -> PyTree:
        return flat(module.init(key, initial_memory(key), convert(observation)))

    def take(
        key: Key | None, params: PyTree, memory: PyTree, observation: Array
    ) -> tuple[Array, PyTree]:
        memory, output = apply_module(module, params, key, memory, convert(observation))
        return output, memory

    def apply(key: Key | None, params: PyTree, observation: Array) -> Array:
        return take(key, params, initial_memory(jax.random.key(0)), observation)[0]

    return Network(init, apply, head, take, initial_memory)


def is_minatar(spec: EnvSpec) -> bool:
    """Whether an observation is a 10 x 10 grid of channels."""
    return len(spec.observation.shape) == 3 and spec.observation.shape[:2] == (10, 10)
