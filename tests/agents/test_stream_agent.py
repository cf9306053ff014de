"""Agents with eligibility traces, against plain NumPy recursions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq import Config, ConfigError
from jaxq.agents import algorithms
from jaxq.agents.reward_scale import RewardScale
from jaxq.config.validate import validate
from jaxq.networks import running_statistics
from jaxq.types import EnvSpec, Step

STATES, ACTIONS = 5, 3
TABLE = EnvSpec(
    "Table", jax.ShapeDtypeStruct((), jnp.int32), ACTIONS, STATES, STATES, lambda s: s
)
BASE = Config(
    algorithm="stream_q", defaults="plain", network="table", normalization="none",
    normalize_observations=False, normalize_rewards=False, activation="relu",
    weight_init="torch", optimizer="sgd", learning_rate=0.1, discount=0.9,
    trace_decay=0.7,
)  # fmt: skip


def experience(rng, length=200):
    """Random steps of one environment, with ends of both kinds."""
    steps, state = [], 0
    for _ in range(length):
        after, end = int(rng.integers(STATES)), rng.random()
        steps.append(
            Step(
                np.int32(state), np.int32(rng.integers(ACTIONS)),
                np.float32(rng.normal()), np.bool_(end < 0.1),
                np.bool_(0.1 <= end < 0.2), np.int32(after),
            )
        )  # fmt: skip
        state = int(rng.integers(STATES)) if end < 0.2 else after
    return steps


def trained(config, steps, spec=TABLE):
    agent = algorithms.make(config, spec)
    state = agent.init(jax.random.key(0), spec.example())

    @jax.jit
    def one(state, step):
        rollout = jax.tree.map(lambda leaf: leaf[None, None], step)
        state = agent.observe(jax.random.key(1), state, rollout)
        return agent.update(jax.random.key(2), state, jnp.float32(0.1))

    errors = []
    for step in steps:
        state, metrics = one(state, jax.tree.map(jnp.asarray, step))
        errors.append(float(metrics.td_error))
    return state, errors


def scales(rewards, ends, discount=0.9):
    """Standard deviations of the running discounted return."""
    returns, running, deviations = [], 0.0, []
    for reward, ended in zip(rewards, ends, strict=True):
        running = discount * running + reward
        returns.append(running)
        variance = np.var(returns, ddof=1) if len(returns) > 1 else 1.0
        deviations.append(np.sqrt(variance + 1e-8))
        running = 0.0 if ended else running
    return np.array(deviations)


def q_lambda(steps, sarsa=False, clip=None, scaled=False):
    """Watkins's Q(lambda), or SARSA(lambda), with accumulating traces."""
    q, z, errors = np.zeros((STATES, ACTIONS)), np.zeros((STATES, ACTIONS)), []
    deviation = np.ones(len(steps))
    if scaled:
        deviation = scales(
            [s.reward for s in steps], [s.terminated or s.truncated for s in steps]
        )
    pairs = zip(steps, [*steps[1:], None], strict=True)
    for i, (step, following) in enumerate(pairs):
        if sarsa and following is None:
            break  # waits for its next action
        s, a, after = step.observation, step.action, step.next_observation
        future = q[after].max()
        if sarsa and not step.truncated:
            future = q[after, following.action]
        future *= not step.terminated
        delta = step.reward / deviation[i] + 0.9 * future - q[s, a]
        if not sarsa and q[s, a] < q[s].max():
            z[:] = 0.0
        z *= 0.9 * 0.7
        z[s, a] += 1.0
        errors.append(abs(delta))
        q += 0.1 * (delta if clip is None else np.clip(delta, -clip, clip)) * z
        if step.terminated or step.truncated:
            z[:] = 0.0
    return q, errors


@pytest.mark.parametrize("scaled", [False, True])
def test_q_lambda_equals_its_recursion(rng, scaled):
    steps = experience(rng)
    config = dataclasses.replace(BASE, normalize_rewards=scaled)
    state, errors = trained(config, steps)
    q, expected = q_lambda(steps, scaled=scaled)
    np.testing.assert_allclose(errors, expected, rtol=1e-3, atol=1e-4)
    table = jax.tree.leaves(state.learner.params)[0]
    np.testing.assert_allclose(table[..., 0], q, rtol=1e-3, atol=1e-4)
    assert state.updates.value == 200 and state.learner.diverged_at == -1


def test_sarsa_lambda_learns_one_step_later(rng):
    steps = experience(rng)
    state, errors = trained(dataclasses.replace(BASE, next_value="sarsa"), steps)
    q, expected = q_lambda(steps, sarsa=True)
    np.testing.assert_allclose(errors[1:], expected, rtol=1e-3, atol=1e-4)
    table = jax.tree.leaves(state.learner.params)[0]
    np.testing.assert_allclose(table[..., 0], q, rtol=1e-3, atol=1e-4)


def test_the_huber_loss_clips_the_td_error(rng):
    steps = experience(rng)
    config = dataclasses.replace(BASE, loss="huber", huber_delta=0.5)
    state, _ = trained(config, steps)
    q, errors = q_lambda(steps, clip=0.5)
    assert max(errors) > 0.5
    table = jax.tree.leaves(state.learner.params)[0]
    np.testing.assert_allclose(table[..., 0], q, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "obgd", "adaptive", "intentional"])
def test_a_network_changes_along_its_trace(optimizer, rng):
    """One step from no trace moves the estimate towards its target."""
    spec = EnvSpec("Vector", jax.ShapeDtypeStruct((4,), jnp.float32), ACTIONS)
    config = Config(
        algorithm="stream_q", defaults="plain", hidden_sizes=(16,),
        optimizer=optimizer, learning_rate=1e-3, normalize_observations=False,
        normalize_rewards=False, weight_init="torch",
    )  # fmt: skip
    observation = rng.normal(size=4).astype(np.float32)
    step = Step(
        observation, np.int32(1), np.float32(5.0), np.bool_(True), np.bool_(False),
        observation,
    )  # fmt: skip
    agent = algorithms.make(config, spec)
    before = agent.init(jax.random.key(0), spec.example())
    after, _ = trained(config, [step], spec)
    values = [float(agent.q_values(s, (), observation)[1]) for s in (before, after)]
    assert values[0] < values[1] < 5.0
    assert all(not leaf.any() for leaf in jax.tree.leaves(after.trace))  # it ended


def test_a_step_that_is_not_finite_freezes_the_seed(rng):
    steps = experience(rng, 20)
    steps[7] = steps[7]._replace(reward=np.float32(np.nan))
    state, _ = trained(BASE, steps)
    healthy, _ = trained(BASE, steps[:7])
    assert state.learner.diverged_at == 7
    assert same(state.learner.params, healthy.learner.params)


def test_observations_enter_the_statistics_once(rng):
    spec = EnvSpec("Vector", jax.ShapeDtypeStruct((2,), jnp.float32), ACTIONS)
    config = Config(algorithm="stream_q", defaults="plain", hidden_sizes=(8,))
    data = rng.normal(loc=4.0, size=(31, 2)).astype(np.float32)
    steps = [
        Step(
            data[t], np.int32(0), np.float32(rng.normal()), np.bool_(False),
            np.bool_(False), data[t + 1],
        )
        for t in range(30)
    ]  # fmt: skip
    state, _ = trained(config, steps, spec)
    (statistics,) = state.learner.params[running_statistics.STATISTICS]
    assert statistics.total == 30
    np.testing.assert_allclose(statistics.mean, data[:30].mean(axis=0), rtol=1e-5)
    assert isinstance(state.reward_scale, RewardScale)
    assert state.reward_scale.statistics.total == 30


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_envs": 4}, "num_envs = 4 .* a stream is one environment"),
        ({"optimizer": "adam"}, "optimizer = 'adam'"),
        ({"algorithm": "dqn", "optimizer": "obgd"}, "rules for eligibility traces"),
        ({"head": "categorical"}, "gradient of a single estimate"),
        ({"recurrent": "gru"}, "gradient of a single estimate"),
        ({"max_grad_norm": 1.0}, "its steps do not follow a loss"),
        ({"network": "table"}, "table"),
    ],
)
def test_meaningless_settings_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(Config(**{"algorithm": "stream_q"} | fields))
