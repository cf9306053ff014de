"""Conformance of every algorithm, and the values it must find."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same
from mdps import PROBES, ConstantReward, Corridor

from jaxq import (
    algorithms,
    catalogue,
    environments,
    evaluate,
    heads,
    replay,
    run,
    types,
)
from jaxq.config import Config, ConfigError

DEEP = Config(
    num_seeds=2,
    seed_block=2,
    total_steps=4000,
    num_envs=4,
    buffer_size=1000,
    batch_size=32,
    warmup_steps=200,
    update_steps=4,
    num_updates=2,
    hidden_sizes=(32,),
    learning_rate=5e-3,
    target_period=20,
    discount=0.9,
    epsilon_end=1.0,
    eval_points=1,
    eval_episodes=2,
    eval_max_steps=50,
)
TABLE = dataclasses.replace(
    DEEP,
    algorithm="tabular_q",
    network="table",
    optimizer="sgd",
    loss_reduction="sum",
    learning_rate=0.05,
    target_period=1,
)
CONFIGS = {"dqn": DEEP, "tabular_q": TABLE}


def test_every_algorithm_is_tested():
    assert set(CONFIGS) == set(algorithms.ALGORITHMS)


def make_agent(name, env, **changes):
    config = dataclasses.replace(CONFIGS[name], **changes)
    return config, algorithms.make(config, env.spec)


def random_rollout(env, time, envs):
    key = jax.random.key(7)
    state = jax.vmap(env.reset)(jax.random.split(key, envs))

    def step(state, key):
        action = jax.random.randint(key, (envs,), 0, env.spec.num_actions)
        return jax.vmap(env.step)(jax.random.split(key, envs), state, action)

    return jax.lax.scan(step, state, jax.random.split(key, time))[1]


def signature(tree):
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("how", ["eager", "jit", "vmap"])
def test_structure_types_and_finiteness_are_kept(name, how):
    env = environments.adapt(Corridor())
    _, agent = make_agent(name, env)
    traces = []

    def cycle(key, rollout):
        traces.append(1)
        init_key, act_key, update_key = jax.random.split(key, 3)
        state = agent.init(init_key, env.spec.example())
        observed = agent.observe(state, rollout)
        updated, metrics = agent.update(update_key, observed)
        action = agent.act(act_key, updated, rollout.observation[0], jnp.full(4, 0.1))
        assert signature(state) == signature(observed) == signature(updated)
        return updated, metrics, action

    rollout = random_rollout(env, 10, 4)
    key = jax.random.key(0)
    if how == "vmap":
        keys = jax.random.split(key, 3)
        axes = types.seed_axes(jax.eval_shape(cycle, key, rollout))
        traces.clear()
        mapped = jax.jit(jax.vmap(cycle, in_axes=(0, None), out_axes=axes))
        out = mapped(keys, rollout)
        mapped(keys, rollout)
    elif how == "jit":
        jitted = jax.jit(cycle)
        out = jitted(key, rollout)
        jitted(key, rollout)
    else:
        with jax.debug_key_reuse(True):
            out = cycle(key, rollout)
    assert len(traces) == 1
    for leaf in jax.tree.leaves(out):
        assert np.isfinite(leaf).all()
    action = np.asarray(out[2])
    assert action.dtype == np.int32 and set(action.ravel()) <= {0, 1}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_update_depends_on_the_target_params(name):
    env = environments.adapt(Corridor())
    _, agent = make_agent(name, env, target_period=1000)
    state = agent.init(jax.random.key(0), env.spec.example())
    state = agent.observe(state, random_rollout(env, 10, 4))
    shifted = state._replace(
        learner=state.learner._replace(
            target_params=jax.tree.map(lambda x: x + 10, state.learner.target_params)
        )
    )
    key = jax.random.key(1)
    left, _ = agent.update(key, state)
    right, _ = agent.update(key, shifted)
    assert not same(left.learner.params, right.learner.params)


def q_values(result, env, seed, observation):
    config = result.config
    head = heads.scalar(config.loss, config.huber_delta)
    network = algorithms.make_network(config, env.spec, head)
    params = jax.tree.map(lambda leaf: leaf[seed], result.params)
    output = network.apply(jax.random.key(0), params, observation)
    return np.asarray(network.head.q_values(output))


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("name", CONFIGS)
def test_probe_environments_are_solved(name, probe):
    table = catalogue.TableIndex(
        9, lambda o: (3 * jnp.sign(o[0]) + jnp.sign(o[1]) + 4).astype(jnp.int32)
    )
    env = environments.adapt(probe(), table=table)
    result = run.run(CONFIGS[name], env)
    for seed in range(2):
        for (observation, action), value in probe.truth:
            found = q_values(result, env, seed, jnp.asarray(observation))[action]
            np.testing.assert_allclose(found, value, atol=0.05)


@pytest.mark.parametrize("n_step", [1, 3, 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_constant_reward_is_worth_its_geometric_sum(name, n_step):
    """Through truncations every 7 steps: 1 / (1 - 0.9) = 10 for every n."""
    config = dataclasses.replace(
        CONFIGS[name], n_step=n_step, total_steps=12_000, target_period=5
    )
    env = environments.adapt(ConstantReward())
    result = run.run(config, env)
    values = q_values(result, env, 0, jnp.int32(0))
    np.testing.assert_allclose(values, 10.0, rtol=0.03)


@pytest.mark.parametrize("name", CONFIGS)
def test_timeout_is_terminal_gives_the_value_of_the_limited_task(name):
    config = dataclasses.replace(CONFIGS[name], timeout_is_terminal=True)
    if name == "tabular_q":  # one entry takes every sample of a minibatch
        config = dataclasses.replace(config, learning_rate=0.002)
    env = environments.adapt(ConstantReward(), timeout_is_terminal=True)
    result = run.run(config, env)
    # Averaged over where in an episode of 7 steps it is: V = 1 + 0.9 * (6/7) V.
    values = q_values(result, env, 0, jnp.int32(0))
    np.testing.assert_allclose(values, 1 / (1 - 0.9 * 6 / 7), rtol=0.1)


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_time_limit_does_not_change_the_value(name, n_step):
    """Corridor, truncated after 6 random steps: Q(s, right) = 0.9^(3 - s)."""
    config = dataclasses.replace(
        CONFIGS[name], n_step=n_step, total_steps=8000, num_seeds=1, seed_block=1
    )
    env = environments.adapt(Corridor())
    result = run.run(config, env)
    for state in range(4):
        expected = 0.9 ** (3 - state)
        right = q_values(result, env, 0, jnp.int32(state))[1]
        if n_step == 1:
            np.testing.assert_allclose(right, expected, atol=0.04)
        else:  # uncorrected n-step returns are partly those of the random behaviour
            assert 0.3 * expected < right <= expected + 0.04


def test_the_table_equals_plain_numpy_q_learning():
    """The same minibatches, entry by entry: Q(s, a) += lr (R - Q(s, a))."""
    env = environments.adapt(Corridor())
    config, agent = make_agent("tabular_q", env, batch_size=16)
    state = agent.init(jax.random.key(0), env.spec.example())
    update = jax.jit(agent.update)
    table = np.zeros((5, 2), np.float64)
    for step in range(60):
        key = jax.random.key(step)
        if step % 10 == 0:
            rollout = random_rollout(env, 10, 4)
            state = agent.observe(state, rollout)
        sample_key, _ = jax.random.split(key)
        sample = replay.sample_uniform(
            sample_key, state.replay, env.spec.observation, 16, 1, config.discount
        )
        batch, weight = jax.device_get((sample.transition, sample.weight))
        state, _ = update(key, state)
        before = table.copy()
        for s, a, r, discount, after, w in zip(*batch, weight, strict=True):
            terminal = discount == 0
            target = r if terminal else r + 0.9 * before[after].max()
            table[s, a] += w * config.learning_rate * (target - before[s, a])
        found = np.asarray(state.learner.params["table"])[..., 0]
        np.testing.assert_allclose(found, table, rtol=2e-6, atol=1e-7)
    assert table.max() > 0.1


@pytest.mark.parametrize("change", [{"double_q": True}, {"loss": "huber"}])
@pytest.mark.parametrize("name", CONFIGS)
def test_options_reach_the_update(name, change):
    env = environments.adapt(Corridor())
    rollout = random_rollout(env, 10, 4)
    rollout = rollout._replace(reward=rollout.reward + 5)  # beyond Huber's delta
    learned = []
    for changes in ({}, change):
        _, agent = make_agent(name, env, target_period=1000, **changes)
        state = agent.observe(
            agent.init(jax.random.key(0), env.spec.example()), rollout
        )
        for i in range(5):
            state, _ = agent.update(jax.random.key(i), state)
        # Online and target params disagree on the best action.
        learner = state.learner
        target = jax.tree.map(
            lambda x: jax.random.normal(jax.random.key(5), x.shape),
            learner.target_params,
        )
        state = state._replace(learner=learner._replace(target_params=target))
        state, _ = agent.update(jax.random.key(9), state)
        learned.append(state.learner.params)
    assert not same(*learned)


def test_a_table_is_not_a_network():
    with pytest.raises(ConfigError, match="tabular_q learns a table"):
        run.check(
            dataclasses.replace(TABLE, network="mlp", environment="FrozenLake-misc")
        )


def test_optimistic_values_are_a_traced_field():
    env = environments.adapt(Corridor())
    _, agent = make_agent("tabular_q", env, initial_value=3.0)
    state = agent.init(jax.random.key(0), env.spec.example())
    assert np.all(np.asarray(state.learner.params["table"]) == 3)


def test_a_network_that_does_not_fit_is_refused():
    config = dataclasses.replace(DEEP, network="minatar")
    with pytest.raises(ConfigError, match="needs a 10 x 10 grid"):
        run.check(config)
    with pytest.raises(ConfigError, match="no numbered states"):
        run.check(dataclasses.replace(TABLE, environment="CartPole-v1"))


def test_evaluation_counts_the_first_episode_of_every_environment():
    """Half the episodes are long and worthless: the mean is 1/2, not 20/21."""
    from mdps import LengthBiased

    env = environments.adapt(LengthBiased())
    _, agent = make_agent("tabular_q", env)
    state = agent.init(jax.random.key(0), env.spec.example())
    result = jax.jit(
        lambda key: evaluate.evaluate(key, agent, state, env, 4000, 0.0, 100)
    )(jax.random.key(1))
    assert result.finished.all()
    assert abs(float(result.episode_return.mean()) - 0.5) < 4 * 0.5 / 4000**0.5
    assert set(np.asarray(result.episode_length).tolist()) == {1, 20}


def test_evaluation_says_what_it_cut_off():
    env = environments.adapt(ConstantReward())
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
        DEEP, environment=environment, total_steps=400, batch_size=8, num_updates=1,
        eval_max_steps=20,
    )  # fmt: skip
    result = run.run(config)
    assert np.isfinite(result.curve.loss[:, -1]).all()
    assert not same(
        jax.tree.map(lambda leaf: leaf[0], result.params),
        jax.tree.map(lambda leaf: leaf[1], result.params),
    )
