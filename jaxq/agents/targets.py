"""The refresh of the target parameters."""

import jax
import jax.numpy as jnp
import optax

from jaxq.agents import iterated
from jaxq.config.config import Config
from jaxq.networks import running_statistics
from jaxq.types import Array, LearnerState, PyTree


def renew(
    config: Config, learner: LearnerState, updates: Array, healthy: Array
) -> LearnerState:
    """Refresh the target parameters, or shift the heads of one network, when due.

    Args:
        config: the kind of target, its period, and the weight of online parameters.
        learner: state after the gradient step.
        updates: [] gradient steps done before this one.
        healthy: [] bool: whether the seed has never diverged.
    """
    due = (updates + 1) % config.target_period == 0
    if config.iterated_heads is not None:
        return iterated.shift(learner, due, config.target_tau, healthy)
    refreshed = refresh if config.averaged_targets == 1 else shift_in
    target_params = refreshed(
        learner.target_params, learner.params, due, config.target_tau
    )
    newest = running_statistics.shared(target_params, learner.params)
    return learner._replace(target_params=newest)


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
