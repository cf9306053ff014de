"""The associative scan with resets, against the plainest loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import longest_path

from jaxq.rl import linear_recurrence

SHAPE = 2, 3


def draw(rng, shape, kind):
    values = rng.normal(size=shape)
    return values + 1j * rng.normal(size=shape) if kind == "complex" else values


def plain(decay, drive, ended, memory, initial):
    """States and final memory, step by step."""
    states = []
    for a, b, end in zip(decay, drive, ended, strict=True):
        memory = a * memory + b
        states.append(memory)
        if end:
            memory = initial
    return np.array(states), memory


def inputs(rng, length, kind):
    """Random inputs in double precision."""
    decay = draw(rng, (length, *SHAPE), kind)
    decay *= rng.uniform(0.3, 1.0, decay.shape) / np.abs(decay)
    drive = draw(rng, (length, *SHAPE), kind)
    return decay, drive, draw(rng, SHAPE, kind), draw(rng, SHAPE, kind)


def resets(rng, length):
    """Flags of the ends of episodes: none, all, each border, and random ones."""
    steps = np.arange(length)
    yield from (steps < 0, steps >= 0, steps == 0, steps == length - 1)
    for _ in range(4):
        yield rng.random(length) < 0.3


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("length", [1, 2, 3, 8, 21])
def test_the_scan_equals_the_loop(kind, length, rng, strict):
    scan = jax.jit(linear_recurrence.resettable_scan)
    narrow = np.complex64 if kind == "complex" else np.float32
    for ended in resets(rng, length):
        decay, drive, memory, initial = inputs(rng, length, kind)
        expected = plain(decay, drive, ended, memory, initial)
        floats = [x.astype(narrow) for x in (decay, drive, memory, initial)]
        actual = scan(*floats[:2], jnp.asarray(ended), *floats[2:])
        for left, right in zip(actual, expected, strict=True):
            assert left.dtype == narrow and left.shape == np.shape(right)
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_nothing_passes_a_reset(rng, strict):
    """Neither values nor gradients: the steps after it know only the initial memory."""
    decay, drive, memory, initial = map(np.float32, inputs(rng, 6, "real"))
    ended = np.arange(6) == 2

    def after(decay, drive, memory, initial):
        states, _ = linear_recurrence.resettable_scan(
            decay, drive, ended, memory, initial
        )
        return jnp.sum(states[3:] ** 2)

    gradients = jax.jit(jax.grad(after, argnums=(0, 1, 2, 3)))(
        decay, drive, memory, initial
    )
    assert not np.any(gradients[0][:3]) and not np.any(gradients[1][:3])
    assert not np.any(gradients[2])
    assert np.all(gradients[0][3:]) and np.all(gradients[1][3:])
    assert np.all(gradients[3])


def test_gradients_equal_those_of_the_loop(rng, strict):
    ended = np.arange(7) % 3 == 2
    arguments = [jnp.float32(x) for x in inputs(rng, 7, "real")]
    weight = jnp.float32(rng.normal(size=(7, *SHAPE)))

    def by_scan(decay, drive, memory, initial):
        states, last = linear_recurrence.resettable_scan(
            decay, drive, ended, memory, initial
        )
        return jnp.sum(weight * states) + jnp.sum(last**2)

    def by_loop(decay, drive, memory, initial):
        total = 0.0
        for t in range(7):
            memory = decay[t] * memory + drive[t]
            total += jnp.sum(weight[t] * memory)
            memory = initial if ended[t] else memory
        return total + jnp.sum(memory**2)

    every = (0, 1, 2, 3)
    actual = jax.jit(jax.grad(by_scan, every))(*arguments)
    expected = jax.jit(jax.grad(by_loop, every))(*arguments)
    for left, right in zip(actual, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_the_depth_grows_with_the_logarithm_of_the_length():
    def depth(length):
        shapes = [(length, 3)] * 2 + [(length,)] + [(3,)] * 2
        arrays = [jnp.zeros(shape) for shape in shapes]
        arrays[2] = arrays[2] > 0
        scan = jax.make_jaxpr(linear_recurrence.resettable_scan)(*arrays)
        assert not {"scan", "while"} & {str(e.primitive) for e in scan.eqns}
        return longest_path(scan.jaxpr)

    depths = [depth(2**power) for power in range(4, 10)]
    steps = np.diff(depths)
    assert depths[-1] < 200 and np.ptp(steps) == 0 and 0 < steps[0] < 25
