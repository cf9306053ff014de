"""Iterated shared Q-learning: last layers of one network, each the target of the next.

The parameters have one torso and K last layers, the heads, stacked along a leading axis
[K]. The target parameters are a single head, number 0, in nested dictionaries. All
other layers, hidden layers of the output streams included, are shared by all heads.

Reference: Vincent et al., arXiv:2506.04398, section 4 (iS-QN).
"""

import itertools
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from jaxq.types import (
    Array,
    Key,
    LearnerState,
    LossFunction,
    LossInfo,
    Network,
    PyTree,
)

Path = tuple[Any, ...]


def _names(path: Path) -> tuple[str, ...]:
    return tuple(getattr(entry, "key", "") for entry in path)


def is_last(path: Path) -> bool:
    """Whether a parameter belongs to a last layer, of one stream or of two."""
    return any(
        module == "values" and str(layer).startswith("Dense_")
        for module, layer in itertools.pairwise(_names(path))
    )


def _map_heads(function: Callable[[Path, Array], Array], params: PyTree) -> PyTree:
    """The parameters, with a function of the path and the array on the last layers."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(path, leaf) if is_last(path) else leaf, params
    )


def head(params: PyTree, index: Array | int) -> PyTree:
    """Parameters of a network that has one head, number `index` from 0 to K - 1."""
    return _map_heads(lambda path, leaf: leaf[index], params)


def target_head(params: PyTree, axis: int = 0) -> PyTree:
    """Target parameters that are a copy of the first head.

    Args:
        params: with K heads.
        axis: of the heads.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    first = {
        _names(path): jnp.copy(jax.lax.index_in_dim(leaf, 0, axis, keepdims=False))
        for path, leaf in leaves
        if is_last(path)
    }
    return flax.traverse_util.unflatten_dict(first)


def evaluators(params: PyTree, target_params: PyTree) -> PyTree:
    """Parameters whose head k is the one from which head k learns: number k - 1."""
    target = flax.traverse_util.flatten_dict(target_params)
    return _map_heads(
        lambda path, leaf: jnp.concatenate([target[_names(path)][None], leaf[:-1]]),
        params,
    )


def parallel_loss(loss: LossFunction) -> LossFunction:
    """The sum over K heads of a loss against the head before.

    L = sum_{k=1}^K l(theta_k, sg[theta_{k-1}]),

    where theta_k are the shared layers and head k: the newest shared layers evaluate
    successors, and only the target head is older. Priorities and metrics are means.

    Args:
        loss: of a network with one head, from its online and its target parameters.

    Reference: Vincent et al., arXiv:2506.04398, section 4.
    """

    def total(
        key: Key, params: PyTree, target_params: PyTree, example: PyTree
    ) -> tuple[Array, LossInfo]:
        # Shared layers have no axis of heads, so they are evaluated once for all.
        axes = jax.tree_util.tree_map_with_path(
            lambda path, _: 0 if is_last(path) else None, params
        )
        evaluate = jax.lax.stop_gradient(evaluators(params, target_params))
        value, info = jax.vmap(loss, in_axes=(None, axes, axes, None))(
            key, params, evaluate, example
        )
        mean_info = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), info)
        return jnp.sum(value), mean_info

    return total


def shift(
    learner: LearnerState, due: Array, tau: Array | float, healthy: Array
) -> LearnerState:
    """Every head takes the parameters of the next, when due; the last keeps its own.

    theta_k <- (1 - tau) theta_k + tau theta_{k+1},  k = 0 ... K - 1

    Args:
        learner: parameters of heads 1 to K, and of head 0, the target.
        due: [] bool.
        tau: [] weight of the next head; 1 copies.
        healthy: [] bool: whether the seed has never diverged; others are left alone.

    Reference: Vincent et al., arXiv:2506.04398, section 4.
    """

    def moved(old: Array, new: Array) -> Array:
        return jnp.where(healthy, optax.incremental_update(new, old, tau), old)

    def shifted() -> tuple[PyTree, PyTree]:
        params = _map_heads(
            lambda _, leaf: moved(leaf, jnp.concatenate([leaf[1:], leaf[-1:]])),
            learner.params,
        )
        target_params = jax.tree.map(
            moved, learner.target_params, target_head(learner.params)
        )
        return params, target_params

    params, target_params = jax.lax.cond(
        due, shifted, lambda: (learner.params, learner.target_params)
    )
    return learner._replace(params=params, target_params=target_params)


def iterated(network: Network, num_heads: int) -> Network:
    """A network with K heads, one of which acts.

    A head drawn at every step explores; the last, which is the most Bellman steps
    ahead, is evaluated.

    Args:
        network: with one head.
        num_heads: K.

    Reference: the authors' code, github.com/theovincent/iS-DQN (a head drawn uniformly
    at every step).
    """

    def init(key: Key, observation: PyTree) -> PyTree:
        keys = jax.random.split(key, num_heads)
        params = jax.vmap(network.init, in_axes=(0, None))(keys, observation)
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf if is_last(path) else leaf[0], params
        )

    def chosen(key: Key | None, params: PyTree) -> tuple[Key | None, PyTree]:
        """A key for the network, and the parameters of the head that acts."""
        if key is None:
            return None, head(params, -1)
        head_key, network_key = jax.random.split(key)
        index = jax.random.randint(head_key, (), 0, num_heads)
        return network_key, head(params, index)

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        return network.apply(*chosen(key, params), observation)

    def step(
        key: Key | None, params: PyTree, memory: PyTree, observation: PyTree
    ) -> tuple[PyTree, PyTree]:
        return network.step(*chosen(key, params), memory, observation)

    def activations(
        params: PyTree, memory: PyTree, observation: PyTree
    ) -> dict[str, Array]:
        assert network.activations is not None
        return network.activations(head(params, -1), memory, observation)

    def update_batch_stats(params: PyTree, observation: PyTree) -> PyTree:
        assert network.update_batch_stats is not None
        new = network.update_batch_stats(head(params, -1), observation)
        return jax.tree_util.tree_map_with_path(
            lambda path, old, new: old if is_last(path) else new, params, new
        )

    return network._replace(
        init=init,
        apply=apply,
        step=step,
        activations=activations if network.activations else None,
        update_batch_stats=update_batch_stats if network.update_batch_stats else None,
        unroll=None,
    )
