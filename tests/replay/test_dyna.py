import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import same

from jaxq.config.config import Config
from jaxq.replay import dyna, stores
from jaxq.types import EnvSpec, Step

STATES, ACTIONS, BATCH = 6, 3, 40
# Observations are ten times the number of the state, so that the two are not confused.
SPEC = EnvSpec(
    "walk", jax.ShapeDtypeStruct((), jnp.int32), ACTIONS, num_states=STATES,
    state_index=lambda observation: observation // 10,
)  # fmt: skip


def walk(rng, time, envs, states=STATES):
    """Random steps; an action in a state does not always have the same outcome."""
    shape = (time, envs)
    terminated = rng.random(shape) < 0.3
    return Step(
        observation=10 * rng.integers(0, states, shape).astype(np.int32),
        action=rng.integers(0, ACTIONS, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        terminated=terminated,
        truncated=~terminated & (rng.random(shape) < 0.3),
        next_observation=10 * rng.integers(0, STATES, shape).astype(np.int32),
    )


def make(length, envs, batch_size=BATCH):
    config = Config(
        defaults="plain",
        algorithm="dyna_q", rollout_length=length, num_envs=envs, network="table",
        batch_size=batch_size, discount=0.5,
    )  # fmt: skip
    store = dyna.dyna_store(config, SPEC)
    return stores.Store(*map(jax.jit, store))


def outcomes(example):
    """(state, action, reward, discount, successor) of every transition."""
    columns = (
        example.observation // 10, example.action, example.reward, example.discount,
        example.next_observation // 10,
    )  # fmt: skip
    return list(zip(*(np.asarray(column).tolist() for column in columns), strict=True))


def plain(rollout):
    """The same, from the steps themselves, in the order of time."""
    steps = []
    for t, e in np.ndindex(rollout.action.shape):
        step = jax.tree.map(lambda leaf, t=t, e=e: leaf[t, e].item(), rollout)
        discount = 0.0 if step.terminated else 0.5  # a truncation bootstraps
        state, after = step.observation // 10, step.next_observation // 10
        steps.append((state, step.action, step.reward, discount, after))
    return steps


@pytest.mark.parametrize("length, envs", [(1, 1), (3, 2)])
def test_a_sample_is_the_rollout_and_the_latest_outcomes_of_other_pairs(
    length, envs, rng
):
    store = make(length, envs)
    state = store.init(SPEC.example())
    last = {}
    for number in range(12):
        rollout = walk(rng, length, envs)
        state = store.add(state, rollout)
        happened = plain(rollout)
        for outcome in happened:
            last[outcome[:2]] = outcome
        sample = store.sample(jax.random.key(number), state, jnp.int32(0))
        actual = outcomes(sample.example)
        assert len(actual) == length * envs + BATCH
        np.testing.assert_array_equal(sample.weight, 1)
        assert actual[: length * envs] == happened
        imagined = actual[length * envs :]
        assert all(outcome == last[outcome[:2]] for outcome in imagined)
    seen = set(zip(*(i.tolist() for i in np.nonzero(state.seen)), strict=True))
    assert seen == set(last)


def test_visited_pairs_are_sampled_uniformly(rng):
    store = make(4, 2, batch_size=50_000)
    state = store.init(SPEC.example())
    last = {}
    for _ in range(2):
        # Two states of six, so that most pairs are never met.
        rollout = walk(rng, 4, 2, states=2)
        state = store.add(state, rollout)
        last |= {outcome[:2]: outcome for outcome in plain(rollout)}
    assert 3 <= len(last) <= 6
    sample = store.sample(jax.random.key(0), state, jnp.int32(0))
    recalled = jax.tree.map(lambda leaf: np.asarray(leaf)[8:], sample.example)
    pair = recalled.observation // 10 * ACTIONS + recalled.action
    counts = np.bincount(pair, minlength=STATES * ACTIONS).reshape(STATES, ACTIONS)
    assert set(zip(*(i.tolist() for i in np.nonzero(counts)), strict=True)) == set(last)
    assert scipy.stats.chisquare(counts[counts > 0]).pvalue > 1e-4


def test_sampling_ignores_how_often_a_pair_was_visited(rng):
    store = make(10, 1, batch_size=20_000)
    rollout = walk(rng, 10, 1)
    often = np.array([[0]] * 9 + [[50]], np.int32)
    rollout = rollout._replace(observation=often, action=np.zeros_like(often))
    state = store.add(store.init(SPEC.example()), rollout)
    sample = store.sample(jax.random.key(0), state, jnp.int32(0))
    share = np.mean(np.asarray(sample.example.observation)[10:] == 50)
    np.testing.assert_allclose(share, 0.5, atol=0.02)


def test_the_model_ignores_priorities(rng):
    store = make(3, 2)
    state = store.add(store.init(SPEC.example()), walk(rng, 3, 2))
    drawn = store.sample(jax.random.key(0), state, jnp.int32(0))
    assert same(store.update_priorities(state, drawn, jnp.ones(6)), state)
