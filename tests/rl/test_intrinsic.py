"""Bonuses and running moments against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.rl import intrinsic


def test_the_count_bonus_is_one_over_the_root_of_the_visits(strict):
    visits = np.array([1, 2, 3, 100, 10**6], np.int32)
    bonus = jax.jit(intrinsic.count_bonus)(visits)
    np.testing.assert_allclose(bonus, 1 / np.sqrt(np.float64(visits)), rtol=1e-6)


def test_the_distillation_error_is_a_squared_distance(rng, strict):
    prediction, target = rng.normal(size=(2, 6)).astype(np.float32)
    error, gradient = jax.jit(
        jax.value_and_grad(intrinsic.distillation_error, argnums=(0, 1))
    )(prediction, target)
    difference = np.float64(prediction) - target
    np.testing.assert_allclose(error, sum(d * d for d in difference), rtol=1e-5)
    np.testing.assert_allclose(gradient[0], 2 * difference, rtol=1e-5)
    np.testing.assert_array_equal(gradient[1], 0.0)


def test_moments_are_those_of_all_samples_and_of_the_first_guess(rng, strict):
    """One earlier sample of mean 0 and variance 1 has the weight of one."""
    example = {"a": jnp.zeros(3), "b": jnp.zeros(())}
    moments = intrinsic.initial_moments(example)
    update = jax.jit(intrinsic.update_moments)
    seen = {"a": np.zeros((0, 3)), "b": np.zeros(0)}
    for size in (1, 7, 1, 40):
        new = {
            "a": (5 + 3 * rng.normal(size=(size, 3))).astype(np.float32),
            "b": rng.normal(size=size).astype(np.float32),
        }
        moments = update(moments, new)
        for name, samples in seen.items():
            seen[name] = np.concatenate([samples, new[name].astype(np.float64)])
            total = len(seen[name]) + 1
            mean = seen[name].sum(axis=0) / total
            # E[x^2] of the guess is 1.
            variance = (1 + (seen[name] ** 2).sum(axis=0)) / total - mean**2
            np.testing.assert_allclose(moments.mean[name], mean, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(moments.variance[name], variance, rtol=1e-4)
            assert moments.number == total


def test_standardised_samples_are_clipped(rng, strict):
    moments = intrinsic.Moments(
        np.float32([1.0, -2.0, 0.0]), np.float32([4.0, 0.25, 1e-12]), np.float32(9)
    )
    sample = np.float32([0.0, -1.5, 3.0])
    values = jax.jit(intrinsic.standardise)(moments, sample)
    np.testing.assert_allclose(values, [-0.5, 1.0, 5.0], rtol=1e-5)
    np.testing.assert_allclose(
        intrinsic.standardise(moments, -100 * sample), [-0.5, 5.0, -5.0], rtol=1e-5
    )


def test_discounted_sums_equal_their_recursion(rng, strict):
    reward = rng.normal(size=(6, 2)).astype(np.float32)
    initial = np.float32([3.0, -1.0])
    last, sums = jax.jit(intrinsic.discounted_sums)(initial, reward, jnp.float32(0.9))
    total = initial.astype(np.float64)
    for t in range(6):
        total = 0.9 * total + reward[t]
        np.testing.assert_allclose(sums[t], total, rtol=1e-5)
    np.testing.assert_array_equal(last, sums[-1])
