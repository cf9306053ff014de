"""The stores without priorities; see test_prioritized.py for the other."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same
from streams import (
    SPEC,
    check_transition,
    example,
    make_stream,
    plain_transition,
    rollouts,
    unbatched,
)

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.replay import rollout_stores, stores


def compiled(store):
    return stores.Store(*map(jax.jit, store))


def replay_config(length, envs, rows, **more):
    more = {"discount": 0.5, "batch_size": 16} | more
    config = Config(
        defaults="plain",
        num_envs=envs,
        update_steps=length * envs,
        buffer_size=rows * envs,
        **more,
    )
    lengths = loop_lengths.loop_lengths(config)
    assert (lengths.rollout_length, lengths.buffer_rows) == (length, rows)
    return config


def sample(store, state, seed=0):
    return store.sample(jax.random.key(seed), state, jnp.int32(0))


@pytest.mark.parametrize("n", [1, 3])
def test_uniform_draws_every_stored_step_with_its_successor(n, rng):
    store = compiled(stores.uniform(replay_config(4, 2, 12, n_step=n), SPEC))
    stream = make_stream(rng, 40, 2, 0.2, 0.2)
    state = store.init(example())
    for number, rollout in enumerate(rollouts(stream, 4), start=1):
        state = store.add(state, rollout)
        seen, unusable = set(), set()
        for seed in range(12):
            drawn = sample(store, state, seed)
            places, weights = np.asarray(drawn.place), np.asarray(drawn.weight)
            for i, one in enumerate(unbatched(drawn.example)):
                row, env = divmod(int(one.observation), 2)
                assert places[i] == row % 12 * 2 + env
                if plain_transition(stream, row, env, n, 0.5) is None:
                    assert weights[i] == 0
                    unusable.add((row, env))
                else:
                    assert weights[i] == 1
                    check_transition(one, stream, row, env, n, 0.5)
                    seen.add((row, env))
        stored = range(max(0, 4 * number - 12), 4 * number - n)
        assert seen | unusable == {(row, env) for row in stored for env in range(2)}


def test_uniform_ignores_priorities(rng):
    store = stores.uniform(replay_config(4, 2, 12), SPEC)
    state = store.add(store.init(example()), make_stream(rng, 4, 2))
    drawn = sample(store, state)
    assert same(store.update_priorities(state, drawn, jnp.ones(16)), state)


def test_uniform_reads_sequences_for_a_recurrent_network(rng, strict):
    config = replay_config(
        4, 2, 12, recurrent="lstm", burn_in=1, sequence_length=3, n_step=2
    )
    store = compiled(stores.uniform(config, SPEC))
    stream = make_stream(rng, 24, 2, 0.2, 0.2, memory=True)
    probability = rng.random((24, 2)).astype(np.float32)
    stream = stream._replace(action_probability=probability)
    first = example(memory=True)._replace(action_probability=jnp.zeros(()))
    state = store.init(first)
    for rollout in rollouts(stream, 4):
        state = store.add(state, rollout)
    starts = set()
    for seed in range(8):
        drawn = sample(store, state, seed)
        for one in unbatched(drawn.example):
            row, env = divmod(int(one.observation[0]), 2)
            starts.add(row)
            # 1 of burn-in, 3 to learn from, and 2 more for the last one's target.
            window = np.s_[row : row + 6, env]
            for field in (
                "observation", "action", "reward", "terminated", "truncated",
                "action_probability",
            ):  # fmt: skip
                np.testing.assert_array_equal(
                    getattr(one, field), getattr(stream, field)[window]
                )
            np.testing.assert_array_equal(one.memory, stream.memory[row, env])
    assert starts == set(range(12, 19))  # the last is 18: rows 18 to 23
    np.testing.assert_array_equal(drawn.weight, 1)


@pytest.mark.parametrize("length, envs, n", [(1, 1, 1), (1, 2, 3), (4, 2, 1)])
def test_the_sarsa_queue_yields_every_step_once_with_the_next_action(
    length, envs, n, rng, strict
):
    config = Config(
        defaults="plain",
        rollout_length=length, num_envs=envs, n_step=n, discount=0.5,
        next_value="sarsa",
    )  # fmt: skip
    store = compiled(rollout_stores.sarsa_queue(config, SPEC))
    stream = make_stream(rng, 40, envs, 0.2, 0.2)
    state, seen = store.init(example()), collections.Counter()
    for rollout in rollouts(stream, length):
        state = store.add(state, rollout)
        drawn = sample(store, state)
        assert drawn.weight.size == length * envs
        for one in itertools.compress(unbatched(drawn.example), drawn.weight):
            row, env = divmod(int(one.observation), envs)
            check_transition(one, stream, row, env, n, 0.5)  # next_action included
            seen[row, env] += 1
    # All but truncated steps and those whose successors are not stored yet.
    usable = {(row, env) for row in range(40 - n) for env in range(envs)}
    usable -= set(zip(*np.nonzero(stream.truncated), strict=True))
    assert set(seen) == usable and set(seen.values()) == {1}


def test_the_sarsa_queue_yields_nothing_from_before_the_start(rng):
    config = Config(
        defaults="plain", rollout_length=2, num_envs=2, n_step=3, next_value="sarsa"
    )
    store = compiled(rollout_stores.sarsa_queue(config, SPEC))
    stream = make_stream(rng, 6, 2, 0.0, 0.0)
    state, weights = store.init(example()), []
    for rollout in rollouts(stream, 2):
        state = store.add(state, rollout)
        weights.append(sample(store, state).weight.tolist())
    assert weights == [[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]


def plain_n_step(stream, t, e, n, gamma):
    """(reward, discount, true successor) of up to n steps within the rollout."""
    total, discount = 0.0, 1.0
    for k in range(t, min(t + n, stream.action.shape[0])):
        total += discount * stream.reward[k, e]
        discount *= gamma
        if stream.terminated[k, e]:
            discount = 0.0
        if stream.terminated[k, e] or stream.truncated[k, e]:
            break
    return total, discount, stream.next_observation[k, e]


@pytest.mark.parametrize("n", [1, 3, 9])
def test_the_current_rollout_sums_n_steps_within_it(n, rng, strict):
    config = Config(
        defaults="plain", rollout_length=6, num_envs=3, n_step=n, discount=0.5
    )
    store = compiled(rollout_stores.current_rollout(config, SPEC))
    state = store.init(example())
    stream = make_stream(rng, 18, 3, 0.2, 0.2)
    for rollout in rollouts(stream, 6):
        state = store.add(state, rollout)
        drawn = sample(store, state)
        np.testing.assert_array_equal(drawn.weight, np.ones(18))
        np.testing.assert_array_equal(
            drawn.example.observation, rollout.observation.reshape(-1)
        )
        for one, (t, e) in zip(unbatched(drawn.example), np.ndindex(6, 3), strict=True):
            reward, discount, after = plain_n_step(rollout, t, e, n, 0.5)
            assert one.action == rollout.action[t, e]
            np.testing.assert_allclose(one.reward, reward, atol=1e-5)
            np.testing.assert_allclose(one.discount, discount, rtol=1e-6)
            assert one.next_observation == after


def test_the_current_rollout_replaces_the_previous_one(rng):
    store = compiled(
        rollout_stores.current_rollout(
            Config(defaults="plain", rollout_length=2, num_envs=1), SPEC
        )
    )
    first, second = rollouts(make_stream(rng, 4, 1), 2)
    state = store.add(store.add(store.init(example()), first), second)
    only = store.add(store.init(example()), second)
    assert same(sample(store, state), sample(store, only))
