"""Networks as pure functions, made from flax modules.

A network maps one observation to an output with one row for each of A actions.
"""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq import types
from jaxq.networks import layers
from jaxq.types import (
    Array,
    EnvSpec,
    Head,
    Key,
    Network,
    PyTree,
)

STATISTICS = "batch_stats"  # flax's name of the collection


def features(spec: EnvSpec) -> Callable[[PyTree], PyTree]:
    """Function from an observation to the float32 inputs of a network.

    A scalar integer with a known number of categories becomes one-hot. Arrays of bytes
    with two or more dimensions are pixels, and are divided by 255. A mask of actions is
    left out, and so is a container of a single array.
    """

    def convert_array(x: Array) -> Array:
        x = jnp.asarray(x)
        if x.dtype == jnp.uint8 and x.ndim >= 2:
            return x.astype(jnp.float32) / 255.0
        return x.astype(jnp.float32)

    def convert(observation: PyTree) -> PyTree:
        observation = types.unmasked(observation)
        if spec.num_categories is not None:
            return jax.nn.one_hot(observation, spec.num_categories)
        arrays = jax.tree.map(convert_array, observation)
        leaves = jax.tree.leaves(arrays)
        return leaves[0] if len(leaves) == 1 else arrays

    return convert


def from_module(module: nn.Module, spec: EnvSpec, head: Head) -> Network:
    """A network from a flax module that maps features to the head's output.

    Args:
        module: [...] -> [A, K]; its only random stream is named "noise".
        spec: describes the observations.
        head: represents the return by the output.
    """
    convert = features(spec)

    def init(key: Key, observation: PyTree) -> PyTree:
        return flat(module.init(key, convert(observation)))

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> Array:
        return apply_module(module, params, key, convert(observation))

    read = activations(module, lambda x: (convert(x),))
    return types.feed_forward(init, apply, head)._replace(activations=read)


def activations(
    module: nn.Module, inputs: Callable[[PyTree], tuple[Any, ...]]
) -> Callable[[PyTree, PyTree, PyTree], dict[str, Array]]:
    """The activations that the layers of a module record, without noise.

    Args:
        module: the module.
        inputs: observation -> inputs of the module, after its memory, if it has one.

    Returns:
        (params, memory, observation) -> name -> [..., units]. A name is the path of the
        layer, such as "torso/Hidden_0", or "features".
    """

    def read(params: PyTree, memory: PyTree, observation: PyTree) -> dict[str, Array]:
        start = (memory,) if jax.tree.leaves(memory) else ()
        records = module.apply(
            _variables(params),
            *start,
            *inputs(observation),
            mutable=[layers.RECORDS, STATISTICS],
        )[1]
        flat_records = flax.traverse_util.flatten_dict(records[layers.RECORDS])
        return {
            layers.FEATURES if path == (layers.FEATURES,) else "/".join(path[:-2]): x[0]
            for path, x in flat_records.items()
            if path == (layers.FEATURES,) or path[-2].startswith("Record_")
        }

    return read


def flat(variables: PyTree) -> PyTree:
    """One dictionary of the parameters and any statistics of batch normalisation."""
    rest = {k: v for k, v in variables.items() if k != "params"}
    return {**variables["params"], **rest}


def _variables(params: PyTree) -> PyTree:
    """The inverse of `flat`."""
    weights = {k: v for k, v in params.items() if k != STATISTICS}
    rest = {k: v for k, v in params.items() if k == STATISTICS}
    return {"params": weights, **rest}


def apply_module(
    module: nn.Module,
    params: PyTree,
    key: Key | None,
    *inputs: Any,
    method: str | None = None,
) -> Any:
    """Apply a module to the parameters that `flat` returned.

    Args:
        module: the module that the parameters belong to.
        params: as returned by `flat`.
        key: for noise; None for no noise.
        inputs: inputs of the module.
        method: of the module; None: the module itself.
    """
    rngs = {} if key is None else {"noise": key}
    # New statistics are dropped here; only `update_batch_stats` keeps them.
    mutable = [STATISTICS] if STATISTICS in params else False
    output = module.apply(
        _variables(params), *inputs, rngs=rngs, mutable=mutable, method=method
    )
    return output[0] if mutable else output


def with_statistics(network: Network, module: nn.Module, spec: EnvSpec) -> Network:
    """Add `update_batch_stats` to a network with batch normalisation."""
    convert = features(spec)

    def update_batch_stats(params: PyTree, observation: PyTree) -> PyTree:
        def one(observation: PyTree) -> PyTree:
            variables, x = _variables(params), convert(observation)
            return module.apply(variables, x, mutable=[STATISTICS])[1]

        statistics = jax.vmap(one, axis_name=layers.BATCH)(observation)
        # They are equal for all examples.
        return {**params, **jax.tree.map(lambda leaf: leaf[0], statistics)}

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
        spec: describes the observations and actions.
        head: represents the return by K outputs per action.
        style: settings of the last layer.
    """
    values = layers.ActionValues(spec.num_actions, head.num_outputs, style=style)
    return from_module(layers.QNetwork(torso, values), spec, head)
