"""The return of a policy from the returns of the actions that it chooses among.

Outputs of minus infinity mark invalid actions, and are left out. A terminal state may
have no valid action at all; its outputs are finite, and multiplied by a discount of 0.
"""

import jax
import jax.numpy as jnp

from jaxq.types import Array, PyTree


def average(output: PyTree, policy: Array) -> PyTree:
    """Mean of every leaf [A, ...] under the probabilities policy [A]."""

    def mean(leaf: Array) -> Array:
        weight = policy.reshape(-1, *[1] * (leaf.ndim - 1))
        counts = (weight > 0.0) & (leaf != -jnp.inf)
        return jnp.sum(jnp.where(counts, weight * leaf, 0.0), axis=0)

    return jax.tree.map(mean, output)


def mix_logits(logits: Array, policy: Array) -> Array:
    """Logits [K] of the mixture of distributions on the same K atoms.

    softmax(result) = sum_a policy(a) softmax(logits_a)

    Args:
        logits: [A, K].
        policy: [A] probabilities.
    """
    counts = (policy > 0.0) & (logits != -jnp.inf).all(axis=-1)
    log_probabilities = jax.nn.log_softmax(jnp.where(counts[:, None], logits, 0.0))
    weight = jnp.where(counts, policy, 0.0)[:, None]
    mixed = jax.nn.logsumexp(log_probabilities, axis=0, b=weight)
    return jnp.where(counts.any(), mixed, 0.0)


def mix_samples(value: Array, weight: Array, policy: Array) -> tuple[Array, Array]:
    """The mixture of distributions given by weighted samples: all samples of all.

    The sample z_aj of action a has the weight policy(a) weight_aj.

    Args:
        value, weight: [A, N].
        policy: [A] probabilities.

    Returns:
        Values [A N] and weights [A N].
    """
    weight = policy[:, None] * weight
    counts = (weight > 0.0) & (value != -jnp.inf)
    return jnp.where(counts, value, 0.0).reshape(-1), weight.reshape(-1)
