"""Diagnostics of learning against plain definitions."""

import dataclasses
import functools

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, mark_others
from mdps import MDP

from jaxq import run, sweep
from jaxq.agents import algorithms
from jaxq.envs import adapter
from jaxq.stats import ranks
from jaxq.training import compiled, diagnostics, sampled_episodes

CONFIG = family.config("dqn", total_steps=2_000, eval_episodes=3)


def definition(config, agent, state, env, max_steps):
    """Mean over an episode of the estimate minus the return, by a backward recursion.

    For an environment and a policy without randomness.
    """
    key = jax.random.key(0)
    env_state, memory = env.reset(key), agent.initial_memory(key)
    estimates, rewards, observations = [], [], []
    for _ in range(max_steps):
        observation = env_state.observation
        q_values = agent.q_values(state, memory, observation)
        action, memory = agent.act(
            key, state, memory, observation, jnp.zeros(()), False
        )
        env_state, step = env.step(key, env_state, action)
        estimates.append(float(q_values[action]))
        rewards.append(float(step.reward))
        observations.append(np.asarray(observation))
        if step.terminated or step.truncated:
            break
    value = 0.0
    if not step.terminated:
        value = float(jnp.max(agent.q_values(state, memory, step.next_observation)))
    returns = []
    for reward in reversed(rewards):
        value = reward + config.discount * value
        returns.append(value)
    return np.mean(np.subtract(estimates, returns[::-1])), observations


class Walk(MDP):
    """25 steps, each rewarded by its own amount; action 1 doubles the reward."""

    def first(self, key):
        del key
        return jnp.zeros(2)

    def transition(self, key, value, action):
        del key
        time = value[0]
        reward = (1.0 + action) * jnp.sin(3.0 * time)
        moved = jnp.stack([time + 0.1, reward])
        return moved, reward, time > 2.35


@functools.cache
def walk():
    return adapter.adapt(Walk())


@pytest.mark.parametrize(
    "algorithm", mark_others(["dqn", "r2d2", "bootstrapped_dqn"], ["dqn"], CONFORMANCE)
)
@pytest.mark.parametrize("max_steps", [3, 1_000])
def test_overestimation_is_the_estimate_minus_the_return(algorithm, max_steps):
    config = family.config(algorithm, total_steps=2_000, eval_episodes=3)
    env = walk()
    trained = family.Trained(config, env)
    agent = algorithms.make(config, env.spec)
    state = family.lane(trained.state, 0).agent
    samples, error = jax.jit(
        lambda key: sampled_episodes.play(key, config, agent, state, env, max_steps)
    )(jax.random.key(1))
    expected, observations = definition(config, agent, state, env, max_steps)
    assert len(observations) == min(max_steps, 25)
    np.testing.assert_allclose(error, np.full(3, expected), rtol=1e-4, atol=1e-5)
    visited = min(len(observations), sampled_episodes.SAMPLES)
    np.testing.assert_array_equal(samples.weight.sum(axis=1), np.full(3, visited))
    for k in range(3):
        kept = np.asarray(samples.observation[k, :visited])
        indices = [
            [np.array_equal(x, y) for y in observations].index(True) for x in kept
        ]
        assert len(set(indices)) == visited
        assert max_steps == 3 or max(indices) >= sampled_episodes.SAMPLES


def test_a_truncated_episode_bootstraps_and_clipped_rewards_count():
    config = dataclasses.replace(CONFIG, reward_clip=0.25)
    env = family.constant()
    trained = family.Trained(config, env)
    agent = algorithms.make(config, env.spec)
    state = family.lane(trained.state, 0).agent
    _, error = sampled_episodes.play(jax.random.key(1), config, agent, state, env, 5)
    observation = env.spec.example().observation
    values = np.asarray(agent.q_values(state, (), observation), np.float64)
    best, returns = values.max(), []
    value = best
    for _ in range(5):
        value = 0.25 + config.discount * value
        returns.append(value)
    np.testing.assert_allclose(error, best - np.mean(returns), rtol=1e-4)


@pytest.mark.parametrize(
    "algorithm",
    mark_others(["dqn", "pqn_rnn", "iqn", "tabular_q"], ["dqn"], CONFORMANCE),
)
def test_the_norms_and_the_start_are_those_of_the_parameters(algorithm):
    config = family.config(algorithm, total_steps=2_000, eval_episodes=2)
    env = family.gauntlet()
    trained = family.Trained(config, env, seeds=(3, 5))
    start = [family.lane(trained.state, i).agent.learner.params for i in (0, 1)]
    measured = compiled.diagnose_block(
        trained.traced, trained.keys, trained.state, env=env
    )
    # The start is computed again in this program, whose rounding may differ.
    assert (measured["distance_from_init"] <= 1e-6 * measured["weight_norm"]).all()
    trained.train()
    measured = compiled.diagnose_block(
        trained.traced, trained.keys, trained.state, env=env
    )
    for i in (0, 1):
        params = family.lane(trained.state, i).agent.learner.params
        leaves, old = jax.tree.leaves(params), jax.tree.leaves(start[i])
        square = sum(np.sum(np.asarray(x, np.float64) ** 2) for x in leaves)
        distance = sum(
            np.sum((np.asarray(x, np.float64) - y) ** 2)
            for x, y in zip(leaves, old, strict=True)
        )
        assert distance > 0
        np.testing.assert_allclose(measured["weight_norm"][i] ** 2, square, rtol=1e-4)
        np.testing.assert_allclose(
            measured["distance_from_init"][i] ** 2, distance, rtol=1e-4
        )


def test_churn_is_the_share_of_greedy_actions_that_one_step_changes():
    env = family.gauntlet()
    churn = []
    for rate in (1e-12, 10.0):
        config = dataclasses.replace(
            CONFIG, learning_rate=rate, learning_rate_schedule="constant",
            optimizer="sgd", eval_episodes=32,
        )  # fmt: skip
        trained = family.Trained(config, env)
        measured = compiled.diagnose_block(
            trained.traced, trained.keys, trained.state, env=env
        )
        churn.append(float(measured["policy_churn"][0]))
    assert churn[0] == 0.0 and 0.0 < churn[1] <= 1.0


def test_ranks_equal_their_definitions(rng):
    low = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 12))
    values = ranks.singular_values(low, np.ones(40))
    expected = np.sqrt(np.maximum(np.linalg.eigvalsh(low.T @ low)[::-1], 0))
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert ranks.effective_rank(values) == 3
    np.testing.assert_allclose(
        ranks.stable_rank(values), (low**2).sum() / np.linalg.norm(low, 2) ** 2
    )
    given = np.array([6.0, 3.0, 0.9, 0.1])  # shares 0.6, 0.9, 0.99, 1
    assert ranks.effective_rank(given, 0.2) == 2
    assert ranks.effective_rank(given, 0.05) == 3
    assert ranks.effective_rank(given, 0.001) == 4
    zero = ranks.singular_values(np.zeros((5, 4)), np.ones(5))
    assert ranks.effective_rank(zero) == 0 and ranks.stable_rank(zero) == 0
    # An observation of weight 0 does not count, and one of weight 2 counts twice.
    weight = np.array([0.0, 2.0] + [1.0] * 38)
    twice = np.concatenate([low[1:2], low[1:]])
    np.testing.assert_allclose(
        ranks.singular_values(low, weight),
        ranks.singular_values(twice, np.ones(40)),
        atol=1e-9,
    )


def test_dormant_units_are_counted_over_all_layers():
    quiet = jnp.ones((8, 10)).at[:, :4].set(0.0)
    layers = {"torso/Hidden_0": quiet, "torso/Hidden_1": jnp.ones((8, 6))}
    features = {"features": jnp.ones((8, 6))}
    measured = diagnostics.of_representation(layers | features, jnp.ones(8))
    np.testing.assert_allclose(measured["dormant_units"], 4 / 16)


def test_a_run_records_them_at_every_point(tmp_path):
    config = dataclasses.replace(family.TINY, diagnostics=True)
    result = run(config, output=tmp_path, plot=False)
    assert set(result.extra) == set(diagnostics.NAMES)
    for values in result.extra.values():
        assert values.shape == (4, 3) and np.isfinite(values).all()
    assert (result.extra["distance_from_init"][:, 0] == 0).all()
    assert "dormant_units" in (result.directory / "metrics.csv").read_text()
    plain = run(family.TINY, output=None, plot=False)
    np.testing.assert_array_equal(plain.eval_returns, result.eval_returns)


def test_a_sweep_records_them(tmp_path):
    config = dataclasses.replace(family.TINY, diagnostics=True)
    result = sweep(config, {"learning_rate": [1e-3, 1e-2]}, output=tmp_path)
    for curves in result.curves:
        assert curves.arrays["effective_rank"].shape == (4, 3)
