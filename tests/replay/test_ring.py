import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import same
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import (
    EXAMPLE,
    SPEC,
    check_transition,
    example,
    make_stream,
    plain_transition,
    rollouts,
)

from jaxq.replay import ring, transition_readers

GAMMA = 0.5


add = jax.jit(ring.add)
init = jax.jit(ring.init, static_argnums=(1, 2, 3))
gather = jax.jit(ring.gather, static_argnums=1)
sample_latest = jax.jit(ring.sample_latest, static_argnums=(1, 2, 3))
sample_uniform = jax.jit(ring.sample_uniform, static_argnums=(2, 3, 4))


def fill(stream, rows, length):
    memory = not isinstance(stream.memory, tuple)
    state = init(example(memory), rows, stream.action.shape[1], 3)
    for rollout in rollouts(stream, length):
        state = add(state, rollout)
    return state


@functools.cache
def transitions(n):
    return transition_readers.transitions(SPEC.observation, n, GAMMA)


def draw(state, seed, batch_size, n):
    return sample_uniform(jax.random.key(seed), state, transitions(n), batch_size, n)


@pytest.mark.parametrize("n", [1, 3])
def test_every_stored_transition_equals_the_stream(n, rng, strict):
    rows, envs, length = 20, 3, 4
    read = jax.jit(
        transition_readers.transitions(SPEC.observation, n, jnp.float32(GAMMA))
    )
    for total in (12, 40, 44):
        stream = make_stream(rng, total, envs)
        state = fill(stream, rows, length)
        starts = int(ring.num_starts(state, n))
        assert starts == min(total, rows) - n
        for t in range(total - n - starts, total - n):
            for e in range(envs):
                transition, weight = read(state, jnp.int32(t), jnp.int32(e))
                exists = plain_transition(stream, t, e, n, GAMMA) is not None
                assert float(weight) == exists
                if exists:
                    actual = jax.tree.map(np.asarray, transition)
                    check_transition(actual, stream, t, e, n, GAMMA)


def test_every_step_before_a_termination_is_drawn(rng):
    stream = make_stream(rng, 20, 3, p_terminated=0.5, p_truncated=0.2)
    sample = draw(fill(stream, 20, 4), 0, 60_000, 1)
    drawn = set(np.asarray(sample.example.observation)[sample.weight > 0].tolist())
    usable = ~stream.truncated
    usable[-1] = False  # the newest row waits for its successor
    assert drawn == set(stream.observation[usable].tolist())


def test_uniform_over_the_ring(rng):
    stream = make_stream(rng, 44, 3, p_truncated=0.0)
    sample = draw(fill(stream, 20, 4), 1, 60_000, 3)
    observation = np.asarray(sample.example.observation)
    counts = collections.Counter(observation.tolist())
    assert len(counts) == 17 * 3
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-4
    # Observation t * 3 + e lies in row t % 20, and its place is that times 3, plus e.
    np.testing.assert_array_equal(sample.place, observation % 60)


def test_no_transition_crosses_a_reset(rng):
    stream = make_stream(rng, 44, 3, p_terminated=0.2, p_truncated=0.2)
    sample = draw(fill(stream, 20, 4), 2, 60_000, 1)
    bootstraps = np.asarray((sample.weight > 0) & (sample.example.discount > 0))
    start = np.asarray(sample.example.observation)[bootstraps]
    after = np.asarray(sample.example.next_observation)[bootstraps]
    ends = stream.terminated | stream.truncated
    assert start.size > 20_000 and not ends.reshape(-1)[start.astype(int)].any()
    np.testing.assert_array_equal(after - start, 3)  # the next row, not a fresh episode


def test_the_newest_rows_with_successors_are_sampled_once_each(rng):
    stream = make_stream(rng, 8, 2, p_truncated=0.2)
    state = fill(stream, 8, 4)
    sample = sample_latest(state, transitions(2), 4, 2)
    np.testing.assert_array_equal(sample.example.observation, np.arange(4, 12))
    np.testing.assert_array_equal(sample.weight, ~stream.truncated[2:6].reshape(-1))


@pytest.mark.parametrize("start", [0, 3, 17, 35])
def test_a_sequence_is_rows_in_order_with_the_memory_of_the_first(start, rng):
    stream = make_stream(rng, 40, 2, memory=True)
    rows = 40 if start < 20 else 20  # the last sequences wrap around the ring's end
    state = fill(stream, rows, 4)
    read = jax.jit(transition_readers.sequences(SPEC.observation, 5))
    for e in range(2):
        actual, weight = read(state, jnp.int32(start), jnp.int32(e))
        window = np.s_[start : start + 5, e]
        assert weight == 1
        np.testing.assert_array_equal(actual.memory, stream.memory[start, e])
        for field in ("observation", "action", "reward", "terminated", "truncated"):
            expected = getattr(stream, field)[window]
            np.testing.assert_array_equal(getattr(actual, field), expected)


def test_a_transition_has_the_memory_of_its_first_row(rng):
    state = fill(make_stream(rng, 12, 2, memory=True), 8, 4)
    sample = draw(state, 3, 64, 2)
    observation = np.asarray(sample.example.observation)
    expected = np.stack([observation, -observation], -1)
    np.testing.assert_array_equal(sample.example.memory, expected)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2]),
    st.integers(1, 12),
    st.integers(0, 2**31),
)
def test_the_ring_holds_the_last_rows_in_order(length, envs, count, seed):
    rows = 3 * length
    rng = np.random.default_rng(seed)
    stream = make_stream(rng, count * length, envs, memory=True)
    state = fill(stream, rows, length)
    added = int(state.added.value)
    assert added == count * length
    oldest = max(0, added - rows)
    order = np.arange(oldest, added) % rows
    for field in ("observation", "action", "reward", "memory"):
        stored = np.asarray(getattr(state, field))[order]
        np.testing.assert_array_equal(stored, getattr(stream, field)[oldest:])
    ended = np.asarray(state.ended)[order]
    assert ended.dtype == np.uint8
    expected = stream.terminated[oldest:] + 2 * stream.truncated[oldest:]
    np.testing.assert_array_equal(ended, expected)


@pytest.mark.parametrize("shape", [(), (7,), (10, 10, 4)])
def test_booleans_are_stored_as_bits(shape, rng):
    observation = jnp.asarray(rng.random(shape) < 0.5)
    packed = ring.pack(observation)
    assert packed.dtype == jnp.uint8
    assert packed.size == -(-observation.size // 8)
    back = ring.unpack(packed, jax.ShapeDtypeStruct(shape, bool))
    np.testing.assert_array_equal(back, observation)


def test_boolean_observations_come_back_from_the_ring(rng):
    observation = rng.random((4, 2, 3, 3)) < 0.5
    grid = jnp.zeros((3, 3), bool)
    one = EXAMPLE._replace(observation=grid, next_observation=grid)
    state = init(one, 4, 2, 3)
    stream = make_stream(rng, 4, 2, 0.0, 0.0)._replace(
        observation=observation, next_observation=observation
    )
    state = add(state, stream)
    assert state.observation.shape == (4, 2, 2)  # nine bits in two bytes
    row, env = jnp.array([0, 2, 1]), jnp.array([1, 0, 0])
    sample = gather(state, transition_readers.transitions(grid, 1, GAMMA), row, env)
    np.testing.assert_array_equal(sample.example.observation, observation[row, env])
    after = observation[row + 1, env]
    np.testing.assert_array_equal(sample.example.next_observation, after)
    window = gather(state, transition_readers.sequences(grid, 2), row, env).example
    np.testing.assert_array_equal(window.observation[:, 1], after)


def test_minatar_breakout_takes_at_most_64_bytes_per_transition():
    observation = jnp.zeros((10, 10, 4), bool)
    one = EXAMPLE._replace(observation=observation, next_observation=observation)
    state = jax.eval_shape(lambda: ring.init(one, 1000, 1, num_actions=3))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert size / 1000 <= 64


@pytest.mark.parametrize("num_actions", [256, 257])
def test_the_last_action_survives_storage(num_actions, rng):
    state = init(EXAMPLE, 4, 1, num_actions)
    stream = make_stream(rng, 4, 1, 0.0, 0.0)
    stream = stream._replace(action=np.full((4, 1), num_actions - 1, np.int32))
    sample = sample_latest(add(state, stream), transitions(1), 3, 1)
    assert (sample.example.action == num_actions - 1).all()
    assert (sample.example.next_action == num_actions - 1).all()


def test_a_rollout_length_that_does_not_divide_the_ring_raises():
    state = ring.init(EXAMPLE, 10, 1, num_actions=2)
    rollout = jax.tree.map(lambda x: jnp.zeros((4, 1), x.dtype), EXAMPLE)
    with pytest.raises(ValueError, match="10 rows cannot hold rollouts of 4"):
        ring.add(state, rollout)


def test_the_same_key_draws_the_same(rng):
    state = fill(make_stream(rng, 40, 3), 20, 4)
    once, again, other = (draw(state, seed, 60_000, 1) for seed in (5, 5, 6))
    assert same(once, again)
    assert not same(once.place, other.place)


def test_work_of_sampling_does_not_depend_on_capacity():
    def work(rows):
        state = jax.eval_shape(lambda: ring.init(EXAMPLE, rows, 1, num_actions=2))
        arguments = jax.random.key(0), state, transitions(1), 32, 1
        compiled = sample_uniform.lower(*arguments).compile()
        memory = compiled.memory_analysis()
        return compiled.cost_analysis()["flops"], memory.temp_size_in_bytes

    assert work(10_000) == work(1_000_000)
