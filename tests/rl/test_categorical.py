"""Projections onto fixed atoms and bins; see also test_heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import softmax

from jaxq.rl import categorical

SUPPORTS = [(6, 0.0, 2.5), (51, -10.0, 10.0), (2, -1.0, 1.0)]


def targets_of(head, values):
    """The targets of known returns."""
    zeros = jnp.zeros(head.num_outputs)
    backup = jax.jit(jax.vmap(head.backup, in_axes=(0, None, None)))
    return np.asarray(backup(jnp.asarray(values, jnp.float32), jnp.float32(0), zeros))


@pytest.mark.parametrize("make", [categorical.categorical, categorical.two_hot])
@pytest.mark.parametrize("support", SUPPORTS)
def test_a_value_on_an_atom_puts_all_mass_there(make, support):
    size, low, high = support
    targets = targets_of(make(*support), np.linspace(low, high, size))
    np.testing.assert_allclose(targets, np.eye(size), atol=1e-5)


@pytest.mark.parametrize("make", [categorical.categorical, categorical.two_hot])
def test_values_beyond_the_support_are_clipped(make):
    head = make(5, 0.0, 2.0)
    targets = targets_of(head, [-1e-3, -5.0, -1e6, 2.01, 7.0, 1e6])
    np.testing.assert_array_equal(targets, np.eye(5)[[0, 0, 0, 4, 4, 4]])


@pytest.mark.parametrize(
    "make", [categorical.categorical, categorical.two_hot, categorical.hl_gauss]
)
def test_a_support_that_starts_at_zero_has_no_negative_values(make):
    head = make(10, 0.0, 5.0)
    lowest = jnp.array([[100.0] + [0.0] * 9])
    first = 0.25 if make is categorical.hl_gauss else 0.0  # the centre of a bin
    np.testing.assert_allclose(jax.jit(head.q_values)(lowest), [first], atol=1e-6)
    (target,) = targets_of(head, [-3.0])
    assert target[0] == target.max() > 0.4


@pytest.mark.parametrize("support", SUPPORTS)
def test_the_mean_is_preserved_inside_the_support(support, rng):
    size, low, high = support
    atoms = np.linspace(low, high, size)
    backups = [
        jax.jit(make(*support).backup)
        for make in (categorical.categorical, categorical.two_hot)
    ]
    for _ in range(50):
        logits = jnp.asarray(rng.normal(size=size), jnp.float32)
        mean = softmax(logits) @ atoms
        shrink = np.float32(rng.uniform(0, 0.9))
        # Chosen so that reward + shrink * [low, high] lies in [low, high].
        reward = np.float32(rng.uniform(low, high) * (1 - shrink))
        for backup in backups:
            target = np.asarray(backup(reward, shrink, logits))
            np.testing.assert_allclose(target.sum(), 1.0, rtol=1e-5)
            assert (target >= 0).all()
            np.testing.assert_allclose(
                target @ atoms, reward + shrink * mean, atol=1e-4 * (high - low)
            )


def test_two_hot_has_at_most_two_adjacent_atoms_and_preserves_the_value(rng):
    atoms = jnp.linspace(-4.0, 4.0, 9)
    project = jax.jit(categorical.two_hot_target)
    for value in rng.uniform(-4, 4, 50).astype(np.float32):
        target = np.asarray(project(value, atoms))
        hot = np.flatnonzero(target)
        assert len(hot) <= 2 and np.ptp(hot) <= 1
        np.testing.assert_allclose(target @ atoms, value, atol=1e-5)


def test_categorical_preserves_the_spread_that_two_hot_discards():
    inputs = np.float32(0), np.float32(1), np.array([5, 0, 0, 0, 5], np.float32)
    c51 = jax.jit(categorical.categorical(5, -2.0, 2.0).backup)(*inputs)
    np.testing.assert_allclose(c51, softmax(inputs[2]), atol=1e-6)
    single = jax.jit(categorical.two_hot(5, -2.0, 2.0).backup)(*inputs)
    np.testing.assert_allclose(single, np.eye(5)[2], atol=1e-6)


def test_gaussian_histograms_preserve_the_mean_away_from_the_bounds(rng):
    """The tails are symmetric there, and bins of 1.33 sigma quantize little."""
    head = categorical.hl_gauss(20, -10.0, 10.0)
    centres = np.linspace(-9.5, 9.5, 20)
    values = rng.uniform(-5, 5, 30)
    for value, target in zip(values, targets_of(head, values), strict=True):
        np.testing.assert_allclose(target @ centres, value, atol=1e-2)
        variance = target @ (centres - value) ** 2
        np.testing.assert_allclose(variance, 0.75**2 + 1 / 12, rtol=0.05)


@pytest.mark.parametrize("support", [(51, -10.0, 10.0), (101, 0.0, 100.0)])
def test_no_probability_is_negative_and_every_priority_is_finite(support):
    """In float32 the error function is not monotone: differences may be -6e-8."""
    head = categorical.hl_gauss(*support)

    @jax.jit
    @jax.vmap
    def smallest(value):
        target = head.backup(value, jnp.float32(0), jnp.zeros(head.num_outputs))
        loss, priority = head.loss(jnp.arange(head.num_outputs) / 10.0, target)
        return jnp.min(target), jnp.sum(target), loss, priority

    values = jnp.linspace(support[1] - 1, support[2] + 1, 100_000)
    least, total, loss, priority = map(np.asarray, smallest(values))
    assert (least >= 0).all()
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)
    assert np.isfinite(loss).all() and (priority > 0).all()


def test_the_priority_is_zero_only_if_the_distributions_agree(rng):
    cross_entropy = jax.jit(categorical.cross_entropy)
    for _ in range(30):
        logits, other = rng.normal(size=(2, 6)).astype(np.float32)
        same, different = softmax(logits), softmax(other)
        loss, priority = cross_entropy(logits, jnp.asarray(same, jnp.float32))
        np.testing.assert_allclose(priority, 0.0, atol=1e-6)
        assert loss > 0.1  # the cross-entropy is the entropy here, not zero
        loss, priority = cross_entropy(logits, jnp.asarray(different, jnp.float32))
        divergence = np.sum(different * np.log(different / same))
        np.testing.assert_allclose(priority, divergence, rtol=1e-4, atol=1e-6)
        assert priority > 1e-3


def test_an_atom_of_probability_zero_adds_nothing_to_the_loss(strict):
    target = jnp.array([0.0, 1.0, 0.0])
    logits = jnp.array([-200.0, 0.0, -200.0])
    with_gradient = jax.value_and_grad(categorical.cross_entropy, has_aux=True)
    (loss, priority), gradient = jax.jit(with_gradient)(logits, target)
    assert loss == 0 and priority == 0 and not np.any(gradient)


def test_the_support_may_be_traced():
    """A sweep vectorizes the bounds of the support as it does any traced setting."""

    def backup(high):
        head = categorical.categorical(5, jnp.float32(0.0), high)
        return head.backup(jnp.float32(1.0), jnp.float32(0.0), jnp.zeros(5))

    targets = jax.jit(jax.vmap(backup))(jnp.array([4.0, 2.0]))
    np.testing.assert_allclose(targets, [np.eye(5)[1], np.eye(5)[2]], atol=1e-6)
