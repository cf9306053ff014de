"""The steps that follow a replayed observation, as the stores yield them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import SPEC, example, make_stream, plain_transition, rollouts, unbatched
from test_frame_stacks import EXAMPLE, STACKED, K, plain_stack, stacked
from test_stores import compiled, replay_config

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.validate import validate
from jaxq.replay import stores

STEPS = 3


def plain_reached(stream, t, e):
    """1 for every observation after (t, e) of the same episode."""
    ended = stream.terminated[:, e] | stream.truncated[:, e]
    return [float(not ended[t : t + k].any()) for k in range(1, STEPS + 1)]


@pytest.mark.parametrize("kind", [stores.uniform, stores.proportional])
@pytest.mark.parametrize("n", [1, 5])
def test_successors_are_those_of_the_stream_and_marked_until_an_episode_ends(
    kind, n, rng
):
    config = replay_config(4, 2, 16, n_step=n, spr_steps=STEPS)
    assert loop_lengths.window(config) == max(n, STEPS)
    store = compiled(kind(config, SPEC))
    stream = make_stream(rng, 48, 2, 0.15, 0.15)
    state, marks = store.init(example()), set()
    for number, rollout in enumerate(rollouts(stream, 4), start=1):
        state = store.add(state, rollout)
        if 4 * number <= max(n, STEPS):
            continue
        seen = set()
        for seed in range(16):
            drawn = store.sample(jax.random.key(seed), state, jnp.int32(0))
            weight = np.asarray(drawn.weight)
            for i, one in enumerate(unbatched(drawn.example)):
                t, e = divmod(int(one.observation), 2)
                following = one.following
                rows = np.s_[t : t + STEPS, e], np.s_[t + 1 : t + STEPS + 1, e]
                np.testing.assert_array_equal(following.action, stream.action[rows[0]])
                later = stream.observation[rows[1]]
                np.testing.assert_array_equal(following.observation, later)
                reached = plain_reached(stream, t, e)
                np.testing.assert_array_equal(following.reached, reached)
                marks.add(tuple(reached))
                assert (weight[i] == 0) == stream.truncated[t, e]
                if weight[i]:
                    seen.add((t, e))
                    _, discount, _ = plain_transition(stream, t, e, n, 0.5)
                    np.testing.assert_allclose(one.discount, discount, rtol=1e-6)
        # Every stored step that all its successors follow, but for truncated ones;
        # among them those just before an end.
        stored = range(max(0, 4 * number - 16), 4 * number - max(n, STEPS))
        expected = {
            (t, e) for t in stored for e in range(2) if not stream.truncated[t, e]
        }
        assert seen == expected
    assert len(marks) == STEPS + 1


@pytest.mark.parametrize("estimator", ["n_step", "retrace"])
def test_stacks_of_frames_follow_too(estimator, rng):
    config = replay_config(
        4, 2, 16, spr_steps=STEPS, n_step=2, frame_stack=K,
        return_estimator=estimator,
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
            t, e = divmod(int(one.observation[-1]), 2)
            starts.add(t)
            np.testing.assert_array_equal(one.observation, plain_stack(stream, t, e))
            expected = [plain_stack(stream, t + k, e) for k in range(1, STEPS + 1)]
            np.testing.assert_array_equal(one.following.observation, expected)
            reached = plain_reached(stream, t, e)
            np.testing.assert_array_equal(one.following.reached, reached)
    assert starts == set(range(40 - 16 + K - 1, 40 - STEPS))


def test_without_predictions_nothing_follows(rng):
    store = stores.uniform(replay_config(4, 2, 16), SPEC)
    state = store.add(store.init(example()), make_stream(rng, 4, 2))
    sample = store.sample(jax.random.key(0), state, jnp.int32(0))
    assert sample.example.following is None


def test_a_buffer_too_small_for_the_steps_is_refused():
    fields = {"buffer_size": 5, "batch_size": 2, "warmup_steps": 5}
    with pytest.raises(ConfigError, match="n_step = 1, spr_steps = 5"):
        validate(Config(defaults="plain", update_steps=1, spr_steps=5, **fields))
