"""Behaviour policies for a single state, and schedules of their epsilon."""

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array, Key


def epsilon_greedy_policy(q_values: Array, epsilon: Array | float) -> Array:
    """Probabilities of the epsilon-greedy policy, ties broken uniformly.

    pi(a) = epsilon / A + (1 - epsilon) [a in argmax Q] / |argmax Q|

    Args:
        q_values: [A] estimates; minus infinity marks an invalid action.
        epsilon: [] probability of a uniformly random action.

    Returns:
        [A].

    Reference: Sutton and Barto (2018), section 2.2.
    """
    chex.assert_rank(q_values, 1)
    valid = (q_values > -jnp.inf).astype(jnp.float32)
    greedy = (q_values == jnp.max(q_values)).astype(jnp.float32)
    random = valid / jnp.sum(valid)
    return epsilon * random + (1.0 - epsilon) * greedy / jnp.sum(greedy)


def boltzmann_policy(q_values: Array, temperature: Array | float) -> Array:
    """Probabilities of the softmax policy, pi(a) ~ exp(Q(a) / temperature).

    Args:
        q_values: [A] estimates; minus infinity marks an invalid action.
        temperature: [].

    Returns:
        [A].

    Reference: Sutton and Barto (2018), equation 2.11.
    """
    chex.assert_rank(q_values, 1)
    return jax.nn.softmax(q_values / temperature)


def draw(key: Key, policy: Array) -> Array:
    """Sample an action [] int32 from the probabilities policy [A]."""
    cumulative = jnp.cumsum(policy)
    # The first action whose cumulative probability exceeds a uniform sample. Scaled by
    # the total, rounding can never select an action of probability zero.
    uniform = jax.random.uniform(key) * cumulative[-1]
    return jnp.argmax(cumulative > uniform).astype(jnp.int32)


def epsilon_greedy(key: Key, q_values: Array, epsilon: Array | float) -> Array:
    """Sample an action from the epsilon-greedy policy; see `epsilon_greedy_policy`."""
    return draw(key, epsilon_greedy_policy(q_values, epsilon))


def boltzmann(
    key: Key,
    q_values: Array,
    temperature: Array | float,
    epsilon: Array | float = 0.0,
) -> Array:
    """Sample an action from the softmax policy, or with probability epsilon uniformly.

    See `boltzmann_policy` and `epsilon_greedy_policy`.
    """
    random = epsilon_greedy_policy(q_values, 1.0)
    softmax = boltzmann_policy(q_values, temperature)
    return draw(key, epsilon * random + (1.0 - epsilon) * softmax)


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
