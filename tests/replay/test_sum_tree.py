import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxq.replay import sum_tree

CAPACITIES = [1, 63, 64, 65, 5000, 300_000]  # one to four levels
DRAWS, UPDATES = 20_000, 50
ALMOST_ONE = np.float32(1) - np.float32(2) ** -24

update = jax.jit(sum_tree.update)
draw = jax.jit(jax.vmap(sum_tree.draw, in_axes=(None, 0)))


def tree_of(mass):
    """A tree whose masses are mass[N], summed level by level in NumPy."""
    levels, level = [], np.asarray(mass, np.float64)
    for shape in jax.eval_shape(lambda: sum_tree.init(len(mass))):
        level = np.pad(level, (0, shape.size - level.size))
        levels.append(jnp.asarray(level, jnp.float32))
        level = level.reshape(-1, sum_tree.BRANCHES).sum(1)
    return tuple(levels)


def draws(tree, uniform):
    """`draw` for any number of shares; only one number is compiled."""
    actual = draw(tree, np.resize(np.asarray(uniform, np.float32), DRAWS))
    return np.asarray(actual)[: len(uniform)]


def updated(tree, place, mass):
    """`update` for up to UPDATES places, repeated to fill it up."""
    place, mass = (np.resize(values, UPDATES) for values in (place, mass))
    return update(tree, place, mass.astype(np.float32))


def check_sums(tree, rtol=1e-6):
    """Every node is the sum of its children; nodes without children are zero."""
    for low, high in itertools.pairwise(tree):
        sums = np.asarray(low, np.float64).reshape(-1, sum_tree.BRANCHES).sum(1)
        np.testing.assert_allclose(high[: sums.size], sums, rtol=rtol)
        assert not np.any(high[sums.size :])


def plain_update(mass, place, new):
    """Of equal places, the largest mass is kept."""
    for p in set(place.tolist()):
        mass[p] = new[place == p].max()


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_masses_and_sums_after_many_updates(capacity, rng):
    tree, mass = sum_tree.init(capacity), np.zeros(capacity, np.float32)
    for _ in range(40):
        place = rng.integers(0, capacity, UPDATES)
        place[25:] = rng.choice(place, 25)  # some are repeated
        new = rng.exponential(size=UPDATES) * (rng.random(UPDATES) < 0.7)
        new = new.astype(np.float32)
        plain_update(mass, place, new)
        tree = update(tree, place, new)
    np.testing.assert_array_equal(tree[0][:capacity], mass)
    assert not np.any(tree[0][capacity:])
    check_sums(tree)
    total = mass.sum(dtype=np.float64)
    np.testing.assert_allclose(sum_tree.total(tree), total, rtol=1e-6)


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_a_draw_is_a_search_in_the_running_sum(capacity, rng):
    # Whole masses whose total is a power of two have exact sums and shares.
    mass = rng.integers(0, 10, capacity) * (rng.random(capacity) < 0.77)
    total = 2 ** int(mass.sum()).bit_length()
    mass[rng.integers(capacity)] += total - mass.sum()
    tree = tree_of(mass)
    assert sum_tree.total(tree) == total <= 2**21
    # Half of the shares lie between places, and half perhaps on the edge of one.
    which = rng.integers(0, 2 * total, DRAWS) / 2
    actual = draws(tree, which / total)
    expected = np.searchsorted(np.cumsum(mass), which, side="right")
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("capacity", [65, 5000])
def test_a_draw_is_exact_except_near_a_boundary(capacity, rng):
    mass = rng.pareto(1.5, capacity).astype(np.float32)
    uniform = rng.random(DRAWS, np.float32)
    bounds = np.cumsum(mass, dtype=np.float64)
    wanted = uniform * bounds[-1]
    expected = np.searchsorted(bounds, wanted, side="right")
    edges = np.append(0, bounds)
    gap = np.minimum(wanted - edges[expected], edges[expected + 1] - wanted)
    near = gap < 1e-6 * bounds[-1]
    assert near.mean() < 0.1
    actual = draws(tree_of(mass), uniform)
    np.testing.assert_array_equal(actual[~near], expected[~near])
    assert np.abs(actual - expected).max() <= 1


@pytest.mark.parametrize("capacity", [64, 65, 5000, 300_000])
def test_zero_mass_is_never_sampled(capacity, rng):
    mass = 10.0 ** rng.uniform(-6, 6, capacity)  # sums swallow the small ones
    mass *= rng.random(capacity) < 0.1
    mass[0] = mass[-1] = 0.0
    mass[capacity // 2] = 1.0
    uniform = np.append([0, 2**-24, ALMOST_ONE, 1], rng.random(DRAWS - 4, np.float32))
    assert (mass[draws(tree_of(mass), uniform)] > 0).all()


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_the_only_positive_mass_is_always_drawn(capacity):
    edges = np.array([0, 1, 62, 63, 64, 4095, 4096, 262_143, 262_144, capacity - 1])
    places = np.unique(edges[edges < capacity])

    uniform = [0, 0.3, 0.5, ALMOST_ONE, 1]
    for place in places:
        for mass in (1e-6, 1.0, 1e6):
            tree = updated(sum_tree.init(capacity), [place], np.array([mass]))
            np.testing.assert_array_equal(draws(tree, uniform), place)


def test_frequencies_are_in_proportion_to_the_masses(rng):
    mass = rng.exponential(size=150) * (rng.random(150) < 0.8)
    tree = tree_of(mass)
    keys = jax.random.split(jax.random.key(0), 100_000)
    place = jax.jit(jax.vmap(lambda key: sum_tree.sample(key, tree, 1)))(keys)
    counts = np.bincount(place.reshape(-1), minlength=150)
    assert not counts[mass == 0].any()
    share = mass[mass > 0] / mass.sum()
    test = scipy.stats.chisquare(counts[mass > 0], share * keys.size)
    assert test.pvalue > 1e-4


def test_a_minibatch_has_one_draw_in_every_equal_share(rng):
    mass = rng.integers(0, 10, 150)
    tree, total, upper = tree_of(mass), mass.sum(), np.cumsum(mass)
    keys = jax.random.split(jax.random.key(1), 2000)
    sample = jax.jit(jax.vmap(lambda key: sum_tree.sample(key, tree, 32)))
    place = np.asarray(sample(keys))
    share = np.arange(32) / 32 * total
    assert (upper[place] > share).all()
    assert (upper[place] - mass[place] < share + total / 32).all()
    # Over many minibatches, the shares add up to the masses.
    counts = np.bincount(place.reshape(-1), minlength=150)
    np.testing.assert_allclose(counts / counts.sum(), mass / total, atol=2e-3)


def test_a_million_updates_leave_no_drift():
    """Sums that were kept by adding differences would have drifted by then.

    Priorities fall by four orders of magnitude, as they do while an agent learns, so
    that the rounding of the early, large sums would stay behind in the late ones.
    """
    capacity, batch, count = 5000, 100, 10_000

    def step(carry, key):
        tree, by_differences, time = carry
        place_key, mass_key = jax.random.split(key)
        start = jax.random.randint(place_key, (), 0, capacity)
        place = (start + 37 * jnp.arange(batch)) % capacity
        mass = 10 ** (4 - 4 * time / count) * jax.random.exponential(mass_key, (batch,))
        by_differences += jnp.sum(mass) - jnp.sum(tree[0][place])
        return (sum_tree.update(tree, place, mass), by_differences, time + 1), None

    @jax.jit
    def run(key):
        carry = sum_tree.init(capacity), jnp.zeros(()), jnp.int32(0)
        return jax.lax.scan(step, carry, jax.random.split(key, count))[0]

    tree, by_differences, _ = run(jax.random.key(0))
    mass = np.asarray(tree[0], np.float64)
    assert (mass[:capacity] > 0).all()
    check_sums(tree)
    np.testing.assert_allclose(sum_tree.total(tree), mass.sum(), rtol=1e-6)
    for level, nodes in enumerate(tree):
        below = np.zeros(nodes.size * sum_tree.BRANCHES**level)
        below[: mass.size] = mass
        np.testing.assert_allclose(
            nodes, below.reshape(nodes.size, -1).sum(1), rtol=1e-6
        )
    assert abs(by_differences / mass.sum() - 1) > 1e-5  # which this test would catch


BATCH = st.lists(
    st.tuples(st.integers(0, 64), st.integers(0, 20)), min_size=8, max_size=8
)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([1, 64, 65]), st.lists(BATCH, min_size=1, max_size=6))
def test_any_updates_and_every_draw(capacity, batches):
    tree, mass = sum_tree.init(capacity), np.zeros(capacity, np.int64)
    for batch in batches:
        place, new = np.array(batch).T
        place %= capacity
        plain_update(mass, place, new)
        tree = updated(tree, place, new)
    np.testing.assert_array_equal(tree[0][:capacity], mass)
    assert sum_tree.total(tree) == mass.sum()
    check_sums(tree, 0)
    if mass.sum() > 0:
        which = np.arange(1024) % mass.sum()
        actual = draws(tree, (which + 0.5) / mass.sum())
        expected = np.searchsorted(np.cumsum(mass), which, side="right")
        np.testing.assert_array_equal(actual, expected)


def test_levels_grow_with_the_logarithm_of_the_capacity():
    for levels, most in ((1, 8), (2, 8**2), (3, 8**3), (7, 8**7)):
        for capacity in (most // 8 + 1, most):
            tree = jax.eval_shape(lambda capacity=capacity: sum_tree.init(capacity))
            assert len(tree) == levels
            assert tree[0].size >= capacity and tree[-1].size == 8
