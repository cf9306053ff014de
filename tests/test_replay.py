import collections
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxq import replay
from jaxq.types import Step

GAMMA = 0.5


def make_stream(rng, time, envs, p_terminated=0.1, p_truncated=0.1, shape=()):
    """Steps whose observations are unique, so that every successor can be checked."""
    observation = np.arange(time * envs, dtype=np.float32).reshape(time, envs)
    terminated = rng.random((time, envs)) < p_terminated
    truncated = (rng.random((time, envs)) < p_truncated) & ~terminated
    following = np.vstack([observation[1:], np.full((1, envs), -2.0, np.float32)])
    final = np.where(terminated | truncated, -1.0, following).astype(np.float32)
    return Step(
        observation=observation,
        action=rng.integers(0, 3, (time, envs)).astype(np.int32),
        reward=rng.normal(size=(time, envs)).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observation=final,
    )


EXAMPLE = Step(
    jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.bool_(0), jnp.bool_(0),
    jnp.float32(0),
)  # fmt: skip


def fill(stream, rows, length):
    state = replay.init(EXAMPLE, rows, stream.action.shape[1], num_actions=3)
    add = jax.jit(replay.add)
    for start in range(0, stream.action.shape[0], length):
        state = add(
            state,
            jax.tree.map(operator.itemgetter(slice(start, start + length)), stream),
        )
    return state


def plain_transition(stream, t, e, n):
    """The transition from the stream itself; None if there is none."""
    if stream.truncated[t, e]:
        return None
    reward, discount = 0.0, 1.0
    for k in range(n):
        if stream.truncated[t + k, e]:  # ends before it
            return reward, discount, stream.observation[t + k, e]
        reward += discount * stream.reward[t + k, e]
        discount *= GAMMA
        if stream.terminated[t + k, e]:
            return reward, 0.0, None
    return reward, discount, stream.observation[t + n, e]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("total", [12, 40, 44])
def test_every_stored_transition_equals_the_stream(n, total, rng, strict):
    rows, envs, length = 20, 3, 4
    stream = make_stream(rng, total, envs)
    state = fill(stream, rows, length)
    read = jax.jit(replay.read, static_argnums=4)
    starts = int(replay.num_starts(state, n))
    assert starts == min(total, rows) - n
    for t in range(total - n - starts, total - n):
        for e in range(envs):
            transition, weight = read(
                state, EXAMPLE.observation, jnp.int32(t), jnp.int32(e), n,
                jnp.float32(GAMMA),
            )  # fmt: skip
            expected = plain_transition(stream, t, e, n)
            assert float(weight) == (expected is not None)
            if expected is None:
                continue
            assert transition.observation == stream.observation[t, e]
            assert transition.action == stream.action[t, e]
            np.testing.assert_allclose(transition.reward, expected[0], atol=1e-6)
            assert transition.discount == expected[1]
            if expected[2] is not None:
                assert transition.next_observation == expected[2]


def test_every_step_before_a_termination_is_drawn(rng):
    stream = make_stream(rng, 16, 2, p_terminated=0.5, p_truncated=0.2)
    state = fill(stream, 16, 4)
    sample = replay.sample_uniform(
        jax.random.key(0), state, EXAMPLE.observation, 4096, 1, jnp.float32(GAMMA)
    )
    drawn = set(np.asarray(sample.transition.observation)[sample.weight > 0].tolist())
    usable = ~stream.truncated
    usable[-1] = False  # the newest row waits for its successor
    assert drawn == set(stream.observation[usable].tolist())


def test_uniform_over_the_ring(rng):
    stream = make_stream(rng, 44, 3, p_truncated=0.0)
    state = fill(stream, 20, 4)
    sample = jax.jit(replay.sample_uniform, static_argnums=(3, 4))(
        jax.random.key(1), state, EXAMPLE.observation, 60_000, 3, jnp.float32(GAMMA)
    )
    counts = collections.Counter(np.asarray(sample.transition.observation).tolist())
    assert len(counts) == 17 * 3
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-4
    row, env = np.asarray(sample.place).T
    assert row.max() < 20 and env.max() < 3


def test_no_transition_crosses_a_reset(rng):
    stream = make_stream(rng, 40, 2, p_terminated=0.2, p_truncated=0.2)
    state = fill(stream, 40, 4)
    sample = replay.sample_uniform(
        jax.random.key(2), state, EXAMPLE.observation, 2000, 1, jnp.float32(GAMMA)
    )
    bootstraps = np.asarray((sample.weight > 0) & (sample.transition.discount > 0))
    start = np.asarray(sample.transition.observation)[bootstraps]
    after = np.asarray(sample.transition.next_observation)[bootstraps]
    np.testing.assert_array_equal(after - start, 2)  # the next row, not a fresh episode


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 12), st.integers(0, 2**31))
def test_the_ring_holds_the_last_rows_in_order(length, envs, rollouts, seed):
    rows = 3 * length
    stream = make_stream(np.random.default_rng(seed), rollouts * length, envs)
    state = fill(stream, rows, length)
    added = int(state.added.value)
    assert added == rollouts * length
    oldest = max(0, added - rows)
    order = np.arange(oldest, added) % rows
    np.testing.assert_array_equal(
        np.asarray(state.observation)[order], stream.observation[oldest:]
    )


@pytest.mark.parametrize("shape", [(), (7,), (10, 10, 4)])
def test_booleans_are_stored_as_bits(shape, rng):
    observation = jnp.asarray(rng.random(shape) < 0.5)
    packed = replay.pack(observation)
    assert packed.dtype == jnp.uint8
    assert packed.size == -(-observation.size // 8)
    back = replay.unpack(packed, jax.ShapeDtypeStruct(shape, bool))
    np.testing.assert_array_equal(back, observation)


def test_minatar_breakout_takes_at_most_64_bytes_a_transition():
    observation = jnp.zeros((10, 10, 4), bool)
    example = EXAMPLE._replace(observation=observation, next_observation=observation)
    state = jax.eval_shape(lambda: replay.init(example, 1000, 1, num_actions=3))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert size / 1000 <= 64


def test_a_ring_that_does_not_fit_its_rollouts_is_refused():
    state = replay.init(EXAMPLE, 10, 1, num_actions=2)
    rollout = jax.tree.map(lambda x: jnp.zeros((4, 1), x.dtype), EXAMPLE)
    with pytest.raises(ValueError, match="10 rows cannot take rollouts of 4"):
        replay.add(state, rollout)


def test_work_of_sampling_does_not_depend_on_capacity():
    def flops(rows):
        state = jax.eval_shape(lambda: replay.init(EXAMPLE, rows, 1, num_actions=2))
        sample = jax.jit(replay.sample_uniform, static_argnums=(3, 4))
        lowered = sample.lower(
            jax.random.key(0), state, EXAMPLE.observation, 32, 1, jnp.float32(0.9)
        )
        compiled = lowered.compile()
        memory = compiled.memory_analysis()
        return compiled.cost_analysis()["flops"], memory.temp_size_in_bytes

    assert flops(10_000) == flops(1_000_000)
