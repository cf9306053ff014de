"""The steps of a replay buffer, as a dataset."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import SPEC, example, make_stream, rollouts

from jaxq.replay import ring
from jaxq.runs import replayed

ROWS, ENVS, LENGTH = 20, 3, 4


def filled(stream, step):
    """A ring that holds the newest rows of a stream, on the host."""
    state = ring.init(step, ROWS, ENVS, SPEC.num_actions)
    add = jax.jit(ring.add)
    for rollout in rollouts(stream, LENGTH):
        state = add(state, rollout)
    return jax.device_get(state)


def known(stream, envs=ENVS):
    """(observation, action, reward, terminated, successor), one per known step."""
    total = stream.action.shape[0]
    for e in range(envs):
        for t in range(max(0, total - ROWS), total):
            if stream.truncated[t, e]:
                continue
            terminated = bool(stream.terminated[t, e])
            if t == total - 1 and not terminated:
                continue
            successor = None if terminated else stream.observation[t + 1, e]
            yield (
                stream.observation[t, e], int(stream.action[t, e]),
                stream.reward[t, e], terminated, successor,
            )  # fmt: skip


def held(dataset):
    """The same of a dataset."""
    finals = iter(dataset.final_observation)
    for t in range(dataset.action.size):
        terminated = bool(dataset.terminated[t])
        successor = None
        if dataset.truncated[t] or dataset.cut[t]:
            successor = next(finals)
        elif not terminated:
            successor = dataset.observation[t + 1]
        yield (
            dataset.observation[t], int(dataset.action[t]), dataset.reward[t],
            terminated, successor,
        )  # fmt: skip


@pytest.mark.parametrize("total", [8, 20, 32, 40])
def test_every_step_whose_successor_is_known_is_kept(total, rng):
    for _ in range(5):
        stream = make_stream(rng, total, ENVS, p_truncated=0.2)
        dataset = replayed.from_ring(filled(stream, example()), SPEC)
        assert list(held(dataset)) == list(known(stream))


@pytest.mark.parametrize("total", [16, 20, 40])
def test_an_episode_that_lost_its_start_is_left_out_of_stacked_frames(total, rng):
    """The reader of a dataset stacks the frames that come before a step in it."""
    spec = SPEC._replace(frame=SPEC.observation)
    for _ in range(5):
        stream = make_stream(rng, total, ENVS, p_truncated=0.2)
        dataset = replayed.from_ring(filled(stream, example()), spec)
        first = max(0, total - ROWS)
        ended = (stream.terminated | stream.truncated)[first:]
        kept = []
        for e in range(ENVS):
            ends = np.flatnonzero(ended[:, e])
            start = (ends[0] + 1 if ends.size else ROWS) if first else 0
            alone = jax.tree.map(lambda x: x[first + start :, e : e + 1], stream)  # noqa: B023
            kept += list(known(alone, envs=1)) if alone.action.size else []
        assert list(held(dataset)) == kept


def test_bits_become_observations(rng):
    stream = make_stream(rng, 24, ENVS)
    bits = rng.random((24, ENVS, 3, 5)) < 0.5
    stream = stream._replace(observation=bits, next_observation=bits)
    step = example()._replace(
        observation=jnp.zeros((3, 5), bool), next_observation=jnp.zeros((3, 5), bool)
    )
    spec = SPEC._replace(observation=jax.ShapeDtypeStruct((3, 5), bool))
    dataset = replayed.from_ring(filled(stream, step), spec)
    expected = np.stack([row[0] for row in known(stream)])
    np.testing.assert_array_equal(dataset.observation, expected)
    assert dataset.final_observation.dtype == bool
