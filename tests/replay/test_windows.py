"""Windows for corrected returns, as the stores yield them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import SPEC, example, make_stream, rollouts, unbatched

from jaxq.config.config import Config
from jaxq.replay import ring, rollout_stores, stores

RETRACE = {"return_estimator": "retrace", "discount": 0.5, "defaults": "plain"}


def stream_with_probabilities(rng, time, envs):
    stream = make_stream(rng, time, envs, 0.15, 0.15)
    probability = rng.random((time, envs)).astype(np.float32)
    return stream._replace(action_probability=probability)


def check_rows(window, stream, t, e, n):
    """The fields of a window that are those of the steps from (t, e) on."""
    rows, after = np.s_[t : t + n, e], np.s_[t + 1 : t + n, e]
    assert window.observation == stream.observation[t, e]
    assert window.action == stream.action[t, e]
    np.testing.assert_array_equal(window.reward, stream.reward[rows])
    discount = np.where(stream.terminated[rows], 0.0, 0.5)
    np.testing.assert_array_equal(window.discount, discount)
    np.testing.assert_array_equal(window.next_action[:-1], stream.action[after])
    if window.next_probability is not None:
        probability = stream.action_probability[after]
        np.testing.assert_array_equal(window.next_probability[:-1], probability)


@pytest.mark.parametrize("probability", [True, False])
@pytest.mark.parametrize("prioritized", [False, True])
def test_a_ring_yields_windows_that_end_before_a_truncated_step(
    prioritized, probability, rng
):
    n = 3
    config = Config(
        **RETRACE, num_envs=2, update_steps=8, buffer_size=24, batch_size=64,
        n_step=n, prioritized=prioritized,
    )  # fmt: skip
    kind = stores.proportional if prioritized else stores.uniform
    store = stores.Store(*map(jax.jit, kind(config, SPEC)))
    stream = stream_with_probabilities(rng, 40, 2)
    first = example()._replace(action_probability=jnp.zeros(()))
    if not probability:
        stream = stream._replace(action_probability=None)
        first = example()
    state = store.init(first)
    for rollout in rollouts(stream, 4):
        state = store.add(state, rollout)
    drawn = store.sample(jax.random.key(0), state, jnp.int32(0))
    seen = set()
    for i, window in enumerate(unbatched(drawn.example)):
        t, e = divmod(int(window.observation), 2)
        truncated = stream.truncated[t : t + n, e]
        assert (drawn.weight[i] == 0) == truncated[0]
        check_rows(window, stream, t, e, n)
        np.testing.assert_array_equal(window.continues, [*~truncated[1:], False])
        successors = stream.observation[t + 1 : t + n + 1, e]
        np.testing.assert_array_equal(window.next_observation, successors)
        assert window.next_action[-1] == stream.action[t + n, e]
        assert (window.next_probability is None) is not probability
        seen.add((t, e, tuple(window.continues)))
    assert len({flags for _, _, flags in seen}) == 4  # all that are possible for n = 3


def test_a_rollout_yields_windows_that_end_after_a_truncated_step(rng, strict):
    n, length = 3, 6
    config = Config(**RETRACE, rollout_length=length, num_envs=3, n_step=n)
    store = stores.Store(*map(jax.jit, rollout_stores.current_rollout(config, SPEC)))
    state = store.init(example()._replace(action_probability=jnp.zeros(())))
    for rollout in rollouts(stream_with_probabilities(rng, 12, 3), length):
        state = store.add(state, rollout)
        drawn = store.sample(jax.random.key(0), state, jnp.int32(0))
        windows = unbatched(drawn.example)
        for window, (t, e) in zip(windows, np.ndindex(length, 3), strict=True):
            used = min(n, length - t)  # the rows that belong to the rollout
            ended = rollout.terminated[t : t + used, e]
            ended = ended | rollout.truncated[t : t + used, e]
            flags = [*~ended[:-1], False]
            np.testing.assert_array_equal(window.continues[:used], flags)
            successors = rollout.next_observation[t : t + used, e]
            np.testing.assert_array_equal(window.next_observation[:used], successors)
            if used == n:
                check_rows(window, rollout, t, e, n)


def test_only_a_ring_that_needs_them_holds_probabilities(rng):
    plain = ring.init(example(), 8, 2, 3)
    assert plain.action_probability is None
    with_them = ring.init(example()._replace(action_probability=jnp.zeros(())), 8, 2, 3)
    sizes = [
        sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        for state in (plain, with_them)
    ]
    assert sizes[1] - sizes[0] == 4 * 8 * 2
