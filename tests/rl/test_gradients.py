"""Gradients of the heads' losses against central differences, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import softmax

from jaxq.rl import categorical, heads
from jaxq.rl.heads import (
    ProposedQuantiles,
    Quantiles,
    QuantileTarget,
)

STEP = 1e-6


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def check(loss, x, *rest):
    """The gradient of a function x -> (loss, priority) equals central differences."""
    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, priority), gradient = compiled(x, *rest)
    assert value.dtype == priority.dtype == gradient.dtype == jnp.float64
    expected = np.zeros_like(x)
    for i in range(x.size):
        shift = STEP * np.eye(x.size)[i]
        above, below = (compiled(x + sign * shift, *rest)[0][0] for sign in (1, -1))
        expected[i] = (above - below) / (2 * STEP)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    return gradient


HISTOGRAMS = {
    "categorical": lambda: categorical.categorical(7, -2.0, 3.0),
    "two_hot": lambda: categorical.two_hot(9, 0.0, 3.0),
    "hl_gauss": lambda: categorical.hl_gauss(8, -1.0, 4.0),
}


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_gradients_of_histograms(name, rng):
    head = HISTOGRAMS[name]()
    logits, next_output = rng.normal(size=(2, head.num_outputs))
    target = jax.jit(head.backup)(0.3, 0.9, next_output)
    assert target.dtype == jnp.float64
    gradient = check(head.loss, logits, target)
    # The gradient of cross-entropy in closed form: probabilities minus target.
    np.testing.assert_allclose(gradient, softmax(logits) - target, atol=1e-12)


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("rescaled", [False, True])
def test_gradients_of_scalars(loss, rescaled):
    head = heads.scalar(loss, 0.7, rescaled)
    target = jax.jit(head.backup)(0.4, 0.9, np.array([1.5]))
    errors = np.array([-2.0, -0.2, 0.1, 0.69, 0.71, 5.0])

    def total(outputs):
        values, priorities = jax.vmap(head.loss, in_axes=(0, None))(
            outputs[:, None], target
        )
        return jnp.sum(values), jnp.sum(priorities)

    gradient = check(total, np.asarray(target) - errors)
    slope = errors if loss == "squared" else np.clip(errors, -0.7, 0.7)
    np.testing.assert_allclose(gradient, -slope, rtol=1e-12)


def assert_away_from_kinks(value, target):
    error = np.asarray(target)[None, :] - value[:, None]
    assert np.abs(error).min() > 1e-4 and len(np.unique(error > 0)) == 2


@pytest.mark.parametrize("delta", [0.3, 1.0])
@pytest.mark.parametrize("rescaled", [False, True])
def test_gradients_of_quantiles(delta, rescaled, rng):
    head = heads.quantile(6, delta, rescaled)
    target = jax.jit(head.backup)(0.1, 0.9, rng.normal(size=4))
    value = rng.normal(size=6)
    assert_away_from_kinks(value, target.value)
    check(head.loss, value, target)


@pytest.mark.parametrize("proposed", [False, True])
def test_gradients_of_quantiles_at_varying_fractions(proposed, rng):
    value = rng.normal(size=5)
    fraction, weight = np.sort(rng.random(5)), rng.dirichlet(np.ones(5))
    target = QuantileTarget(rng.normal(size=7), rng.dirichlet(np.ones(7)))
    assert_away_from_kinks(value, target.value)
    edge, edge_value = np.sort(rng.random(4)), rng.normal(size=4)

    def loss(value):
        output = Quantiles(value, fraction, weight)
        if proposed:
            full = ProposedQuantiles(output, edge, edge_value, jnp.float64(1.2))
            return heads.fully_parameterized(0.3, 0.01).loss(full, target)
        return heads.implicit_quantile(0.3).loss(output, target)

    check(loss, value)
