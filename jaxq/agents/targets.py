"""The refresh of the target parameters."""

import jax
import jax.numpy as jnp
import optax

from jaxq.types import Array, PyTree


def copies(params: PyTree, number: int) -> PyTree:
    """The parameters of one target network, or of several, with a leading axis [K]."""
    if number == 1:
        return jax.tree.map(jnp.copy, params)
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), params
    )


def refresh(
    target_params: PyTree, params: PyTree, due: Array, tau: Array | float
) -> PyTree:
    """Target <- (1 - tau) target + tau params, when due; tau = 1 is an exact copy.

    Args:
        target_params, params: pytrees of the same structure.
        due: [] bool.
        tau: [] weight of the online parameters, in (0, 1].

    Reference: Mnih et al. (2015) for the copy; Lillicrap et al., arXiv:1509.02971.
    """
    return jax.lax.cond(
        due,
        lambda: optax.incremental_update(params, target_params, tau),
        lambda: target_params,
    )


def shift_in(
    target_params: PyTree, params: PyTree, due: Array, tau: Array | float
) -> PyTree:
    """The newest K target networks: when due, a refreshed one replaces the oldest.

    Args:
        target_params: leading axis [K], the newest first.
        params: online parameters.
        due: [] bool.
        tau: [] weight of the online parameters; see `refresh`.

    Reference: Anschel et al., arXiv:1611.01929, algorithm 2 (Averaged-DQN).
    """

    def shift(targets: Array, new: Array) -> Array:
        newest = targets[0] + tau * (new - targets[0])
        return jnp.concatenate([newest[None], targets[:-1]])

    return jax.lax.cond(
        due,
        lambda: jax.tree.map(shift, target_params, params),
        lambda: target_params,
    )
