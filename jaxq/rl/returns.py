"""Returns along a single trajectory."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array, Step, Transition


class Horizon(NamedTuple):
    """Discount factor and length of returns."""

    discount: Array | float  # [] gamma
    limit: Array | None = None  # [] int32: rewards of a window that count; None: all


class NStepReturn(NamedTuple):
    """The return of a window of n steps, up to its bootstrap value.

    G = reward + discount * v(observation after `length` steps)
    """

    reward: Array  # [] sum of gamma^j r_j over the k steps that count
    discount: Array  # [] gamma^k (1 - terminated)
    length: Array  # [] int32: k, from 1 to n


def n_step_return(
    reward: Array,
    terminated: Array,
    truncated: Array,
    gamma: Array | float,
    limit: Array | None = None,
) -> NStepReturn:
    """Discounted sum of rewards up to the first end of an episode in the window.

    reward = sum_{j<k} gamma^j r_j  and  discount = gamma^k (1 - terminated_{k-1}),

    where step k - 1 is the first that is terminated or truncated, or else the last of
    the window.

    Args:
        reward: [n] rewards.
        terminated, truncated: [n] bool.
        gamma: [] discount factor.
        limit: [] int32, from 1 to n: length of the window, if it is shorter than n.

    Reference: Sutton (1988); Sutton and Barto (2018), equation 7.1. A truncated window
    bootstraps, as in Pardo et al., arXiv:1712.00378.
    """
    chex.assert_rank([reward, terminated, truncated], 1)
    chex.assert_equal_shape([reward, terminated, truncated])
    ended = (terminated | truncated).astype(jnp.int32)
    # A step counts if no earlier step of the window ended an episode.
    counts = jnp.cumsum(ended) - ended == 0
    if limit is not None:
        counts &= jnp.arange(reward.size) < limit
    powers = jnp.cumprod(jnp.full(reward.shape, gamma))
    weights = jnp.concatenate([jnp.ones(1), powers[:-1]])
    length = jnp.sum(counts, dtype=jnp.int32)
    last = jnp.arange(reward.size) == length - 1
    discounts = jnp.where(terminated, 0.0, powers)
    return NStepReturn(
        reward=jnp.sum(jnp.where(counts, weights * reward, 0.0)),
        discount=jnp.sum(jnp.where(last, discounts, 0.0)),
        length=length,
    )


def n_step_return_from_ring(
    reward: Array,
    terminated: Array,
    truncated: Array,
    gamma: Array | float,
    limit: Array | None = None,
) -> tuple[NStepReturn, Array]:
    """`n_step_return` without the successors of truncated steps, which are not stored.

    The observation stored after a truncated step starts another episode. A window
    therefore ends just before a truncated step, and has weight 0 if it starts with one.

    Args:
        reward, terminated, truncated, gamma, limit: as in `n_step_return`.

    Returns:
        The return, and the weight [] of the window: 0 or 1.
    """
    cut = jnp.concatenate([truncated[1:], jnp.zeros(1, bool)])
    weight = 1.0 - truncated[0].astype(jnp.float32)
    return n_step_return(reward, terminated, cut, gamma, limit), weight


def duration(length: Array, n: int, gamma: Array | float) -> Array:
    """Discounted number of rewards in a return: sum_{j<k} gamma^j.

    A return whose rewards are centred is less by this times the average reward.

    Args:
        length: [] int32: k.
        n: largest k.
        gamma: [] discount factor.
    """
    powers = jnp.cumprod(jnp.full(n, gamma))
    weights = jnp.concatenate([jnp.ones(1), powers[:-1]])
    return jnp.sum(jnp.where(jnp.arange(n) < length, weights, 0.0))


def n_step(
    window: Step,
    gamma: Array | float,
    continuing: bool = False,
    limit: Array | None = None,
) -> Transition:
    """The n-step transition of a window of consecutive steps.

    Args:
        window: Step with a leading axis [n]; `next_observation` holds true successors.
        gamma: [] discount factor.
        continuing: whether a terminated step leads to the next episode, whose first
            observation is then its successor.
        limit: [] int32: length of the window, if it is shorter than n.

    Returns:
        Transition from the first observation to the successor of the last step that
        counts; see `n_step_return`.
    """
    ends = jnp.zeros_like(window.terminated) if continuing else window.terminated
    total = n_step_return(window.reward, ends, window.truncated, gamma, limit)
    first = jax.tree.map(lambda leaf: leaf[0], window)
    last = total.length - 1
    successor = jax.tree.map(lambda leaf: leaf[last], window.next_observation)
    return Transition(
        observation=first.observation,
        action=first.action,
        reward=total.reward,
        discount=total.discount,
        next_observation=successor,
        memory=first.memory,
        duration=duration(total.length, ends.size, gamma) if continuing else None,
    )


def lambda_returns(
    reward: Array,
    discount: Array,
    truncated: Array,
    next_value: Array,
    lambda_: Array | float,
) -> Array:
    """Lambda-returns along a rollout.

    G_t = r_t + d_t ((1 - l_t) v_t + l_t G_{t+1}),  d_t = gamma (1 - terminated_t),

    where v_t is the value of the true successor of step t, and l_t is lambda, or 0
    where the trace ends: at a truncation, whose successor is not the next step, and at
    the last step of the rollout.

    Args:
        reward, discount, next_value: [T].
        truncated: [T] bool.
        lambda_: [] or [T]: weight of the return of step t + 1 against next_value[t].

    Returns:
        [T].

    Reference: Peng and Williams (1996); Watkins (1989) with lambda 0 before actions
    that are not greedy; Gallici et al., arXiv:2407.04811, section 4.
    """
    chex.assert_rank([reward, discount, truncated, next_value], 1)
    chex.assert_equal_shape([reward, discount, truncated, next_value])
    last = jnp.arange(reward.size) == reward.size - 1
    weight = jnp.where(truncated | last, 0.0, lambda_)

    def backward(next_return: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        reward, discount, weight, value = step
        mixed = (1.0 - weight) * value + weight * next_return
        total = reward + discount * mixed
        return total, total

    steps = (reward, discount, weight, next_value)
    return jax.lax.scan(backward, jnp.zeros(()), steps, reverse=True)[1]
