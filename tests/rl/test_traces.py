"""Eligibility traces and the rules that follow them, in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq.rl import traces

SHAPES = {"kernel": (3, 4), "bias": (4,)}


def tree(rng):
    return {k: rng.normal(size=shape).astype(np.float32) for k, shape in SHAPES.items()}


def flat(tree):
    return np.concatenate([np.ravel(tree[k]) for k in SHAPES]).astype(np.float64)


def run(rule, rng, steps=30, rate=0.3, decay=0.7):
    """The steps of a rule along random gradients; and the gradients and TD errors."""
    params = tree(rng)
    state, trace = rule.init(params), jax.tree.map(np.zeros_like, params)
    update, found = jax.jit(rule.update), []
    for t in range(steps):
        gradient, error = tree(rng), np.float32(3 * rng.normal())
        trace = traces.accumulate(trace, gradient, decay, jnp.bool_(t % 7 == 6))
        step, state = update(state, gradient, trace, error, rate)
        found.append((flat(gradient), error, flat(trace), flat(step)))
    return found


def definition_of_traces(gradients, decay=0.7):
    z = np.zeros(16)
    for t, g in enumerate(gradients):
        z = g if t % 7 == 6 else decay * z + g
        yield z


def test_traces_accumulate_and_are_cut(rng):
    found = run(traces.gradient_descent(), rng)
    expected = definition_of_traces([g for g, *_ in found])
    for (_, error, trace, step), z in zip(found, expected, strict=True):
        np.testing.assert_allclose(trace, z, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(step, 0.3 * error * z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rate", [1.0, 1e-3])
def test_obgd_is_bounded_by_the_effective_step_size(rng, rate):
    bounded = 0
    for _, error, z, step in run(traces.overshooting_bounded(2.0), rng, rate=rate):
        m = rate * 2.0 * max(abs(error), 1.0) * np.abs(z).sum()
        alpha = min(rate / m, rate)
        bounded += alpha < rate
        np.testing.assert_allclose(step, alpha * error * z, rtol=1e-4, atol=1e-7)
    assert bounded == (30 if rate == 1.0 else 0)


def test_the_adaptive_rule_divides_by_the_root_of_the_mean_square(rng):
    v = np.zeros(16)
    for g, error, z, step in run(traces.adaptive(jnp.float32(0.7), 0.1), rng):
        v = 0.7 * v + 0.3 * g**2
        expected = 0.3 * error * z / (np.sqrt(v) + 0.1)
        np.testing.assert_allclose(step, expected, rtol=1e-4, atol=1e-6)


def test_the_intentional_rule_in_numpy(rng):
    v, norm, square = np.zeros(16), 0.0, 0.0
    rule = traces.intentional(jnp.float32(0.7), 0.99, 1e-8, 0.9, 1.2)
    clipped = 0
    for t, (g, error, z, step) in enumerate(run(rule, rng), start=1):
        v = 0.99 * v + 0.01 * g**2
        m = np.sqrt(v / (1 - 0.99**t)) + 1e-8
        norm = 0.7 * norm + 0.3 * np.sum(g**2 / m)
        size = np.sqrt(norm / (1 - 0.7**t) * np.sum(z**2 / m))
        square = 0.9 * square + 0.1 * error**2
        bound = 1.2 * np.sqrt(square / (1 - 0.9**t))
        clipped += abs(error) > bound
        expected = 0.3 / size * np.clip(error, -bound, bound) * z / m
        np.testing.assert_allclose(step, expected, rtol=1e-3, atol=1e-6)
    assert clipped > 0


def test_an_intentional_step_changes_a_linear_estimate_by_its_share(rng):
    """Without a trace, and at the first step: w x changes by alpha delta."""
    rule, x = traces.intentional(jnp.float32(0.0), 0.999, 1e-8), rng.normal(size=5)
    gradient = jnp.asarray(x, jnp.float32)
    step, _ = rule.update(rule.init(gradient), gradient, gradient, 2.0, 0.5)
    np.testing.assert_allclose(np.dot(step, x), 0.5 * 2.0, rtol=1e-4)
