"""Stacks of frames, of which the ring stores each frame once."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import SPEC, example, make_stream, plain_transition, rollouts, unbatched
from test_stores import compiled, replay_config

from jaxq.config.config import Config
from jaxq.replay import rollout_stores, stores
from jaxq.types import MaskedObservation

K = 3
STACKED = SPEC._replace(
    frame=SPEC.observation, observation=jax.ShapeDtypeStruct((K,), jnp.float32)
)
EXAMPLE = example()._replace(observation=jnp.zeros(K), next_observation=jnp.zeros(K))


def plain_stack(stream, row, env):
    """The last K frames of the episode; the first is repeated before its start."""
    first = row
    while first > 0 and not (
        stream.terminated[first - 1, env] or stream.truncated[first - 1, env]
    ):
        first -= 1
    rows = [max(row - back, first) for back in reversed(range(K))]
    return np.array([stream.observation[r, env] for r in rows])


def stacked(stream):
    """The stream as an environment with stacked frames returns it."""
    stacks = np.empty((*stream.action.shape, K), np.float32)
    for at in np.ndindex(stream.action.shape):
        stacks[at] = plain_stack(stream, *at)
    successor = np.concatenate(
        [stacks[..., 1:], stream.next_observation[..., None]], axis=-1
    )
    return stream._replace(observation=stacks, next_observation=successor)


def check(one, stream, envs, n):
    """Assert that a transition has the stacks of its row; return (row, env)."""
    row, env = divmod(int(one.observation[-1]), envs)
    np.testing.assert_array_equal(one.observation, plain_stack(stream, row, env))
    _, _, successor = plain_transition(stream, row, env, n, 0.5)
    if successor is not None:
        expected = plain_stack(stream, successor, env)
        np.testing.assert_array_equal(one.next_observation, expected)
    return row, env


@pytest.mark.parametrize("kind", [stores.uniform, stores.proportional])
@pytest.mark.parametrize("n", [1, 3])
def test_replayed_stacks_are_those_that_were_observed(kind, n, rng):
    config = replay_config(4, 2, 12, n_step=n, frame_stack=K)
    store = compiled(kind(config, STACKED))
    stream = make_stream(rng, 44, 2, 0.15, 0.15)
    state = store.init(EXAMPLE)
    for number, rollout in enumerate(rollouts(stacked(stream), 4), start=1):
        state = store.add(state, rollout)
        seen = set()
        for seed in range(16):
            drawn = store.sample(jax.random.key(seed), state, jnp.int32(0))
            usable = np.asarray(drawn.weight) > 0
            for one in itertools.compress(unbatched(drawn.example), usable):
                seen.add(check(one, stream, 2, n))
        # Of a full ring, the K - 1 oldest rows have lost frames that they may need.
        oldest = 4 * number - 12 + K - 1 if 4 * number >= 12 else 0
        expected = {
            (row, env)
            for row in range(oldest, 4 * number - n)
            for env in range(2)
            if not stream.truncated[row, env]
        }
        assert seen == expected
    ring = getattr(state, "ring", state)
    assert ring.observation.shape == (12, 2)  # one frame per step


def test_an_end_in_the_first_row_does_not_hide_its_frame(rng, strict):
    store = compiled(stores.uniform(replay_config(4, 2, 12, frame_stack=K), STACKED))
    stream = make_stream(rng, 4, 2, 0.0, 0.0)
    stream.terminated[0] = True
    state = store.add(store.init(EXAMPLE), stacked(stream))
    drawn = store.sample(jax.random.key(0), state, jnp.int32(0))
    rows = {check(one, stream, 2, 1)[0] for one in unbatched(drawn.example)}
    assert rows == {0, 1, 2}


def test_sequences_hold_the_stack_of_every_step(rng, strict):
    config = replay_config(
        4, 2, 16, recurrent="lstm", burn_in=1, sequence_length=3, n_step=2,
        frame_stack=K,
    )  # fmt: skip
    store = compiled(stores.uniform(config, STACKED))
    stream = make_stream(rng, 40, 2, 0.2, 0.2)
    state = store.init(EXAMPLE)
    for rollout in rollouts(stacked(stream), 4):
        state = store.add(state, rollout)
    starts = set()
    for seed in range(8):
        drawn = store.sample(jax.random.key(seed), state, jnp.int32(0))
        for one in unbatched(drawn.example):
            row, env = divmod(int(one.observation[0, -1]), 2)
            starts.add(row)
            expected = [plain_stack(stream, row + i, env) for i in range(6)]
            np.testing.assert_array_equal(one.observation, expected)
    assert starts == set(range(26, 35))


def test_the_sarsa_queue_keeps_the_frames_before_a_step(rng, strict):
    config = Config(
        defaults="plain",
        rollout_length=1,
        num_envs=2,
        discount=0.5,
        next_value="sarsa",
        frame_stack=K,
    )
    store = compiled(rollout_stores.sarsa_queue(config, STACKED))
    stream = make_stream(rng, 30, 2, 0.2, 0.2)
    state, seen = store.init(EXAMPLE), set()
    for rollout in rollouts(stacked(stream), 1):
        state = store.add(state, rollout)
        drawn = store.sample(jax.random.key(0), state, jnp.int32(0))
        usable = np.asarray(drawn.weight) > 0
        for one in itertools.compress(unbatched(drawn.example), usable):
            seen.add(check(one, stream, 2, 1))
    usable = {(row, env) for row in range(29) for env in range(2)}
    assert seen == usable - set(zip(*np.nonzero(stream.truncated), strict=True))


def test_a_stack_keeps_the_mask_of_its_newest_frame(rng):
    mask = jax.ShapeDtypeStruct((3,), jnp.bool_)
    spec = STACKED._replace(
        frame=MaskedObservation(SPEC.observation, mask),
        observation=MaskedObservation(STACKED.observation, mask),
    )
    stream = make_stream(rng, 12, 2, 0.2, 0.2)
    masks = rng.random((12, 2, 3)) < 0.5
    steps = stacked(stream)
    steps = steps._replace(
        observation=MaskedObservation(steps.observation, masks),
        next_observation=MaskedObservation(steps.next_observation, masks),
    )
    store = compiled(stores.uniform(replay_config(4, 2, 12, frame_stack=K), spec))
    state = store.init(EXAMPLE._replace(**{
        name: MaskedObservation(jnp.zeros(K), jnp.zeros(3, bool))
        for name in ("observation", "next_observation")
    }))  # fmt: skip
    for rollout in rollouts(steps, 4):
        state = store.add(state, rollout)
    drawn = store.sample(jax.random.key(0), state, jnp.int32(0))
    for one in unbatched(drawn.example):
        row, env = divmod(int(one.observation.observation[-1]), 2)
        np.testing.assert_array_equal(one.observation.action_mask, masks[row, env])
