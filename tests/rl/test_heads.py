"""Heads against their definitions; see also test_categorical and test_gradients."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from definitions import ALL

from jaxq.rl import heads, rescaling
from jaxq.rl.heads import (
    ProposedQuantiles,
    Quantiles,
    QuantileTarget,
)

CASES = 60


def assert_close(actual, expected, **tolerance):
    tolerance = {"rtol": 2e-5, "atol": 2e-5} | tolerance
    np.testing.assert_allclose(actual, expected, **tolerance)


@pytest.mark.parametrize("name", ALL)
def test_a_head_equals_its_definition(name, rng, strict):
    plain = ALL[name]
    head = plain.head

    @jax.jit
    @jax.vmap
    def evaluate(output, reward, discount, next_output):
        target = head.backup(reward, discount, next_output)
        return head.q_values(output), target, head.loss(output[1], target)

    output = rng.normal(size=(CASES, 3, head.num_outputs)).astype(np.float32)
    reward = (3 * rng.normal(size=CASES)).astype(np.float32)
    discount = rng.choice([0.0, 0.5, 0.99], CASES).astype(np.float32)
    next_output = (2 * rng.normal(size=(CASES, head.num_outputs))).astype(np.float32)
    q_values, targets, (value, priority) = evaluate(
        output, reward, discount, next_output
    )
    for i in range(CASES):
        assert_close(q_values[i], plain.q_values(output[i]))
        target = plain.backup(reward[i], discount[i], np.float64(next_output[i]))
        actual = jax.tree.map(lambda leaf, i=i: leaf[i], targets)
        if isinstance(actual, QuantileTarget):
            assert_close(actual.weight, 1 / head.num_outputs)
            actual = actual.value
        assert_close(actual, target)
        expected = plain.loss(output[i, 1].astype(np.float64), target)
        assert_close((value[i], priority[i]), expected, rtol=2e-4)


def test_an_unknown_loss_raises():
    with pytest.raises(ValueError, match="'cubed': choose one of squared, huber"):
        heads.scalar("cubed")


SIZES = np.concatenate([[0.0], np.geomspace(1e-6, 1e5, 200)])
VALUES = np.concatenate([-SIZES[::-1], SIZES])


def test_rescaling_equals_its_formula_and_is_inverted():
    x = jnp.asarray(VALUES, jnp.float32)
    exact = np.asarray(x, np.float64)
    rescaled, restored, again = jax.jit(
        lambda x: (
            rescaling.rescale(x),
            rescaling.unrescale(rescaling.rescale(x)),
            rescaling.rescale(rescaling.unrescale(x)),
        )
    )(x)
    # sqrt(|x| + 1) - 1 without cancellation near zero.
    root = np.expm1(np.log1p(abs(exact)) / 2)
    np.testing.assert_allclose(rescaled, np.sign(x) * root + 1e-3 * exact, rtol=1e-6)
    np.testing.assert_allclose(restored, x, rtol=2e-6)
    np.testing.assert_allclose(again, x, rtol=2e-6)


def test_rescaling_has_the_right_slope_even_at_zero():
    x = jnp.asarray([-50.0, -1.0, 0.0, 1e-3, 3.0])
    slope = 0.5 / np.sqrt(abs(np.asarray(x)) + 1) + 1e-3
    gradient = jax.jit(jax.vmap(jax.grad(rescaling.rescale)))(x)
    np.testing.assert_allclose(gradient, slope, rtol=1e-5)
    inverse = jax.jit(jax.vmap(jax.grad(rescaling.unrescale)))(rescaling.rescale(x))
    np.testing.assert_allclose(inverse, 1 / slope, rtol=1e-5)


def test_rescaling_preserves_minus_infinity_and_nan():
    first = jax.value_and_grad(lambda y: rescaling.unrescale(y)[0])
    value, gradient = jax.jit(first)(np.array([2.0, -np.inf], np.float32))
    assert np.isfinite(value) and np.isfinite(gradient).all()
    infinite, not_a_number = jax.jit(rescaling.unrescale)(np.array([-np.inf, np.nan]))
    assert infinite == -np.inf and np.isnan(not_a_number)


def test_the_quantile_loss_is_minimal_at_the_quantiles_of_the_target(rng):
    """The order matters, too: fraction 0.1 is close to the smallest samples."""
    samples = jnp.asarray(np.sort(rng.normal(size=1000)) * 3 + 1, jnp.float32)
    target = QuantileTarget(samples, jnp.full(1000, 1e-3))
    fraction = jnp.array([0.1, 0.5, 0.9])

    def loss(value):
        return heads.quantile_loss(value, fraction, target, 0.01)[0]

    value = jnp.zeros(3)
    step = jax.jit(lambda value: value - 0.2 * jax.grad(loss)(value))
    for _ in range(300):
        value = step(value)
    np.testing.assert_allclose(value, np.quantile(samples, fraction), atol=0.1)


def random_quantiles(rng, actions=3, size=4):
    value = rng.normal(size=(actions, size)).astype(np.float32)
    fraction = np.sort(rng.random((actions, size)), axis=1).astype(np.float32)
    weight = rng.dirichlet(np.ones(size), actions).astype(np.float32)
    return Quantiles(value, fraction, weight)


def row(tree, index=1):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], tree)


def test_implicit_quantiles_equal_their_definition(rng, strict):
    head = heads.implicit_quantile(jnp.float32(0.6))
    loss, plain = jax.jit(head.loss), jax.jit(heads.quantile_loss)
    for _ in range(30):
        output, next_output = random_quantiles(rng), random_quantiles(rng, size=6)
        mean = [sum(w * v) for v, w in zip(output.value, output.weight, strict=True)]
        assert_close(head.q_values(output), mean)
        target = head.backup(jnp.float32(0.5), jnp.float32(0.9), row(next_output))
        samples = 0.5 + 0.9 * next_output.value[1]
        assert_close(target.value, samples)
        assert_close(target.weight, next_output.weight[1])
        expected = definitions.quantile_loss(
            output.value[1], output.fraction[1], samples, next_output.weight[1], 0.6
        )
        value, priority = loss(row(output), target)
        assert_close(value, expected)
        assert_close(priority, abs(samples @ next_output.weight[1] - mean[1]))
        value, priority = plain(output.value[1], output.fraction[1], target, 0.6)
        assert_close(value, expected)
        assert_close(
            priority, abs(samples @ next_output.weight[1] - output.value[1].mean())
        )


def proposed(rng, quantile_function, edge):
    """Quantiles of a known distribution between proposed fractions, for one action."""
    ends = np.concatenate([[0.0], edge, [1.0]])
    middle = (ends[1:] + ends[:-1]) / 2
    quantiles = Quantiles(quantile_function(middle), middle, np.diff(ends))
    output = ProposedQuantiles(
        quantiles, edge, quantile_function(edge), np.float32(rng.random())
    )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), output)


def random_target(rng):
    value = jnp.asarray(rng.normal(size=5), jnp.float32)
    return QuantileTarget(value, jnp.full(5, 0.2))


def wasserstein(quantile_function, edge):
    """Integral of |F(t) - F(midpoint of t's interval)|, by the midpoint rule."""
    grid = (np.arange(100_000) + 0.5) / 100_000
    ends = np.concatenate([[0.0], edge, [1.0]])
    middle = (ends[1:] + ends[:-1]) / 2
    step = quantile_function(middle)[np.searchsorted(edge, grid)]
    return np.mean(abs(quantile_function(grid) - step))


@pytest.mark.parametrize("function", [np.square, scipy.stats.norm.ppf])
def test_proposed_fractions_descend_the_wasserstein_distance(function, rng):
    edge = np.array([0.1, 0.35, 0.6, 0.8])
    output, target = proposed(rng, function, edge), random_target(rng)
    head = heads.fully_parameterized(1.0, 0.0)
    gradient = jax.jit(jax.grad(head.loss, has_aux=True))(output, target)[0]
    ends = np.concatenate([[0.0], edge, [1.0]])
    h = 1e-2
    for i in range(4):
        above, below = (ends[i + 1] + ends[i + 2]) / 2, (ends[i] + ends[i + 1]) / 2
        slope = 2 * function(edge[i]) - function(above) - function(below)
        assert_close(gradient.edge[i], slope)
        shift = h * np.eye(4)[i]
        difference = wasserstein(function, edge + shift)
        difference -= wasserstein(function, edge - shift)
        np.testing.assert_allclose(difference / (2 * h), slope, atol=2e-3)


def test_the_proposal_changes_the_gradient_but_not_the_loss(rng):
    output, target = proposed(rng, np.square, np.array([0.2, 0.5])), random_target(rng)
    head, inner = heads.fully_parameterized(0.8, 0.01), heads.implicit_quantile(0.8)
    loss, inner_loss = (
        jax.jit(jax.value_and_grad(h.loss, has_aux=True)) for h in (head, inner)
    )
    value, gradient = loss(output, target)
    expected, quantiles = inner_loss(output.quantiles, target)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient.quantiles.value, quantiles.value, rtol=1e-5)
    assert np.any(gradient.edge) and np.any(gradient.quantiles.value)
    assert not np.any(gradient.edge_value) and not np.any(gradient.quantiles.fraction)
    assert not np.any(gradient.quantiles.weight)
    np.testing.assert_allclose(gradient.entropy, -0.01)


def test_proposed_quantiles_back_up_like_implicit_ones(rng):
    output = proposed(rng, np.square, np.array([0.2, 0.5]))
    head, inner = heads.fully_parameterized(), heads.implicit_quantile()
    batch = jax.tree.map(lambda leaf: leaf[None], output)
    weights, values = output.quantiles.weight, output.quantiles.value
    np.testing.assert_allclose(head.q_values(batch), [weights @ values], rtol=1e-6)
    target = head.backup(jnp.float32(1), jnp.float32(0.5), output)
    expected = inner.backup(jnp.float32(1), jnp.float32(0.5), output.quantiles)
    np.testing.assert_array_equal(target.value, expected.value)
    np.testing.assert_array_equal(target.weight, expected.weight)
