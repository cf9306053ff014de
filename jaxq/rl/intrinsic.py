"""Novelty bonuses, and the running moments that normalise them."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array, PyTree

CLIP = 5.0  # of normalised observations


def count_bonus(visits: Array) -> Array:
    """1 / sqrt(N), for numbers of visits of 1 or more.

    Reference: Strehl and Littman (2008), An analysis of model-based interval
    estimation for Markov decision processes (MBIE-EB); Bellemare et al.,
    arXiv:1606.01868, section 5.
    """
    return jax.lax.rsqrt(visits.astype(jnp.float32))


def distillation_error(prediction: Array, target: Array) -> Array:
    """|prediction - target|^2 of two embeddings [D], [].

    Reference: Burda et al., arXiv:1810.12894, section 2.2.
    """
    chex.assert_equal_shape([prediction, target])
    return jnp.sum(jnp.square(prediction - jax.lax.stop_gradient(target)))


class Moments(NamedTuple):
    """Running mean and variance of every element of an array or pytree."""

    mean: PyTree
    variance: PyTree
    number: Array  # [] float32: of samples so far


def initial_moments(example: PyTree) -> Moments:
    """Mean 0 and variance 1, with the weight of one sample.

    Args:
        example: a sample, or its shapes and dtypes.
    """
    return Moments(
        mean=jax.tree.map(lambda x: jnp.zeros(x.shape), example),
        variance=jax.tree.map(lambda x: jnp.ones(x.shape), example),
        number=jnp.ones(()),
    )


def update_moments(moments: Moments, samples: PyTree) -> Moments:
    """The moments of the earlier samples and N more.

    mean = m + d N / (n + N),   variance = (n v + N v' + d^2 n N / (n + N)) / (n + N),

    where n, m and v are the number, mean and variance so far, m' and v' the mean and
    variance of the new samples, and d = m' - m.

    Args:
        moments: so far.
        samples: [N, ...].

    Reference: Chan, Golub and LeVeque (1983), The American Statistician 37(3).
    """
    size = float(jax.tree.leaves(samples)[0].shape[0])
    total = moments.number + size

    def new_mean(mean: Array, x: Array) -> Array:
        return mean + (jnp.mean(x, axis=0) - mean) * (size / total)

    def new_variance(variance: Array, mean: Array, x: Array) -> Array:
        shift = jnp.mean(x, axis=0) - mean
        between = jnp.square(shift) * (moments.number / total) * size
        within = moments.number * variance + size * jnp.var(x, axis=0)
        return (within + between) / total

    return Moments(
        jax.tree.map(new_mean, moments.mean, samples),
        jax.tree.map(new_variance, moments.variance, moments.mean, samples),
        total,
    )


def standardise(moments: Moments, sample: PyTree) -> PyTree:
    """(x - mean) / standard deviation, clipped to [-5, 5].

    Args:
        moments: of the samples.
        sample: one sample, like those of the moments.

    Reference: Burda et al., arXiv:1810.12894, section 2.4.
    """

    def one(x: Array, mean: Array, variance: Array) -> Array:
        return jnp.clip((x - mean) / jnp.sqrt(variance + 1e-8), -CLIP, CLIP)

    return jax.tree.map(one, sample, moments.mean, moments.variance)


def discounted_sums(
    initial: Array, reward: Array, discount: Array | float
) -> tuple[Array, Array]:
    """Discounted sums of past rewards, G_t = discount G_{t-1} + r_t.

    Args:
        initial: [E] sums before the first step.
        reward: [T, E].
        discount: [].

    Returns:
        The last sums [E], and all [T, E].
    """

    def step(total: Array, reward: Array) -> tuple[Array, Array]:
        total = discount * total + reward
        return total, total

    return jax.lax.scan(step, initial, reward)
