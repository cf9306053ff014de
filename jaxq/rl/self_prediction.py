"""Self-predictive representations: features learn to predict later features."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array, PyTree

_SQUARE = 1e-6  # added to the square of a norm, which may be zero
_RANGE = 1e-5  # added to the range of a vector, which may be zero


class Following(NamedTuple):
    """The K steps that follow an observation."""

    action: Array  # [K] int32, the first of them taken in the observation itself
    observation: PyTree  # [K, ...] after each action
    reached: Array  # [K] float32: 1 if it belongs to the same episode, else 0


def reached(ended: Array) -> Array:
    """1 for the observations after each of K steps that belong to the same episode.

    m_k = prod_{j<=k} (1 - ended_j)

    Args:
        ended: [K] bool: whether the episode was terminated or truncated in that step.

    Returns:
        [K] float32.
    """
    chex.assert_rank(ended, 1)
    return jnp.cumprod(1.0 - ended.astype(jnp.float32))


def unit_range(x: Array) -> Array:
    """(x - min x) / (max x - min x + 1e-5), features within [0, 1].

    Args:
        x: [..., D].

    Reference: Schrittwieser et al., arXiv:1911.08265, appendix G.
    """
    # By index: the gradient of `jnp.max` is divided by the number of entries that equal
    # the maximum, of which there may be none if it is computed twice, and rounded anew.
    low, high = (
        jnp.sum(x * jax.nn.one_hot(index, x.shape[-1]), axis=-1, keepdims=True)
        for index in (jnp.argmin(x, axis=-1), jnp.argmax(x, axis=-1))
    )
    return (x - low) / (high - low + _RANGE)


def cosine(x: Array, y: Array) -> Array:
    """Cosine of the angle between two vectors, or 0 if either is zero.

    x . y / (sqrt(|x|^2 + 1e-6) sqrt(|y|^2 + 1e-6))

    Args:
        x, y: [..., D].

    Returns:
        [...].
    """

    def unit(x: Array) -> Array:
        square = jnp.sum(x**2, axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(square + _SQUARE)

    return jnp.sum(unit(x) * unit(y), axis=-1)


def prediction_loss(prediction: Array, target: Array, reached: Array) -> Array:
    """Minus the sum of the cosines of K predictions and their targets.

    L = -sum_k m_k cos(prediction_k, target_k);  no gradient enters the targets.

    Args:
        prediction, target: [K, D].
        reached: [K] m: 1 for steps of the same episode, else 0; see `reached`.

    Returns:
        [].

    Reference: Schwarzer et al., arXiv:2007.05929, section 2.2. Its authors' program has
    weight 5 for the mean squared distance of the unit vectors, 2 L / K up to a
    constant: with K = 5, L then has weight 2.
    """
    chex.assert_rank([prediction, target, reached], [2, 2, 1])
    chex.assert_equal_shape([prediction, target])
    return -jnp.sum(reached * cosine(prediction, jax.lax.stop_gradient(target)))
