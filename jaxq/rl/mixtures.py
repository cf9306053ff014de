"""The return of a policy from the returns of the actions that it chooses among."""

import jax
import jax.numpy as jnp

from jaxq.types import Array, PyTree


def average(output: PyTree, policy: Array) -> PyTree:
    """Mean of every leaf [A, ...] under the probabilities policy [A].

    Values of minus infinity, which mark invalid actions, are left out, because a
    terminal state may have no valid action at all.
    """

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
    log_probabilities = jax.nn.log_softmax(logits)
    return jax.nn.logsumexp(log_probabilities, axis=0, b=policy[:, None])


def mix_samples(value: Array, weight: Array, policy: Array) -> tuple[Array, Array]:
    """The mixture of distributions given by weighted samples: all samples of all.

    The sample z_aj of action a has the weight policy(a) weight_aj.

    Args:
        value, weight: [A, N].
        policy: [A] probabilities.

    Returns:
        Values [A N] and weights [A N].
    """
    return value.reshape(-1), (policy[:, None] * weight).reshape(-1)
