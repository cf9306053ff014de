"""Start training from given parameters."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import algorithms, iterated
from jaxq.config.config import Config
from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.training import checks, loop, pytree_arrays
from jaxq.types import Array, EnvSpec, PyTree


def with_seeds(shape: PyTree, num_seeds: int) -> PyTree:
    """Shapes and dtypes with a leading axis [S]."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((num_seeds, *leaf.shape), leaf.dtype), shape
    )


def per_seed(config: Config, spec: EnvSpec, params: PyTree) -> PyTree:
    """Given parameters with a leading axis [S], on the host.

    Args:
        config: of the run.
        spec: of its environment.
        params: of every seed, [S, ...], or of one that all seeds start from.

    Raises:
        ConfigError: if they are not those of this agent.
    """
    agent, seeds = algorithms.make(config, spec), config.num_seeds
    state = checks.state_shape(agent, spec)
    if not hasattr(state, "_replace"):
        raise ConfigError(
            f"params need an agent whose state is a NamedTuple; that of "
            f"{config.algorithm} is a {type(state).__name__}."
        )
    arrays = pytree_arrays.flatten(params)
    alone = state.learner.params
    shape = with_seeds(alone, seeds)
    if all(
        arrays[name].shape == leaf.shape
        for name, leaf in _named(alone).items()
        if name in arrays
    ):
        arrays = {
            name: np.broadcast_to(array, (seeds, *array.shape))
            for name, array in arrays.items()
        }
    try:
        unknown = sorted(arrays.keys() - _named(alone).keys())
        if unknown:
            raise CheckpointError(f"array {unknown[0]} is unknown")
        return pytree_arrays.unflatten(shape, arrays)
    except CheckpointError as error:
        raise ConfigError(
            f"params do not fit {config.algorithm} on {spec.name} with num_seeds = "
            f"{seeds}: {error}. Pass those of one seed, or of every seed with a "
            "leading axis, of a run whose network is the same."
        ) from error


def _named(tree: PyTree) -> dict[str, jax.ShapeDtypeStruct]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {pytree_arrays.path_name(path): leaf for path, leaf in leaves}


def replace_params(
    states: Sequence[loop.RunState], params: PyTree
) -> list[loop.RunState]:
    """States that learn from given online parameters, copied to the target.

    Args:
        states: of each block; leading axis its members, filled up with the last one.
        params: of every seed, [S, ...].
    """
    result, first = [], 0
    for state in states:
        learner = state.agent.learner
        width = int(learner.diverged_at.size)
        last = jax.tree.leaves(params)[0].shape[0] - 1
        members = np.minimum(np.arange(first, first + width), last)
        (device,) = learner.diverged_at.devices()

        # Two copies, as the program that trains overwrites both.
        online, target = (
            jax.device_put(jax.tree.map(operator.itemgetter(members), params), device)
            for _ in range(2)
        )
        target = _targets(target, learner.target_params)
        learner = learner._replace(params=online, target_params=target)
        result.append(state._replace(agent=state.agent._replace(learner=learner)))
        first += width
    return result


def _targets(params: PyTree, target_params: PyTree) -> PyTree:
    """Parameters [S, ...] in the place of target parameters.

    Args:
        params: online parameters.
        target_params: whose structure and shapes are kept; none, one network, several,
            or a single last layer.
    """
    if not jax.tree.leaves(target_params):
        return target_params
    structures: list[Any] = [jax.tree.structure(x) for x in (params, target_params)]
    if structures[0] == structures[1]:
        pairs = zip(
            jax.tree.leaves(params), jax.tree.leaves(target_params), strict=True
        )
        if all(old.ndim <= new.ndim for old, new in pairs):
            return jax.tree.map(_as_targets, params, target_params)
    return iterated.target_head(params, axis=1)


def _as_targets(params: Array, target_params: Array) -> Array:
    """Parameters [S, ...] as those of one target network, or of K, [S, K, ...]."""
    if params.ndim == target_params.ndim:
        return params
    return jnp.broadcast_to(params[:, None], target_params.shape)
