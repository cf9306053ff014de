"""Returns along one trajectory."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array, Step, Transition


class Fold(NamedTuple):
    """A window of n steps folded into one."""

    reward: Array  # [] sum of gamma^j r_j over the k steps that count
    discount: Array  # [] gamma^k (1 - terminated)
    length: Array  # [] int32: k, from 1 to n


def fold(
    reward: Array, terminated: Array, truncated: Array, gamma: Array | float
) -> Fold:
    """Discounted sum of rewards up to the first end of an episode in the window.

    R = sum_{j<k} gamma^j r_j  and  discount = gamma^k (1 - terminated_{k-1}), where
    step k - 1 is the first that is terminated or truncated, or the last of the window.

    Args:
        reward: [n] rewards.
        terminated, truncated: [n] flags of the steps.
        gamma: [] discount factor.

    Reference: Sutton (1988); Sutton and Barto (2018), equation 7.1. A truncated window
    bootstraps, as in Pardo et al., arXiv:1712.00378.
    """
    chex.assert_rank([reward, terminated, truncated], 1)
    chex.assert_equal_shape([reward, terminated, truncated])
    ended = (terminated | truncated).astype(jnp.int32)
    # A step counts while no earlier step of the window has ended an episode.
    counts = jnp.cumsum(ended) - ended == 0
    powers = jnp.cumprod(jnp.full(reward.shape, gamma))
    weights = jnp.concatenate([jnp.ones(1), powers[:-1]])
    length = jnp.sum(counts, dtype=jnp.int32)
    last = jnp.arange(reward.size) == length - 1
    bootstraps = jnp.where(terminated, 0.0, powers)
    return Fold(
        reward=jnp.sum(jnp.where(counts, weights * reward, 0.0)),
        discount=jnp.sum(jnp.where(last, bootstraps, 0.0)),
        length=length,
    )


def n_step(window: Step, gamma: Array | float) -> Transition:
    """Fold a window of consecutive steps into the transition that starts it.

    Args:
        window: Step with a leading axis [n]; `next_observation` holds true successors.
        gamma: [] discount factor.

    Returns:
        Transition from the first observation to the successor of the last step that
        counts; see `fold`.
    """
    folded = fold(window.reward, window.terminated, window.truncated, gamma)
    first = jax.tree.map(lambda leaf: leaf[0], window)
    return Transition(
        observation=first.observation,
        action=first.action,
        reward=folded.reward,
        discount=folded.discount,
        next_observation=window.next_observation[folded.length - 1],
    )
