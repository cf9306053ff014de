"""Schedules of epsilon, the probability of a random action."""

import jax.numpy as jnp

from jaxq.types import Array


def linear_schedule(
    steps: Array, start: Array | float, end: Array | float, decay_steps: Array | float
) -> Array:
    """Linear decay: epsilon(t) = start + (end - start) min(1, t / decay_steps).

    Args:
        steps: [] environment steps t.
        start, end: [] values at t = 0 and from t = decay_steps on.
        decay_steps: [] environment steps.
    """
    return start + (end - start) * jnp.minimum(1.0, steps / decay_steps)


def exponential_schedule(
    steps: Array, start: Array | float, end: Array | float, decay_steps: Array | float
) -> Array:
    """Exponential decay: epsilon(t) = end + (start - end) exp(-t / decay_steps).

    Args:
        steps: [] environment steps t.
        start, end: [] value at t = 0, and limit as t grows.
        decay_steps: [] time constant [environment steps].
    """
    return end + (start - end) * jnp.exp(-steps / decay_steps)


def episodic_schedule(
    episodes: Array, start: Array | float, end: Array | float, decrement: Array | float
) -> Array:
    """Linear decay per episode: max(end, start - decrement * episodes).

    Args:
        episodes: [] completed episodes.
        start, end: [] initial and final value.
        decrement: [] decrease per completed episode.
    """
    return jnp.maximum(end, start - decrement * episodes)


def epsilon_ladder(
    num_envs: int, base: Array | float, exponent: Array | float
) -> Array:
    """A constant epsilon for each environment.

    epsilon_i = base^(1 + exponent i / (E - 1))

    Args:
        num_envs: E.
        base: [] epsilon of the first environment.
        exponent: [] the last environment has epsilon base^(1 + exponent).

    Returns:
        [E].

    Reference: Horgan et al., arXiv:1803.00933, section 4.1 (base 0.4, exponent 7).
    """
    position = jnp.arange(num_envs) / max(num_envs - 1, 1)
    return base ** (1.0 + exponent * position)
