"""Individual algorithms, and evaluation. Tests of every algorithm: test_family."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, mark_others, same
from mdps import ConstantReward, Corridor, LengthBiased
from rollouts import random_rollout

from jaxq.agents import algorithms, factory
from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs import adapter
from jaxq.replay import ring, transition_readers
from jaxq.rl import exploration
from jaxq.runs import run
from jaxq.training import checks, evaluate, loop

SMALL = {"num_envs": 4, "update_steps": 4, "batch_size": 16, "epsilon_end": 1.0}


def make_agent(name, env, **changes):
    config = family.config(name, **(SMALL | changes))
    return config, algorithms.make(config, env.spec)


@pytest.mark.parametrize(
    "name",
    mark_others(["tabular_q", "dqn", "pqn"], ["tabular_q", "dqn"], CONFORMANCE),
)
def test_timeout_is_terminal_learns_the_value_of_the_time_limited_task(name):
    changes = {"timeout_is_terminal": True}
    if name == "tabular_q":  # all samples of a minibatch update the same entry
        changes["learning_rate"] = 0.002
    config = family.config(name, **changes)
    env = checks.check(config, adapter.adapt(ConstantReward()))
    trained = family.Trained(config, env).train()
    # The value averaged over the steps of an episode of 7: V = 1 + 0.9 * (6/7) V.
    values = trained.q_values([jnp.int32(0)])
    if name == "pqn":
        # The mean lambda-return lies between that and the mean Monte Carlo return.
        monte_carlo = np.mean([(1 - 0.9**n) / 0.1 for n in range(1, 8)])
        assert monte_carlo < values[0] < 1 / (1 - 0.9 * 6 / 7)
    else:
        np.testing.assert_allclose(values, 1 / (1 - 0.9 * 6 / 7), rtol=0.1)


class OneAction(ConstantReward):
    num_actions = 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "sigma", "value", "tolerance"),
    [
        pytest.param(ConstantReward, 0.5, 10.3, 0.15, marks=pytest.mark.conformance),
        (ConstantReward, 1e-3, 10.0, 0.05),
        (OneAction, 0.5, 10.0, 0.1),
    ],
)
def test_noisy_dqn_overestimates_by_the_maximum_over_noisy_values(
    task, sigma, value, tolerance
):
    """A reward of 1 is worth 10, and the maximum of two noisy values more than either.

    The mean values satisfy E Q(a) = 1 + 0.9 E max_a' Q'(a'), where the maximum is over
    noisy values. Without noise, or with a single action, the solution is 10.
    """
    env = adapter.adapt(task())
    config = family.config("noisy_dqn", noisy_sigma=sigma, hidden_sizes=(16,))
    trained = family.Trained(config, env, seeds=range(8)).train()
    learner = trained.state.agent.learner
    network = factory.make_networks(config, env.spec).online
    keys = jax.random.split(jax.random.key(0), 1000)

    def q_values(key, params):
        return network.head.q_values(network.apply(key, params, jnp.int32(0)))

    of_keys = jax.vmap(q_values, (0, None))
    sample = jax.jit(jax.vmap(of_keys, (None, 0)))  # [seed, key, action]
    online = np.asarray(sample(keys, learner.params))
    target = np.asarray(sample(keys, learner.target_params)).max(axis=2)
    np.testing.assert_allclose(online.mean(), value, atol=tolerance)
    fixed_point = 1 + 0.9 * target.mean(axis=1)
    np.testing.assert_allclose(online.mean(axis=(1, 2)), fixed_point, atol=0.03)


def test_the_table_equals_that_of_q_learning_in_numpy():
    """On the same minibatches, Q(s, a) += lr (target - Q(s, a)) for each sample."""
    env = adapter.adapt(Corridor())
    config, agent = make_agent("tabular_q", env)
    read = transition_readers.transitions(env.spec.observation, 1, config.discount)
    state = agent.init(jax.random.key(0), env.spec.example())
    update, observe = jax.jit(agent.update), jax.jit(agent.observe)
    sample_of = jax.jit(lambda key, store: ring.sample_uniform(key, store, read, 16, 1))
    table = np.zeros((5, 2), np.float64)
    for step in range(60):
        key = jax.random.key(step)
        if step % 10 == 0:
            rollout = random_rollout(env, 1, 4, seed=step)
            for _ in range(10):
                state = observe(key, state, rollout)
        sample_key, _ = jax.random.split(key)
        sample = sample_of(sample_key, state.store)
        batch, weight = jax.device_get((sample.example[:5], sample.weight))
        state, _ = update(key, state, jnp.float32(1))
        before = table.copy()
        for s, a, r, discount, s_next, w in zip(*batch, weight, strict=True):
            terminal = discount == 0
            target = r if terminal else r + 0.9 * before[s_next].max()
            table[s, a] += w * config.learning_rate * (target - before[s, a])
        learned = np.asarray(state.learner.params["table"])[..., 0]
        np.testing.assert_allclose(learned, table, rtol=2e-6, atol=1e-7)
    assert table.max() > 0.1


@pytest.mark.parametrize(
    "name, n", [("tabular_q", 1), ("sarsa", 1), ("sarsa", 3), ("expected_sarsa", 1)]
)
def test_online_learning_equals_the_textbook_algorithm_in_numpy(name, n):
    """With one environment, acting and learning alternate in the book's order."""
    env = adapter.adapt(Corridor(), timeout_is_terminal=True)
    config = family.config(
        name, num_envs=1, rollout_length=1, learning_rate=0.5, epsilon_start=0.3,
        epsilon_end=0.3, total_steps=400, chunk_iterations=1, n_step=n,
    )  # fmt: skip
    trained = family.Trained(config, env)
    table = np.zeros((5, 2))
    state, key = family.lane(trained.state, 0), trained.keys[0]
    lengths = loop_lengths.loop_lengths(config)
    iteration = jax.jit(
        lambda state: loop.iteration(trained.traced, lengths, env, key, state)
    )
    waiting = []  # steps whose n successors are not known yet
    for _ in range(300):
        state, step = iteration(state)
        step = jax.tree.map(lambda x: np.asarray(x)[0, 0], step)
        s, a, s_next = step.observation, step.action, step.next_observation
        if name == "sarsa":
            if len(waiting) == n:
                target, factor = 0.0, 1.0
                for _, _, reward, terminated in waiting:
                    target += factor * reward
                    factor *= 0.0 if terminated else 0.9
                s0, a0, *_ = waiting.pop(0)
                target += factor * table[s, a]
                table[s0, a0] += 0.5 * (target - table[s0, a0])
            waiting.append((s, a, step.reward, step.terminated))
        else:
            policy = np.asarray(exploration.epsilon_greedy_policy(
                jnp.asarray(table[s_next], jnp.float32), 0.3
            ))  # fmt: skip
            best = table[s_next].max()
            next_value = best if name == "tabular_q" else policy @ table[s_next]
            target = step.reward + (0 if step.terminated else 0.9 * next_value)
            table[s, a] += 0.5 * (target - table[s, a])
        learned = np.asarray(state.agent.learner.params["table"])[..., 0]
        np.testing.assert_allclose(learned, table, rtol=1e-4, atol=1e-5)
    assert table.max() > 0.5


@pytest.mark.parametrize("change", [{"double_q": True}, {"loss": "huber"}])
@pytest.mark.parametrize("name", ["tabular_q", "dqn"])
def test_options_change_the_update(name, change):
    env = adapter.adapt(Corridor())
    rollout = random_rollout(env, 1, 4)
    # Errors exceed Huber's delta.
    rollout = rollout._replace(reward=rollout.reward + 5)
    learned = []
    epsilon = jnp.float32(1)
    for changes in ({}, change):
        _, agent = make_agent(name, env, target_period=1000, **changes)
        state = agent.init(jax.random.key(0), env.spec.example())
        update, observe = jax.jit(agent.update), jax.jit(agent.observe)
        for i in range(10):
            state = observe(jax.random.key(i), state, rollout)
        for i in range(5):
            state, _ = update(jax.random.key(i), state, epsilon)
        # With these parameters the target network prefers another action.
        learner = state.learner
        target = jax.tree.map(
            lambda x: jax.random.normal(jax.random.key(5), x.shape),
            learner.target_params,
        )
        state = state._replace(learner=learner._replace(target_params=target))
        state, _ = update(jax.random.key(9), state, epsilon)
        learned.append(state.learner.params)
    assert not same(*learned)


def test_a_table_starts_at_the_initial_value():
    env = adapter.adapt(Corridor())
    _, agent = make_agent("tabular_q", env, initial_value=3.0)
    state = agent.init(jax.random.key(0), env.spec.example())
    assert np.all(np.asarray(state.learner.params["table"]) == 3)


def test_noise_differs_between_environments_and_is_off_in_evaluation():
    """All observations are equal and epsilon is 0, so only noise changes actions."""
    env = family.gauntlet()
    _, agent = make_agent("noisy_dqn", env, noisy_sigma=5.0)
    state = agent.init(jax.random.key(0), env.spec.example())
    observation = jnp.ones((200, 9))
    keys = jax.random.split(jax.random.key(1), 200)
    act = jax.vmap(agent.act, (0, None, None, 0, None, None))
    noisy, _ = act(keys, state, (), observation, jnp.float32(0), True)
    quiet, _ = act(keys, state, (), observation, jnp.float32(0), False)
    assert 20 < int(noisy.sum()) < 180
    assert len(set(np.asarray(quiet).tolist())) == 1


def test_boltzmann_exploration_is_off_in_evaluation():
    env = adapter.adapt(Corridor())
    _, agent = make_agent("tabular_q", env, exploration="boltzmann", temperature=2.0)
    state = agent.init(jax.random.key(0), env.spec.example())
    table = {"table": jnp.zeros((5, 2, 1)).at[:, 1].set(1.0)}
    state = state._replace(learner=state.learner._replace(params=table))
    keys = jax.random.split(jax.random.key(1), 4000)
    act = jax.vmap(agent.act, (0, None, None, None, None, None))
    action, _ = act(keys, state, (), jnp.int32(0), jnp.float32(0), True)
    probability = 1 / (1 + np.exp(-0.5))
    standard_error = (probability * (1 - probability) / 4000) ** 0.5
    assert abs(float(action.mean()) - probability) < 4 * standard_error
    greedy, _ = act(keys, state, (), jnp.int32(0), jnp.float32(0), False)
    assert bool((greedy == 1).all())


def test_a_tabular_algorithm_rejects_a_network():
    config = Config(
        defaults="plain",
        algorithm="tabular_q",
        network="mlp",
        environment="FrozenLake-misc",
    )
    with pytest.raises(ConfigError, match="a tabular algorithm: it learns"):
        checks.check(config)


def test_a_network_that_does_not_fit_the_observations_raises():
    with pytest.raises(ConfigError, match="needs an image"):
        checks.check(Config(defaults="plain", network="minatar"))
    with pytest.raises(ConfigError, match="no numbered states"):
        checks.check(
            Config(defaults="plain", algorithm="tabular_q", environment="CartPole-v1")
        )


def test_evaluation_counts_the_first_episode_of_every_environment():
    """Half the episodes are long with return 0, so the mean is 1/2, not 20/21."""
    env = adapter.adapt(LengthBiased())
    _, agent = make_agent("tabular_q", env)
    state = agent.init(jax.random.key(0), env.spec.example())
    result = jax.jit(
        lambda key: evaluate.evaluate(key, agent, state, env, 4000, 0.0, 100)
    )(jax.random.key(1))
    assert result.finished.all()
    assert abs(float(result.episode_return.mean()) - 0.5) < 4 * 0.5 / 4000**0.5
    assert set(np.asarray(result.episode_length).tolist()) == {1, 20}


def test_evaluation_marks_episodes_that_were_cut_off():
    env = adapter.adapt(ConstantReward())
    _, agent = make_agent("tabular_q", env)
    state = agent.init(jax.random.key(0), env.spec.example())
    result = evaluate.evaluate(jax.random.key(1), agent, state, env, 3, 0.0, 5)
    assert not result.finished.any()
    np.testing.assert_array_equal(result.episode_return, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    mark_others(
        ["Breakout-MinAtar", "FrozenLake-misc", "FourRooms-misc"],
        ["Breakout-MinAtar", "FrozenLake-misc"],
        [pytest.mark.conformance],
    ),
)
def test_dqn_trains_on_every_kind_of_observation(environment):
    config = dataclasses.replace(
        family.DEEP, environment=environment, num_seeds=2, seed_block=2,
        total_steps=1200, batch_size=8,
    )  # fmt: skip
    result = run.run(config)
    assert np.isfinite(result.curve.loss[:, -1]).all()
    assert not same(
        jax.tree.map(lambda leaf: leaf[0], result.params),
        jax.tree.map(lambda leaf: leaf[1], result.params),
    )
