"""Behaviour policies for a single state."""

from typing import NamedTuple

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


class Repetition(NamedTuple):
    """A random action that is being repeated."""

    action: Array  # [] int32
    steps_left: Array  # [] int32; 0 if none is


def no_repetition() -> Repetition:
    """The state of a policy that repeats no action."""
    return Repetition(jnp.int32(0), jnp.int32(0))


def zeta(exponent: Array | float, largest: int) -> Array:
    """Probabilities of a truncated zeta distribution, P(z) ~ z^-exponent.

    Args:
        exponent: [] mu.
        largest: N.

    Returns:
        [N], of z = 1 to N.

    Reference: Dabney et al., arXiv:2006.01782, section 4.
    """
    mass = jnp.arange(1.0, largest + 1.0) ** -jnp.asarray(exponent)
    return mass / jnp.sum(mass)


def epsilon_z_greedy(
    key: Key,
    q_values: Array,
    epsilon: Array | float,
    repetition: Repetition,
    cumulative: Array,
) -> tuple[Array, Repetition]:
    """Sample an action greedily, or repeat a random one for z steps.

    While no action is being repeated, one is drawn uniformly with probability epsilon,
    together with the number of steps z that it lasts. A repetition also ends where its
    action is invalid.

    Args:
        key: for all draws.
        q_values: [A] estimates; minus infinity marks an invalid action.
        epsilon: [] probability of starting a repetition.
        repetition: before the step; start an episode with `no_repetition`.
        cumulative: [N] cumulative probabilities of z = 1 to N, as of `zeta`.

    Returns:
        The action, [] int32, and the repetition after it.

    Reference: Dabney et al., arXiv:2006.01782, algorithm 1.
    """
    chex.assert_rank([q_values, cumulative], 1)
    start_key, action_key, duration_key = jax.random.split(key, 3)
    starts = jax.random.uniform(start_key) < epsilon
    fresh = epsilon_greedy(action_key, q_values, starts.astype(jnp.float32))
    uniform = jax.random.uniform(duration_key) * cumulative[-1]
    # z - 1 of the steps follow this one.
    after = jnp.searchsorted(
        cumulative[:-1], uniform, side="right", method="scan_unrolled"
    )
    after = jnp.where(starts, after.astype(jnp.int32), 0)
    goes_on = (repetition.steps_left > 0) & (q_values[repetition.action] > -jnp.inf)
    action = jnp.where(goes_on, repetition.action, fresh)
    return action, Repetition(
        action, jnp.where(goes_on, repetition.steps_left - 1, after)
    )
