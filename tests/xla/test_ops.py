"""Tuned operations against their definitions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxq.xla import ops


@pytest.mark.parametrize("bound", [2, 7, 65_535, 65_536, 65_537, 10**6, 2**31 - 1])
def test_integers_are_the_high_word_of_a_product(bound):
    draw = jax.jit(ops.randint, static_argnums=1)
    key = jax.random.key(bound)
    actual = np.asarray(draw(key, 5_000, jnp.int32(bound))).astype(np.int64)
    bits = np.asarray(jax.random.bits(key, (5_000,), np.uint32)).astype(np.uint64)
    np.testing.assert_array_equal(actual, (bits * np.uint64(bound)) >> np.uint64(32))
    parts = min(bound, 50)
    counts = np.bincount(actual * parts // bound, minlength=parts)
    share = np.diff(np.ceil(np.arange(parts + 1) * bound / parts)) / bound
    assert scipy.stats.chisquare(counts, actual.size * share).pvalue > 1e-4
    assert not np.asarray(draw(key, 5_000, jnp.int32(1))).any()


@pytest.mark.parametrize("count", [1, 2, 7, 64, 65, 2**16, 2**16 + 1])
def test_permutation_is_a_permutation(count):
    keys = jax.random.split(jax.random.key(count), 3)
    orders = np.asarray(jax.vmap(lambda key: ops.permutation(key, count))(keys))
    assert orders.dtype == np.int32
    assert (np.sort(orders, axis=1) == np.arange(count)).all()
    assert count < 7 or (orders[0] != orders[1]).any()


def test_every_permutation_is_equally_likely():
    keys = jax.random.split(jax.random.key(0), 24_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: ops.permutation(key, 4)))(keys))
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert counts.size == math.factorial(4)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_the_cosines_are_those_of_numpy(rng):
    t = np.concatenate([rng.random(500), [0.0, 0.25, 0.5, 1.0]]).astype(np.float32)
    actual = jax.jit(jax.vmap(lambda t: ops.cos_multiples(t, 64)))(t)
    expected = np.cos(np.pi * np.arange(64) * t.astype(np.float64)[:, None])
    # A product i t / 2 of up to 32 is rounded to 2^-19 turns.
    np.testing.assert_allclose(actual, expected, atol=1.3e-5)
    few = np.asarray(actual)[:, :8]
    np.testing.assert_allclose(few, expected[:, :8], atol=2e-6)


def test_patches_equal_the_windows(rng):
    x = rng.normal(size=(10, 9, 4)).astype(np.float32)
    actual = np.asarray(ops.patches(jnp.asarray(x), 3))
    assert actual.shape == (8, 7, 36)
    for i in range(8):
        for j in range(7):
            window = x[i : i + 3, j : j + 3].reshape(-1)
            np.testing.assert_array_equal(actual[i, j], window)


def test_patches_and_a_matrix_equal_a_convolution(rng):
    x = rng.normal(size=(10, 10, 4)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 4, 16)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    actual = ops.patches(jnp.asarray(x), 3) @ kernel.reshape(36, 16)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_orthogonal_matrices_are_uniformly_random():
    keys = jax.random.split(jax.random.key(0), 4_000)
    drawn = np.asarray(jax.vmap(lambda k: ops.orthogonal(k, (3, 3)))(keys))
    # Haar: every entry has mean 0 and variance 1 / 3, and so has every product.
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose(drawn.var(axis=0), 1 / 3, atol=0.025)
    signs = np.linalg.det(drawn)
    np.testing.assert_allclose(abs(signs), 1.0, atol=1e-4)
    assert abs(signs.mean()) < 0.06
