"""What single algorithms do, and evaluation; tests of all of them: test_family."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same
from mdps import ConstantReward, Corridor, LengthBiased

from jaxq.agents import algorithms
from jaxq.config.config import Config, ConfigError
from jaxq.envs import adapter
from jaxq.replay import ring, transition_readers
from jaxq.rl import exploration
from jaxq.runs import run
from jaxq.training import checks, evaluate, loop

SMALL = {"num_envs": 4, "update_steps": 4, "batch_size": 16, "epsilon_end": 1.0}


def make_agent(name, env, **changes):
    config = family.config(name, **(SMALL | changes))
    return config, algorithms.make(config, env.spec)


def random_rollout(env, time, envs):
    key = jax.random.key(7)
    state = jax.vmap(env.reset)(jax.random.split(key, envs))

    def step(state, key):
        action = jax.random.randint(key, (envs,), 0, env.spec.num_actions)
        return jax.vmap(env.step)(jax.random.split(key, envs), state, action)

    return jax.lax.scan(step, state, jax.random.split(key, time))[1]


@pytest.mark.parametrize("name", ["tabular_q", "dqn", "pqn"])
def test_timeout_is_terminal_gives_the_value_of_the_limited_task(name):
    changes = {"timeout_is_terminal": True}
    if name == "tabular_q":  # one entry takes every sample of a minibatch
        changes["learning_rate"] = 0.002
    env = adapter.adapt(ConstantReward(), timeout_is_terminal=True)
    trained = family.Trained(family.config(name, **changes), env).train()
    # Averaged over where in an episode of 7 steps it is: V = 1 + 0.9 * (6/7) V.
    values = trained.q_values([jnp.int32(0)])
    if name == "pqn":  # the mean of Q(lambda)'s returns lies between that and the
        # mean over an episode of what is left of it
        whole = np.mean([(1 - 0.9**n) / 0.1 for n in range(1, 8)])
        assert whole < values[0] < 1 / (1 - 0.9 * 6 / 7)
    else:
        np.testing.assert_allclose(values, 1 / (1 - 0.9 * 6 / 7), rtol=0.1)


def test_the_table_equals_plain_numpy_q_learning():
    """The same minibatches, entry by entry: Q(s, a) += lr (R - Q(s, a))."""
    env = adapter.adapt(Corridor())
    config, agent = make_agent("tabular_q", env)
    read = transition_readers.transitions(env.spec.observation, 1, config.discount)
    state = agent.init(jax.random.key(0), env.spec.example())
    update = jax.jit(agent.update)
    table = np.zeros((5, 2), np.float64)
    for step in range(60):
        key = jax.random.key(step)
        if step % 10 == 0:
            rollout = random_rollout(env, 1, 4)
            for _ in range(10):
                state = agent.observe(key, state, rollout)
        sample_key, _ = jax.random.split(key)
        sample = ring.sample_uniform(sample_key, state.store, read, 16, 1)
        batch, weight = jax.device_get((sample.example[:5], sample.weight))
        state, _ = update(key, state, jnp.float32(1))
        before = table.copy()
        for s, a, r, discount, after, w in zip(*batch, weight, strict=True):
            terminal = discount == 0
            target = r if terminal else r + 0.9 * before[after].max()
            table[s, a] += w * config.learning_rate * (target - before[s, a])
        found = np.asarray(state.learner.params["table"])[..., 0]
        np.testing.assert_allclose(found, table, rtol=2e-6, atol=1e-7)
    assert table.max() > 0.1


@pytest.mark.parametrize("name", ["tabular_q", "sarsa", "expected_sarsa"])
def test_online_learning_equals_the_textbook_step_by_step(name):
    """One environment, plain NumPy, the book's order of acting and learning."""
    env = adapter.adapt(Corridor(), timeout_is_terminal=True)
    config = family.config(
        name, num_envs=1, rollout_length=1, learning_rate=0.5, epsilon_start=0.3,
        epsilon_end=0.3, total_steps=400, chunk_iterations=1,
    )  # fmt: skip
    trained = family.Trained(config, env)
    table = np.zeros((5, 2))
    state, key = family.lane(trained.state, 0), trained.keys[0]
    iteration = jax.jit(lambda state: loop.iteration(trained.traced, env, key, state))
    last = None
    for _ in range(300):
        state, said = iteration(state)
        said = jax.tree.map(lambda x: np.asarray(x)[0, 0], said)
        s, a, after = said.observation, said.action, said.next_observation
        if name == "sarsa":
            if last is not None:
                s0, a0, r0, ended = last
                target = r0 + (0 if ended else 0.9 * table[s, a])
                table[s0, a0] += 0.5 * (target - table[s0, a0])
            last = (s, a, said.reward, said.terminated)
        else:
            policy = np.asarray(exploration.epsilon_greedy_policy(
                jnp.asarray(table[after], jnp.float32), 0.3
            ))  # fmt: skip
            best = table[after].max()
            following = best if name == "tabular_q" else policy @ table[after]
            target = said.reward + (0 if said.terminated else 0.9 * following)
            table[s, a] += 0.5 * (target - table[s, a])
        found = np.asarray(state.agent.learner.params["table"])[..., 0]
        np.testing.assert_allclose(found, table, rtol=1e-4, atol=1e-5)
    assert table.max() > 0.5


@pytest.mark.parametrize("change", [{"double_q": True}, {"loss": "huber"}])
@pytest.mark.parametrize("name", ["tabular_q", "dqn"])
def test_options_reach_the_update(name, change):
    env = adapter.adapt(Corridor())
    rollout = random_rollout(env, 1, 4)
    rollout = rollout._replace(reward=rollout.reward + 5)  # beyond Huber's delta
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
        # Online and target params disagree on the best action.
        learner = state.learner
        target = jax.tree.map(
            lambda x: jax.random.normal(jax.random.key(5), x.shape),
            learner.target_params,
        )
        state = state._replace(learner=learner._replace(target_params=target))
        state, _ = update(jax.random.key(9), state, epsilon)
        learned.append(state.learner.params)
    assert not same(*learned)


def test_optimistic_values_are_where_a_table_starts():
    env = adapter.adapt(Corridor())
    _, agent = make_agent("tabular_q", env, initial_value=3.0)
    state = agent.init(jax.random.key(0), env.spec.example())
    assert np.all(np.asarray(state.learner.params["table"]) == 3)


def test_noise_differs_between_environments_and_is_off_in_evaluation():
    """With one observation and no epsilon, only noise can tell environments apart."""
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


def test_boltzmann_explores_and_evaluates_greedily():
    env = adapter.adapt(Corridor())
    _, agent = make_agent("tabular_q", env, exploration="boltzmann", temperature=2.0)
    state = agent.init(jax.random.key(0), env.spec.example())
    table = {"table": jnp.zeros((5, 2, 1)).at[:, 1].set(1.0)}
    state = state._replace(learner=state.learner._replace(params=table))
    keys = jax.random.split(jax.random.key(1), 4000)
    act = jax.vmap(agent.act, (0, None, None, None, None, None))
    action, _ = act(keys, state, (), jnp.int32(0), jnp.float32(0), True)
    chance = 1 / (1 + np.exp(-0.5))
    assert (
        abs(float(action.mean()) - chance) < 4 * (chance * (1 - chance) / 4000) ** 0.5
    )
    greedy, _ = act(keys, state, (), jnp.int32(0), jnp.float32(0), False)
    assert bool((greedy == 1).all())


def test_a_table_is_not_a_network():
    config = Config(algorithm="tabular_q", network="mlp", environment="FrozenLake-misc")
    with pytest.raises(ConfigError, match="tabular_q learns a table"):
        checks.check(config)


def test_a_network_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="10 x 10 grid"):
        checks.check(Config(network="minatar"))
    with pytest.raises(ConfigError, match="no numbered states"):
        checks.check(Config(algorithm="tabular_q", environment="CartPole-v1"))


def test_evaluation_counts_the_first_episode_of_every_environment():
    """Half the episodes are long and worthless: the mean is 1/2, not 20/21."""
    env = adapter.adapt(LengthBiased())
    _, agent = make_agent("tabular_q", env)
    state = agent.init(jax.random.key(0), env.spec.example())
    result = jax.jit(
        lambda key: evaluate.evaluate(key, agent, state, env, 4000, 0.0, 100)
    )(jax.random.key(1))
    assert result.finished.all()
    assert abs(float(result.episode_return.mean()) - 0.5) < 4 * 0.5 / 4000**0.5
    assert set(np.asarray(result.episode_length).tolist()) == {1, 20}


def test_evaluation_says_what_it_cut_off():
    env = adapter.adapt(ConstantReward())
    _, agent = make_agent("tabular_q", env)
    state = agent.init(jax.random.key(0), env.spec.example())
    result = evaluate.evaluate(jax.random.key(1), agent, state, env, 3, 0.0, 5)
    assert not result.finished.any()
    np.testing.assert_array_equal(result.episode_return, 5)


@pytest.mark.parametrize(
    "environment", ["Breakout-MinAtar", "FrozenLake-misc", "FourRooms-misc"]
)
def test_dqn_takes_every_kind_of_observation(environment):
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
