"""Transitions and windows of steps within a sequence."""

import jax
import jax.numpy as jnp

from jaxq.rl import off_policy, returns, unrolling
from jaxq.types import Array, Sequence, Transition


def n_step_transition(
    steps: Sequence,
    time: Array,
    n: int,
    gamma: Array | float,
    continuing: bool = False,
) -> tuple[Transition, Array, Array]:
    """The n-step transition that starts at a step of a sequence.

    Args:
        steps: Sequence with at least n steps from `time`, and their successor; its
            horizon, if it has one, replaces gamma and limits n.
        time: [] int32 index of the first step.
        n: maximal length of the transition.
        gamma: [] discount factor.
        continuing: whether a terminated step leads to the next episode.

    Returns:
        Transition, [] int32 index of its successor, and its weight []; see
        `returns.n_step_return_from_ring`.
    """
    window, horizon = time + jnp.arange(n), steps.horizon or returns.Horizon(gamma)
    reward = steps.reward[window]
    ends = jnp.zeros(n, bool) if continuing else steps.terminated[window]
    n_step, weight = returns.n_step_return_from_ring(
        reward, ends, steps.truncated[window], *horizon
    )
    successor = time + n_step.length
    transition = Transition(
        observation=unrolling.row(steps.observation, time),
        action=steps.action[time],
        reward=n_step.reward,
        discount=n_step.discount,
        next_observation=unrolling.row(steps.observation, successor),
        next_action=steps.action[successor],
        epsilon=steps.epsilon,
    )
    return transition, successor, weight


def corrected_window(
    steps: Sequence, time: Array, n: int, gamma: Array | float
) -> tuple[off_policy.Window, Array]:
    """The window that starts at a step of a sequence, and its weight.

    Arguments as in `n_step_transition`. Observations are left out.
    """
    window, horizon = time + jnp.arange(n), steps.horizon or returns.Horizon(gamma)
    truncated = steps.truncated[window]
    return off_policy.Window(
        observation=(),
        action=steps.action[time],
        reward=steps.reward[window],
        discount=jnp.where(steps.terminated[window], 0.0, horizon.discount),
        continues=off_policy.continues_in_ring(truncated, horizon.limit),
        next_observation=(),
        next_action=steps.action[window + 1],
        next_probability=jax.tree.map(
            lambda leaf: leaf[window + 1], steps.action_probability
        ),
        epsilon=steps.epsilon,
    ), 1.0 - truncated[0].astype(jnp.float32)
