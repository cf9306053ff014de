"""The loss of predicted features, against its definition in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import primitives, slope

from jaxq.rl import self_prediction


def plain_loss(prediction, target, ended):
    """Minus the sum of cosines, step by step until the episode ends."""
    total = 0.0
    for p, y, end in zip(prediction, target, ended, strict=True):
        if end:
            break
        total -= np.dot(p, y) / (np.linalg.norm(p) * np.linalg.norm(y))
    return total


@pytest.mark.parametrize("steps", [1, 5])
def test_the_loss_is_minus_the_sum_of_cosines_until_the_episode_ends(steps, rng):
    counts = set()
    for _ in range(30):
        prediction, target = rng.normal(size=(2, steps, 7))
        ended = rng.random(steps) < 0.25
        reached = self_prediction.reached(jnp.asarray(ended))
        counts.add(int(reached.sum()))
        actual = self_prediction.prediction_loss(
            jnp.float32(prediction), jnp.float32(target), reached
        )
        expected = plain_loss(prediction, target, ended)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert len(counts) > min(steps, 3)


def test_the_mean_squared_distance_of_unit_vectors_has_the_same_minimum(rng):
    """5 mean_k |u_k - v_k|^2 = 10 + 2 L for K = 5: the authors' program and paper."""
    prediction, target = rng.normal(size=(2, 5, 6))
    unit, other = (
        x / np.linalg.norm(x, axis=-1)[:, None] for x in (prediction, target)
    )
    mean = np.mean(np.sum((unit - other) ** 2, axis=-1))
    loss = self_prediction.prediction_loss(
        jnp.float32(prediction), jnp.float32(target), jnp.ones(5)
    )
    np.testing.assert_allclose(5 * mean, 10 + 2 * loss, rtol=1e-5)


def test_gradients_enter_the_predictions_of_reached_steps_alone(rng):
    prediction, target = jnp.float32(rng.normal(size=(2, 3, 4)))
    reached = jnp.float32([1, 1, 0])
    of_prediction, of_target = jax.grad(self_prediction.prediction_loss, (0, 1))(
        prediction, target, reached
    )
    assert not of_target.any() and not of_prediction[2].any()
    assert (np.abs(of_prediction[:2]) > 0).all()
    # A longer prediction is not a better one, but for the 1e-6 added to its square.
    radial = jnp.sum(of_prediction * prediction, axis=-1)
    np.testing.assert_allclose(radial, 0.0, atol=1e-5)


def test_vectors_of_zeros_have_finite_gradients():
    zeros, ones = jnp.zeros((2, 3)), jnp.ones((2, 3))
    for pair in ((zeros, ones), (ones, zeros), (zeros, zeros)):
        value, gradient = jax.value_and_grad(self_prediction.prediction_loss)(
            *pair, jnp.ones(2)
        )
        assert value == 0 and np.isfinite(gradient).all()
    assert np.isfinite(jax.jacobian(self_prediction.unit_range)(jnp.ones(3))).all()


def test_features_are_scaled_to_the_unit_range(rng):
    x = rng.normal(size=(4, 6))
    low, high = x.min(axis=1)[:, None], x.max(axis=1)[:, None]
    actual = self_prediction.unit_range(jnp.float32(x))
    expected = (x - low) / (high - low + 1e-5)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_unit_range_does_not_count_equal_entries(rng):
    """Entries that were computed twice, and rounded anew, made it 0 / 0."""
    program = jax.make_jaxpr(jax.grad(lambda x: self_prediction.unit_range(x)[0]))
    names = primitives(program(jnp.ones(4)).jaxpr)
    assert "argmax" in names and not {"reduce_max", "reduce_min"} & names
    x = rng.normal(size=5)

    def scaled(x):
        return np.sum(np.arange(5) * (x - x.min()) / (x.max() - x.min() + 1e-5))

    actual = jax.grad(lambda x: self_prediction.unit_range(x) @ jnp.arange(5.0))
    np.testing.assert_allclose(actual(jnp.float32(x)), slope(scaled, x), rtol=1e-3)
