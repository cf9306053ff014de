"""Action selection and its schedules, for one state and one clock."""

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array, Key


def epsilon_greedy(key: Key, q_values: Array, epsilon: Array | float) -> Array:
    """Sample an action from the epsilon-greedy policy, ties broken uniformly.

    pi(a) = epsilon / A + (1 - epsilon) [a in argmax Q] / |argmax Q|

    Args:
        key: consumed by one uniform draw.
        q_values: [A] estimates.
        epsilon: [] probability of a uniformly random action.

    Returns:
        [] int32 action.

    Reference: Sutton and Barto (2018), section 2.2.
    """
    chex.assert_rank(q_values, 1)
    greedy = (q_values == jnp.max(q_values)).astype(jnp.float32)
    policy = epsilon / q_values.size + (1.0 - epsilon) * greedy / jnp.sum(greedy)
    cumulative = jnp.cumsum(policy)
    # The first action whose cumulative probability exceeds the draw. Scaling the draw
    # by the sum keeps rounding from ever choosing an action of probability zero.
    draw = jax.random.uniform(key) * cumulative[-1]
    return jnp.argmax(cumulative > draw).astype(jnp.int32)


def linear_schedule(
    steps: Array, start: Array | float, end: Array | float, decay_steps: Array | float
) -> Array:
    """epsilon(t) = start + (end - start) min(1, t / decay_steps).

    Args:
        steps: [] environment steps t.
        start, end: [] values at t = 0 and from t = decay_steps on.
        decay_steps: [] environment steps.
    """
    return start + (end - start) * jnp.minimum(1.0, steps / decay_steps)


def exponential_schedule(
    steps: Array, start: Array | float, end: Array | float, decay_steps: Array | float
) -> Array:
    """epsilon(t) = end + (start - end) exp(-t / decay_steps).

    Args:
        steps: [] environment steps t.
        start, end: [] value at t = 0 and limit.
        decay_steps: [] time constant [environment steps].
    """
    return end + (start - end) * jnp.exp(-steps / decay_steps)


def episodic_schedule(
    episodes: Array, start: Array | float, end: Array | float, decrement: Array | float
) -> Array:
    """Epsilon of classic Q-learning: max(end, start - decrement * episodes).

    Args:
        episodes: [] finished episodes.
        start, end: [] first and smallest value.
        decrement: [] what every finished episode takes off.
    """
    return jnp.maximum(end, start - decrement * episodes)
