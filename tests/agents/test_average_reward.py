"""Average rewards against the plainest recursion, exact gains and invariances."""

import dataclasses
import json

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, SLOW
from family import Trained
from mdps import ShortOrRich, TwoLoops

from jaxq import ConfigError
from jaxq.agents import algorithms, average_reward, factory, head_factory, q_lambda
from jaxq.config import validate
from jaxq.config.config import Config, from_json
from jaxq.envs import adapter
from jaxq.replay import ring, transition_readers
from jaxq.rl import heads
from jaxq.training import learned_steps
from jaxq.types import EnvSpec, LearnerState, Network, Step

STATES, ACTIONS = 5, 3
SPEC = EnvSpec(
    "numbered", jax.ShapeDtypeStruct((), jnp.int32), ACTIONS, num_states=STATES,
    state_index=lambda observation: observation,
)  # fmt: skip
KINDS = ("differential", "centering", "rvi")
ONLINE = Config(
    defaults="plain", algorithm="tabular_q", rollout_length=1, learning_rate=0.1,
    average_reward_rate=0.3, num_envs=1, epsilon_schedule="none",
)  # fmt: skip


def online(kind, **changes):
    gamma = 0.9 if kind in ("centering", "none") else 1.0
    fields = {"average_reward": kind, "discount": gamma} | changes
    return dataclasses.replace(ONLINE, **fields)


def stream(rng, time, envs=1):
    """Random steps [T, E], and the observation after each, of the next episode."""
    shape = (time, envs)
    observation = rng.integers(0, STATES, (time + 1, envs)).astype(np.int32)
    terminated = rng.random(shape) < 0.2
    truncated = ~terminated & (rng.random(shape) < 0.2)
    other = rng.integers(0, STATES, shape)
    successor = np.where(terminated | truncated, other, observation[1:])
    steps = Step(
        observation[:-1],
        rng.integers(0, ACTIONS, shape).astype(np.int32),
        rng.normal(1.0, 1.0, shape).astype(np.float32),
        terminated,
        truncated,
        successor.astype(np.int32),
    )
    return steps, observation[1:]


def learn(config, steps, after, shift=0.0, start=0.0):
    """Tables [T, S, A] and averages [T] after every rollout of one step."""
    agent = algorithms.make(config, SPEC)
    state = agent.init(jax.random.key(0), SPEC.example())
    state = state._replace(
        learner=state.learner._replace(average_reward=jnp.float32(start))
    )

    @jax.jit
    def advance(state, step, after):
        step = step._replace(reward=step.reward + shift)
        rollout = learned_steps.as_learned(
            config, jax.tree.map(lambda x: x[None], step), after
        )
        state = agent.observe(jax.random.key(1), state, rollout)
        state, _ = agent.update(jax.random.key(2), state, jnp.float32(0))
        return state, (state.learner.params["table"][..., 0], state.learner)

    tables, averages = [], []
    for t in range(len(after)):
        step = jax.tree.map(lambda x, t=t: x[t], steps)
        state, (table, learner) = advance(state, step, after[t])
        tables.append(np.asarray(table))
        averages.append(float(learner.average_reward))
    return np.array(tables), np.array(averages)


def plain(config, steps, after):
    """The recursion, in float64: one step at a time, or a mean over environments."""
    table, average = np.zeros((STATES, ACTIONS)), 0.0
    tables, averages = [], []
    for t in range(len(after)):
        errors = []
        for e in range(after.shape[1]):
            s, a = steps.observation[t, e], steps.action[t, e]
            # Only a truncation has a successor that is not the next row.
            follows = steps.next_observation if steps.truncated[t, e] else after
            value = table[follows[t, e]].max()
            target = steps.reward[t, e] - average + config.discount * value
            errors.append(target - table[s, a])
        for e, error in enumerate(errors):
            s, a = steps.observation[t, e], steps.action[t, e]
            table[s, a] += config.learning_rate * error
        if config.average_reward == "rvi":
            average = table.mean()
        else:
            rate = config.average_reward_rate * config.learning_rate
            average += rate * np.mean(errors)
        tables.append(table.copy())
        averages.append(average)
    return np.array(tables), np.array(averages)


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_equals_the_plain_recursion(kind, envs, rng):
    config = online(kind, num_envs=envs)
    steps, after = stream(rng, 200, envs)
    tables, averages = learn(config, steps, after)
    expected_tables, expected_averages = plain(config, steps, after)
    np.testing.assert_allclose(tables, expected_tables, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(averages, expected_averages, rtol=1e-4, atol=1e-4)
    assert np.abs(averages[-1]) > 0.05


@pytest.mark.parametrize("kind", ["differential", "centering"])
def test_learning_is_invariant_to_a_constant_added_to_all_rewards(kind, rng):
    """From an average that is shifted likewise, every table is the same."""
    steps, after = stream(rng, 200)
    config = online(kind)
    tables, averages = learn(config, steps, after)
    shifted, shifted_averages = learn(config, steps, after, shift=20.0, start=20.0)
    np.testing.assert_allclose(shifted, tables, atol=2e-3)
    np.testing.assert_allclose(shifted_averages, averages + 20.0, atol=2e-3)
    # Without centring, values move by nearly 20 / (1 - gamma) = 200.
    uncentred = learn(dataclasses.replace(config, average_reward_rate=1e-9), steps,
                      after, shift=20.0)[0]  # fmt: skip
    assert np.abs(uncentred[-1] - tables[-1]).max() > 20.0


def test_rvi_is_differential_q_learning_at_the_rate_one_over_the_entries(rng):
    """There the sum of all TD errors is the mean entry (Wan et al., section 3)."""
    steps, after = stream(rng, 300)
    rvi = learn(online("rvi"), steps, after)
    rate = 1 / (STATES * ACTIONS)
    same = learn(online("differential", average_reward_rate=rate), steps, after)
    np.testing.assert_allclose(rvi[0], same[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rvi[1], same[1], rtol=1e-4, atol=1e-4)


def test_the_average_is_that_of_the_rate_times_the_sum_of_all_entries(rng):
    """Each step moves both by a multiple of the same TD error."""
    config = online("centering")
    tables, averages = learn(config, *stream(rng, 300))
    total = config.average_reward_rate * tables.sum(axis=(1, 2))
    np.testing.assert_allclose(averages, total, rtol=1e-3, atol=1e-4)


def two_loops():
    return adapter.adapt(TwoLoops())


LOOPS = dict(
    num_seeds=1, num_envs=4, rollout_length=2, n_step=1, learning_rate=0.05,
    learning_rate_schedule="constant", epsilon_schedule="linear", epsilon_start=1.0,
    epsilon_end=1.0, total_steps=200_000,
)  # fmt: skip


def learned_average(config, env):
    trained = Trained(config, env).train()
    values = trained.q_values([jnp.int32(0)])
    return float(trained.state.agent.learner.average_reward[0]), values


@pytest.mark.parametrize("kind", ["differential", "rvi"])
def test_the_average_is_the_gain_of_the_best_of_two_loops(kind):
    config = family.config(
        "differential_q", average_reward=kind, **LOOPS, average_reward_rate=0.5
    )
    average, values = learned_average(config, two_loops())
    assert average == pytest.approx(0.4, abs=0.02)
    # Relative values: the bias of the poor loop is -1 after its five steps.
    assert values[1] - values[0] == pytest.approx(1.0, abs=0.1)


def test_centred_values_lack_the_average_over_one_minus_gamma():
    config = family.config(
        "tabular_q", average_reward="centering", discount=0.8, average_reward_rate=0.1,
        **LOOPS | {"rollout_length": 4},
    )  # fmt: skip
    trained = Trained(config, two_loops()).train()
    average = float(trained.state.agent.learner.average_reward[0])
    table = np.asarray(trained.state.agent.learner.params["table"][0, ..., 0])
    optimum = np.zeros((9, 2))
    for _ in range(500):
        best = optimum.max(axis=1)
        for state in range(1, 9):
            after = 0 if state in (4, 8) else state + 1
            optimum[state] = 2.0 * (state == 8) + 0.8 * best[after]
        optimum[0] = 1.0 + 0.8 * best[1], 0.8 * best[5]
    np.testing.assert_allclose(table, optimum - average / 0.2, atol=0.05)
    assert 0.1 < average < 1.0


@pytest.mark.parametrize(
    ("name", "n_step", "changes"),
    [
        ("tabular_q", 3, {}),
        ("expected_sarsa", 3, {"rollout_length": 3}),
        pytest.param("sarsa", 3, {}, marks=CONFORMANCE),
        pytest.param("tabular_q", 5, {"prioritized": True}, marks=CONFORMANCE),
        pytest.param("dqn", 3, {}, marks=CONFORMANCE),
        pytest.param("bootstrapped_dqn", 3, {}, marks=CONFORMANCE),
        pytest.param("c51", 3, {}, marks=CONFORMANCE),
        pytest.param("r2d2", 3, {}, marks=SLOW),
        pytest.param("pqn", 1, {}, marks=CONFORMANCE),
    ],
)
def test_every_reward_of_a_return_is_centred(name, n_step, changes):
    """The value of a constant reward of 1 is (1 - average) / (1 - gamma)."""
    config = family.config(
        name, n_step=n_step, average_reward="centering", total_steps=16_000,
        target_period=4, average_reward_rate=1.0 if name in family.TABULAR else 0.3,
        **changes,
    )  # fmt: skip
    trained = Trained(config, family.constant()).train()
    average = float(trained.state.agent.learner.average_reward[0])
    values = trained.q_values([jnp.int32(0)])
    assert 0.02 < average < 0.99
    np.testing.assert_allclose(values, (1 - average) / 0.1, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "name",
    [
        "tabular_q",
        pytest.param("n_step_q", marks=CONFORMANCE),
        pytest.param("sarsa", marks=CONFORMANCE),
        pytest.param("dyna_q", marks=CONFORMANCE),
        pytest.param("double_q_learning", marks=CONFORMANCE),
        pytest.param("peng_q_lambda", marks=CONFORMANCE),
        pytest.param("dqn", marks=CONFORMANCE),
        pytest.param("r2d2", marks=SLOW),
        pytest.param("pqn", marks=CONFORMANCE),
        pytest.param("pqn_rnn", marks=SLOW),
        pytest.param("hl_gauss_dqn", marks=SLOW),
    ],
)
def test_where_episodes_start_anew_the_reward_per_step_is_maximised(name):
    """A return of 1 after every step beats one of 2 after four.

    From terminal states that are worth 0 any average would be learned, and the policy
    would follow from it.
    """
    config = family.config(
        name, average_reward="differential", discount=1.0, total_steps=40_000,
        epsilon_start=0.3, epsilon_end=0.3, epsilon_schedule="linear", v_min=-10.0,
        v_max=10.0, learning_rate=0.02 if name in family.TABULAR else 2e-3,
        average_reward_rate=0.5 if name in family.TABULAR else 5.0,
        learning_rate_schedule="constant",
    )  # fmt: skip
    average, values = learned_average(config, adapter.adapt(ShortOrRich()))
    assert values[0] > values[1] + 0.3
    if name not in family.BEHAVIOUR_TARGETS:
        assert average == pytest.approx(1.0, abs=0.15)


def plain_returns(values, steps, after, gamma, decay):
    """Q(lambda) returns of a continuing task, from the end of the rollout."""
    returns = np.zeros(after.shape)
    for t, e in reversed(list(np.ndindex(after.shape))):
        cut = steps.truncated[t, e]
        value = values[(steps.next_observation if cut else after)[t, e]].max()
        if t + 1 < len(after) and not cut:
            value = (1 - decay) * value + decay * returns[t + 1, e]
        returns[t, e] = steps.reward[t, e] + gamma * value
    return returns


def test_returns_of_rollouts_are_centred_and_pass_from_one_episode_to_the_next(rng):
    config = Config(
        defaults="plain", algorithm="peng_q_lambda", rollout_length=12, num_envs=3,
        trace_decay=0.7, average_reward="centering", discount=0.9,
    )  # fmt: skip
    steps, after = stream(rng, 12, 3)
    agent = algorithms.make(config, SPEC)
    state = agent.init(jax.random.key(0), SPEC.example())
    values = rng.normal(size=(STATES, ACTIONS))
    state = state._replace(
        learner=state.learner._replace(
            params={"table": jnp.asarray(values[..., None], jnp.float32)},
            average_reward=jnp.float32(0.4),
        )
    )
    rollout = learned_steps.as_learned(
        config, jax.tree.map(jnp.asarray, steps), after[-1]
    )
    state = agent.observe(jax.random.key(1), state, rollout)
    actual = state.examples.target_return.reshape(12, 3)
    centred = steps._replace(reward=steps.reward - 0.4)
    expected = plain_returns(values, centred, after, 0.9, 0.7)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_a_replayed_return_passes_from_one_episode_to_the_next(n, rng):
    time, gamma = 40, 0.9
    steps, after = stream(rng, time, 2)
    read = jax.jit(
        transition_readers.transitions(SPEC.observation, n, gamma, continuing=True)
    )
    state = ring.init(SPEC.example(), time, 2, ACTIONS)
    state = ring.add(state, jax.tree.map(jnp.asarray, steps))
    for t, e in np.ndindex(time - n, 2):
        transition, weight = read(state, jnp.int32(t), jnp.int32(e))
        assert weight == (not steps.truncated[t, e])
        if not weight:
            continue
        reward, count, k = 0.0, 0.0, 0
        while k < n and not steps.truncated[t + k, e]:
            reward += gamma**k * steps.reward[t + k, e]
            count += gamma**k
            k += 1
        np.testing.assert_allclose(transition.reward, reward, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(transition.discount, gamma**k, rtol=1e-5)
        np.testing.assert_allclose(transition.duration, count, rtol=1e-5)
        assert transition.next_observation == after[t + k - 1, e]
        learner = LearnerState({}, {}, (), jnp.int32(-1), (), jnp.float32(0.5))
        centred = average_reward.centred(learner, transition).reward
        np.testing.assert_allclose(centred, reward - 0.5 * count, rtol=1e-4, atol=1e-5)


def test_the_next_episode_is_evaluated_without_a_memory_of_the_last():
    """The memory counts steps, and is the value."""

    def step(key, params, memory, observation):
        return jnp.full((2, 1), memory), memory + 1.0

    network = Network(
        lambda key, observation: (), lambda *_: None, heads.scalar(), step,
        lambda key: jnp.float32(0),
    )  # fmt: skip
    time, ends = jnp.arange(4.0), jnp.arange(4) == 1
    steps = Step(
        time, jnp.zeros(4, jnp.int32), jnp.zeros(4), ends, jnp.zeros(4, bool), time,
        memory=jnp.array([5.0, 6.0, 0.0, 1.0]),
    )  # fmt: skip
    config = Config(
        defaults="plain", algorithm="pqn_rnn", trace_decay=0.0, discount=0.5,
        average_reward="centering",
    )  # fmt: skip
    returns = q_lambda.q_lambda_returns(network, (), steps, config, config.discount)
    np.testing.assert_allclose(returns, [3.0, 0.0, 0.5, 1.0])


def test_an_average_of_a_diverged_seed_is_frozen():
    learner = LearnerState({}, {}, (), jnp.int32(-1), (), jnp.float32(0.5))

    def moved(error, healthy):
        return average_reward.learn(
            online("differential"), learner, jnp.float32(9), jnp.float32(error),
            jnp.float32(0.1), jnp.bool_(healthy),
        ).average_reward  # fmt: skip

    assert moved(2.0, True) == pytest.approx(0.5 + 0.3 * 0.1 * 2.0)
    assert moved(2.0, False) == moved(np.nan, True) == 0.5
    with pytest.raises(ConfigError, match="Give its head a `td_error`"):
        average_reward.learn(
            online("centering"), learner, jnp.float32(9), None, 0.1, jnp.bool_(True)
        )


@pytest.mark.parametrize("name", ["dqn", "pqn", "tabular_q", "double_q_learning"])
def test_without_an_average_nothing_is_added_to_the_state_or_the_loss(name):
    config = Config(defaults="plain", algorithm=name)
    agent = algorithms.make(config, SPEC)
    state = jax.eval_shape(agent.init, jax.random.key(0), SPEC.example())
    assert state.learner.average_reward == ()
    assert head_factory.make_head(config).td_error is None
    if name == "double_q_learning":
        assert factory.make_double_table(config, SPEC).head.td_error is None


def test_configurations_of_earlier_versions_have_no_average():
    config = Config(algorithm="rainbow", environment="Acrobot-v1")
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    del fields["average_reward"], fields["average_reward_rate"]
    assert from_json(fields) == config


def test_an_undiscounted_kind_sets_the_discount_unless_it_is_given():
    config = Config(average_reward="rvi")
    assert config.discount == 1.0
    assert dataclasses.replace(config, average_reward="none").discount == 0.99
    assert Config(average_reward="centering").discount == 0.99
    with pytest.raises(ConfigError, match="is incompatible with an average reward wi"):
        validate.validate(Config(average_reward="differential", discount=0.9))
    with pytest.raises(ConfigError, match="the variance of an undiscounted sum"):
        validate.validate(Config(average_reward="rvi", algorithm="qr_dqn"))


def test_histograms_of_centred_returns_reach_below_zero():
    """The rewards of Catch are -1 or 1, those of FrozenLake 0 or 1."""
    plain = Config(algorithm="c51", environment="FrozenLake-misc")
    centred = dataclasses.replace(plain, average_reward="centering")
    assert plain.v_min > -0.2 * plain.v_max
    assert centred.v_min == -centred.v_max < -0.9 * (plain.v_max - plain.v_min)


def test_no_episode_ends_the_sum_of_centred_rewards():
    """FourRooms pays 1 per episode, and a continuing task one per passage."""
    config = Config(
        environment="FourRooms-misc", head="hl_gauss", average_reward="centering"
    )
    assert config.v_max == -config.v_min > 1 / (1 - 0.99)
    undiscounted = dataclasses.replace(config, average_reward="differential")
    with pytest.raises(ConfigError, match="needs v_min and v_max"):
        validate.validate(undiscounted)


def test_a_step_counts_in_centred_values_as_one_that_leads_to_the_next_episode():
    learner = LearnerState({}, {}, (), jnp.int32(-1), (), jnp.float32(0.5))
    false, true = jnp.bool_(False), jnp.bool_(True)
    step = Step(jnp.int32(3), jnp.int32(0), jnp.float32(2), true, false, jnp.int32(4))
    counted = average_reward.continuing_step(learner, step, jnp.int32(1))
    assert (counted.reward, counted.next_observation) == (1.5, 1)
    assert counted.truncated and not counted.terminated
    going_on = step._replace(terminated=false)
    counted = average_reward.continuing_step(learner, going_on, jnp.int32(4))
    assert counted.next_observation == 4 and not counted.truncated
    plain = learner._replace(average_reward=())
    assert average_reward.continuing_step(plain, step, jnp.int32(1)) is step
