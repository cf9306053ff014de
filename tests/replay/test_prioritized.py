"""Prioritised replay against a log of everything that happened."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from streams import SPEC, check_transition, example, make_stream, rollouts, unbatched

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.replay import ring, stores
from jaxq.training.pytree_arrays import seed_axes
from jaxq.types import counter


@functools.cache
def make(length, envs, rows, n=1, **more):
    """A configuration with rollouts of `length` steps, and its store, compiled."""
    more = {"discount": 0.5, "batch_size": 16, "priority_epsilon": 0.01} | more
    config = Config(
        defaults="plain",
        prioritized=True, num_envs=envs, update_steps=length * envs,
        buffer_size=rows * envs, n_step=n, **more,
    )  # fmt: skip
    lengths = loop_lengths.loop_lengths(config)
    assert (lengths.rollout_length, lengths.buffer_rows) == (length, rows)
    store = stores.proportional(config, SPEC)
    return config, stores.Store(*map(jax.jit, store))


class PlainPriorities:
    """The masses, by a plain reading of algorithm 1 of Schaul et al."""

    def __init__(self, config, stream, rows):
        self.config, self.stream, self.rows = config, stream, rows
        self.window = loop_lengths.window(config)
        self.added, self.largest, self.mass = 0, 1.0, {}

    def power(self, priority):
        shifted = priority + self.config.priority_epsilon
        return shifted**self.config.priority_exponent

    def add(self, length):
        self.added += length
        for row, env in list(self.mass):
            if row < self.added - self.rows:
                del self.mass[row, env]
        # Rows up to this one have a window of successors.
        for row in range(max(0, self.added - self.rows), self.added - self.window):
            for env in range(self.config.num_envs):
                skip = self.stream.truncated[row, env]
                skip &= self.config.recurrent == "none"
                if not skip and (row, env) not in self.mass:
                    self.mass[row, env] = self.power(self.largest)

    def update_priorities(self, cells, priority):
        finite = np.where(np.isfinite(priority), priority, self.largest)
        self.largest = max(self.largest, *finite.tolist())
        for at in set(cells):
            drawn_here = [other == at for other in cells]
            self.mass[at] = self.power(finite[drawn_here].max())

    def leaves(self, size):
        dense = np.zeros(size)
        for (row, env), mass in self.mass.items():
            dense[row % self.rows * self.config.num_envs + env] = mass
        return dense

    def find(self, place):
        """(row, env) of a place; it must have mass."""
        slot, env = divmod(int(place), self.config.num_envs)
        live = [at for at in self.mass if at[0] % self.rows == slot and at[1] == env]
        assert len(live) == 1
        return live[0]

    def weights(self, cells, updates):
        start = self.config.importance_exponent
        progress = min(1.0, updates / self.config.importance_updates)
        beta = start + (1 - start) * progress
        mass = np.array([self.mass[at] for at in cells])
        probability = mass / sum(self.mass.values())
        weight = (len(self.mass) * probability) ** -beta
        return weight / weight.max()


RECURRENT = {"recurrent": "gru", "burn_in": 1, "sequence_length": 2}


@pytest.mark.parametrize(
    "length, envs, rows, n, more",
    [
        (1, 1, 12, 3, {"priority_exponent": 1.0}),
        (4, 3, 12, 1, {}),
        (4, 3, 4, 3, {}),  # a rollout and its window are more than the ring
        (4, 2, 12, 2, RECURRENT),
    ],
)
def test_masses_draws_and_weights_equal_the_log(length, envs, rows, n, more, rng):
    more = {"importance_exponent": 0.4, "importance_updates": 50.0} | more
    config, store = make(length, envs, rows, n, **more)
    recurrent = config.recurrent != "none"
    stream = make_stream(rng, 120, envs, 0.15, 0.15, memory=recurrent)
    state = store.init(example(recurrent))
    plain, updates, draws = PlainPriorities(config, stream, rows), 0, 0

    def check_masses():
        leaves = np.asarray(state.tree[0])
        np.testing.assert_allclose(leaves, plain.leaves(leaves.size), rtol=1e-5)

    for rollout in rollouts(stream, length):
        state = store.add(state, rollout)
        plain.add(length)
        check_masses()
        if not plain.mass:
            continue
        for _ in range(2):
            sample = store.sample(jax.random.key(draws), state, jnp.int32(updates))
            cells = [plain.find(place) for place in np.asarray(sample.place)]
            expected = plain.weights(cells, updates)
            np.testing.assert_allclose(sample.weight, expected, rtol=1e-4)
            examples = unbatched(sample.example)
            for one, (row, env) in zip(examples, cells, strict=True):
                if recurrent:
                    window = np.s_[row : row + plain.window + 1, env]
                    np.testing.assert_array_equal(
                        one.observation, stream.observation[window]
                    )
                    np.testing.assert_array_equal(one.memory, stream.memory[row, env])
                else:
                    check_transition(one, stream, row, env, n, 0.5)
            priority = rng.exponential(size=16) * rng.choice([0.0, 0.1, 3.0], 16)
            priority[rng.random(16) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
            state = store.update_priorities(state, sample, jnp.float32(priority))
            plain.update_priorities(cells, priority.astype(np.float32))
            check_masses()
            np.testing.assert_allclose(state.largest, plain.largest, rtol=1e-6)
            updates, draws = updates + 1, draws + 1
    assert updates > 50  # beta has reached one


def drawn(state, places):
    """A minibatch of these places; those without mass have no weight."""
    place = jnp.array(places)
    return ring.Sample(None, state.tree[0][place], place)


def test_a_new_step_has_the_largest_priority_so_far(rng):
    _, store = make(2, 1, 8, priority_exponent=0.5)
    parts = list(rollouts(make_stream(rng, 6, 1, 0.0, 0.0), 2))
    state = store.add(store.add(store.init(example()), parts[0]), parts[1])
    at_first = (1 + 0.01) ** 0.5
    masses = [*[at_first] * 3, 0, 0]  # row 3 waits for its successor
    np.testing.assert_allclose(state.tree[0][:5], masses, rtol=1e-6)
    priority = jnp.array([4.0, 0.25])
    state = store.update_priorities(state, drawn(state, [0, 1]), priority)
    assert state.largest == 4
    state = store.add(state, parts[2])
    masses = [4.01**0.5, 0.26**0.5, at_first, 4.01**0.5, 4.01**0.5, 0]
    np.testing.assert_allclose(state.tree[0][:6], masses, rtol=1e-6)
    # The largest so far, not the largest that is stored.
    state = store.update_priorities(state, drawn(state, [0, 3, 4]), jnp.zeros(3))
    assert state.largest == 4


def test_zero_masses_remain_zero_after_an_update_of_priorities(rng):
    _, store = make(4, 2, 8, batch_size=64)
    stream = make_stream(rng, 4, 2, 0.0, 0.4)
    state = store.add(store.init(example()), stream)
    everywhere = drawn(state, range(16))
    state = store.update_priorities(state, everywhere, jnp.full(16, 9.0))
    usable = np.zeros((8, 2), bool)
    usable[:3] = ~stream.truncated[:3]
    assert 0 < usable.sum() < 6
    np.testing.assert_array_equal(state.tree[0][:16] > 0, usable.reshape(-1))


def test_terminal_steps_are_drawn(rng):
    _, store = make(4, 2, 8, batch_size=64)
    stream = make_stream(rng, 8, 2, 1.0, 0.0)
    state = store.init(example())
    for rollout in rollouts(stream, 4):
        state = store.add(state, rollout)
    sample = store.sample(jax.random.key(0), state, jnp.int32(0))
    drawn = set(np.asarray(sample.example.observation).tolist())
    assert drawn == set(range(14)) and not sample.example.discount.any()
    np.testing.assert_array_equal(sample.example.reward, stream.reward.reshape(-1)[
        np.asarray(sample.example.observation).astype(int)
    ])  # fmt: skip


@pytest.mark.parametrize("exponent", [0.0, 0.7])
def test_frequencies_are_in_proportion_to_a_power_of_the_priority(exponent, rng):
    _, store = make(4, 3, 20, batch_size=1, priority_exponent=exponent)
    stream = make_stream(rng, 44, 3)
    state = store.init(example())
    for rollout in rollouts(stream, 4):
        state = store.add(state, rollout)
    priority = rng.exponential(size=60).astype(np.float32)
    state = store.update_priorities(state, drawn(state, range(60)), priority)
    usable = ~stream.truncated[24:43].reshape(-1)  # the ring holds rows 24 to 43
    place = (np.arange(24 * 3, 43 * 3) % 60)[usable]
    expected = (np.float64(priority[place]) + 0.01) ** exponent
    keys = jax.random.split(jax.random.key(0), 40_000)
    sample = jax.vmap(store.sample, (0, None, None))(keys, state, jnp.int32(0))
    counts = collections.Counter(np.asarray(sample.place)[:, 0].tolist())
    assert set(counts) <= set(place.tolist())
    counts = [counts[p] for p in place.tolist()]
    test = scipy.stats.chisquare(counts, expected / expected.sum() * len(keys))
    assert test.pvalue > 1e-4
    if exponent == 0:
        np.testing.assert_allclose(sample.weight, 1, rtol=1e-6)
    # Row 24 + 16 = 40 is in row 0 of the ring: the observation says which was read.
    np.testing.assert_array_equal(sample.example.observation % 60, sample.place)


def test_a_rollout_without_a_usable_step_is_not_learned_from(rng):
    _, store = make(4, 2, 8, batch_size=64)
    state = store.add(store.init(example()), make_stream(rng, 4, 2, 0.0, 1.0))
    sample = store.sample(jax.random.key(0), state, jnp.int32(0))
    np.testing.assert_array_equal(sample.weight, 0)
    state = store.update_priorities(state, sample, jnp.ones(64))
    np.testing.assert_array_equal(state.tree[0], 0)


def test_vmapped_seeds_have_their_own_masses(rng):
    _, store = make(4, 2, 8, batch_size=64)
    streams = [make_stream(rng, 12, 2) for _ in range(2)]
    keys, priority = jax.random.split(jax.random.key(0)), rng.random((2, 64))

    def learn(state, rollouts, key, priority):
        for rollout in rollouts:
            state = store.add(state, rollout)
            sample = store.sample(key, state, jnp.int32(0))
            state = store.update_priorities(state, sample, jnp.float32(priority))
        return state, sample

    alone = [
        learn(store.init(example()), list(rollouts(stream, 4)), key, values)
        for stream, key, values in zip(streams, keys, priority, strict=True)
    ]
    both = jax.tree.map(lambda *leaves: np.stack(leaves, 1), *streams)
    parts = [jax.tree.map(lambda x: np.moveaxis(x, 1, 0), p) for p in rollouts(both, 4)]
    start = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), store.init(example()))
    start = start._replace(ring=start.ring._replace(added=counter()))
    axes = seed_axes(start), 0, 0, 0
    beside = jax.vmap(learn, axes, (seed_axes(start), 0))
    state, sample = beside(start, parts, keys, priority)
    assert state.ring.added.value == 12  # one counter for both
    for seed, (own_state, own_sample) in enumerate(alone):
        np.testing.assert_allclose(state.tree[0][seed], own_state.tree[0], rtol=1e-5)
        np.testing.assert_array_equal(sample.place[seed], own_sample.place)
        np.testing.assert_array_equal(
            sample.example.observation[seed], own_sample.example.observation
        )
