"""Behaviour policies for a single state."""

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


def epsilon_boltzmann_policy(
    q_values: Array, temperature: Array | float, epsilon: Array | float
) -> Array:
    """Probabilities [A] of the softmax policy that is uniform with probability epsilon.

    See `boltzmann_policy` and `epsilon_greedy_policy`.
    """
    random = epsilon_greedy_policy(q_values, 1.0)
    softmax = boltzmann_policy(q_values, temperature)
    return epsilon * random + (1.0 - epsilon) * softmax


def draw(key: Key, policy: Array) -> Array:
    """Sample an action [] int32 from the probabilities policy [A]."""
    cumulative = jnp.cumsum(policy)
    # The first action whose cumulative probability exceeds a uniform sample. Scaled by
    # the total, rounding can never select an action of probability zero.
    uniform = jax.random.uniform(key) * cumulative[-1]
    return jnp.argmax(cumulative > uniform).astype(jnp.int32)


def epsilon_greedy(key: Key, q_values: Array, epsilon: Array | float) -> Array:
    """Sample an action [] int32 epsilon-greedily; see `epsilon_greedy_policy`."""
    return draw(key, epsilon_greedy_policy(q_values, epsilon))


def boltzmann(
    key: Key,
    q_values: Array,
    temperature: Array | float,
    epsilon: Array | float = 0.0,
) -> Array:
    """Sample an action [] int32: softmax, or uniform with probability epsilon."""
    return draw(key, epsilon_boltzmann_policy(q_values, temperature, epsilon))
