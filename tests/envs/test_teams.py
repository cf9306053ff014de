"""Environments of several agents, against stepping them by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from family import TINY
from two_agents import Counting, Credit

import jaxq
from jaxq import Config, ConfigError, adapt_team
from jaxq.agents import algorithms
from jaxq.envs import adapter, frame_stack, lanes
from jaxq.runs import recording, run
from jaxq.training import checks
from jaxq.types import MaskedObservation

STEPS = 60


def by_hand(env, keys, actions, limit):
    """Observations, rewards and ends, with a Python `if` at the end of an episode.

    Only at its own limit does the environment not say whether the task ended.
    """
    observation, state = env.reset(keys[-1])
    rows, count = [], 0
    for key, action in zip(keys[:-1], actions, strict=True):
        step_key, reset_key = jax.random.split(key)
        named = dict(zip(env.agents, action, strict=True))
        successor, state, rewards, dones, _ = env.step_env(step_key, state, named)
        count += 1
        terminated = bool(dones["__all__"]) and count < env.max_steps
        truncated = count >= limit and not terminated
        rows.append((observation, rewards, terminated, truncated, successor))
        observation = successor
        if terminated or truncated:
            (observation, state), count = env.reset(reset_key), 0
    return rows


def padded(env, observation):
    """Vectors of one size with the agent's number, by plain Python."""
    width = max(observation[agent].size for agent in env.agents)
    rows = []
    for i, agent in enumerate(env.agents):
        values = [int(x) for x in observation[agent]]
        number = [int(i == j) for j in range(len(env.agents))]
        rows.append(values + [0] * (width - len(values)) + number)
    return np.array(rows)


@pytest.mark.parametrize("limit", [None, 4])
def test_a_team_steps_as_its_environment_does(limit):
    game = Counting()
    env = adapt_team(game, time_limit=limit)
    keys = jax.random.split(jax.random.key(0), STEPS + 1)
    rng = np.random.default_rng(0)
    actions = np.stack([rng.integers(0, n, STEPS) for n in (2, 3, 2)], axis=1)

    def body(state, inputs):
        return env.step(inputs[0], state, inputs[1])

    _, steps = jax.lax.scan(body, env.reset(keys[-1]), (keys[:-1], jnp.int32(actions)))
    rows = by_hand(game, keys, actions, limit or 5)
    for t, (seen, rewards, terminated, truncated, successor) in enumerate(rows):
        step = jax.tree.map(lambda leaf: leaf[t], steps)  # noqa: B023
        np.testing.assert_array_equal(step.observation.observation, padded(game, seen))
        np.testing.assert_array_equal(
            step.next_observation.observation, padded(game, successor)
        )
        np.testing.assert_array_equal(step.reward, [rewards[a] for a in game.agents])
        assert step.terminated.tolist() == [terminated] * 3
        assert step.truncated.tolist() == [truncated] * 3
    assert np.any(steps.terminated) and np.any(steps.truncated)
    mask = [[True, True, False], [True, True, True], [True, True, False]]
    given = np.asarray(steps.observation.action_mask)
    assert np.all(given == np.array(mask))


def test_the_specification_is_that_of_one_agent():
    env = adapt_team(Counting())
    assert env.spec.num_agents == 3 and env.spec.num_actions == 3
    assert isinstance(env.spec.observation, MaskedObservation)
    assert env.spec.observation.observation == jax.ShapeDtypeStruct((6,), jnp.int32)
    assert env.time_limit == 5
    plain = adapt_team(Credit(), agent_ids=False)
    assert plain.spec.observation == jax.ShapeDtypeStruct((2,), jnp.float32)
    assert plain.spec.valid_actions is None and plain.time_limit == np.inf


def test_the_rows_of_a_batch_are_the_agents_of_each_environment():
    env = adapt_team(Counting())
    keys = jax.random.split(jax.random.key(1), 6)
    state = lanes.reset(env, keys)
    actions = jnp.int32([1, 2, 0, 0, 1, 1])
    after, steps = lanes.step(env, keys, state, actions)
    for team in range(2):
        rows = slice(3 * team, 3 * team + 3)
        alone = env.reset(keys[3 * team])
        one_after, one = env.step(keys[3 * team], alone, actions[rows])
        for batch, single in ((steps, one), (after.observation, one_after.observation)):
            batch = jax.tree.map(lambda leaf: leaf[rows], batch)  # noqa: B023
            assert jax.tree.all(
                jax.tree.map(lambda a, b: bool(jnp.all(a == b)), batch, single)
            )


def test_a_mask_of_the_environment_is_given_unless_it_is_left_out():
    class Masked(Credit):
        def get_avail_actions(self, state):
            return {"ann": jnp.array([1, 0]), "bob": jnp.stack([state["value"], 1])}

    env = adapt_team(Masked())
    state = env.reset(jax.random.key(3))
    value = int(state.inner.inner["value"])
    assert state.observation.action_mask.tolist() == [
        [True, False],
        [bool(value), True],
    ]
    assert adapt_team(Masked(), mask=False).spec.valid_actions is None


class Images(Credit):
    def __init__(self, sizes):
        self.sizes = sizes

    def observe(self, value):
        return {
            agent: jnp.zeros((size, 4, 1)) + value
            for agent, size in zip(self.agents, self.sizes, strict=True)
        }


def test_images_of_one_shape_are_kept_as_they_are():
    assert adapt_team(Images((4, 4))).spec.observation.shape == (4, 4, 1)
    with pytest.raises(ConfigError, match=r"shapes \[\(3, 4, 1\), \(4, 4, 1\)\]"):
        adapt_team(Images((3, 4)))


def test_other_objects_are_refused_with_the_interface():
    with pytest.raises(ConfigError, match=r"has no agents and no reset .*JaxMARL"):
        adapt_team(object(), "mine")

    class Continuous(Credit):
        def action_space(self, agent):
            return "Box(2)"

    with pytest.raises(ConfigError, match=r"actions of ann are Box\(2\), not a finite"):
        adapt_team(Continuous())
    with pytest.raises(ConfigError, match=r"time_limit = 9 .* exceeds its own"):
        adapt_team(Counting(), time_limit=9)
    with pytest.raises(ConfigError, match=r"frame_stack = 2: .* has 2 agents"):
        frame_stack.stack_frames(adapt_team(Credit()), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 4}, r"num_envs = 4 must be a multiple of 3.*Set it to 6"),
        ({"eval_episodes": 7}, r"eval_episodes = 7 must be a multiple.*Set it to 9"),
        ({"diagnostics": True}, r"diagnostics = True: .* has 3 agents"),
        (
            {"algorithm": "pqn_vdn", "num_minibatches": 64, "num_epochs": 1},
            r"num_minibatches = 64 must divide 32, .* multiple of 192",
        ),
    ],
)
def test_settings_that_do_not_fit_a_team_are_refused(changes, message):
    env = adapt_team(Counting())
    base = {"num_envs": 3, "eval_episodes": 3, "algorithm": "pqn"}
    config = dataclasses.replace(
        Config(defaults="plain"), **(base | {"num_minibatches": 8} | changes)
    )
    with pytest.raises(ConfigError, match=message):
        checks.check_team(config, env.spec)


@pytest.mark.conformance
@pytest.mark.slow
def test_a_dataset_has_the_steps_of_every_agent():
    config = dataclasses.replace(TINY, num_envs=6, eval_episodes=6, total_steps=300)
    env = adapt_team(Counting())
    result = run.run(config, environment=env)
    policy = jaxq.load(result, env, seed=0)
    data = recording.record(policy, env, 60, 1.0, 0, 6)
    assert data.action.size == 60 and np.all(data.action[:10] < 2)
    with pytest.raises(ConfigError, match=r"num_envs = 4 must be a multiple of 3"):
        recording.record(policy, env, 60, 1.0, 0, 4)


def test_truncations_can_be_reported_as_terminations():
    env = adapter.end_at_timeouts(adapt_team(Counting(), time_limit=1))
    _, step = env.step(
        jax.random.key(0), env.reset(jax.random.key(1)), jnp.zeros(3, jnp.int32)
    )
    assert np.all(step.terminated) and not np.any(step.truncated)


def test_a_team_of_one_learns_what_pqn_learns():
    """The sum over one agent is its own value: the same loss for the same examples."""
    config = dataclasses.replace(
        TINY, algorithm="pqn_vdn", rollout_length=4, num_minibatches=2, num_epochs=1
    )
    env = adapt_team(Credit())
    spec = env.spec._replace(num_agents=1)
    states = []
    for changes in ({}, {"value_decomposition": "none"}):
        agent = algorithms.make(dataclasses.replace(config, **changes), spec)
        key = jax.random.key(0)
        state = agent.init(key, spec.example())
        rollout = jax.tree.map(
            lambda x: jnp.ones((4, 2, *x.shape), x.dtype), spec.example()
        )
        state = agent.observe(key, state, rollout)
        states.append(agent.update(key, state, 0.1)[0].learner.params)
    equal = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), *states)
    assert jax.tree.all(equal)


@pytest.mark.slow
@pytest.mark.conformance
def test_the_sum_teaches_an_agent_that_is_never_rewarded_itself():
    """Bob's action decides Ann's reward: the mean of both is 1/2, by chance 1/4."""
    config = Config(
        defaults="plain", algorithm="pqn_vdn", num_seeds=4, seed_block=4,
        num_envs=16, rollout_length=4, num_minibatches=2, total_steps=10_000,
        hidden_sizes=(16,), learning_rate=3e-3, epsilon_steps=5_000.0,
        eval_points=1, eval_episodes=200,
    )  # fmt: skip
    summed = run.run(config, environment=adapt_team(Credit()))
    assert np.all(summed.curve.eval_return[:, -1] == 0.5)
    alone = dataclasses.replace(config, value_decomposition="none")
    independent = run.run(alone, environment=adapt_team(Credit()))
    assert independent.curve.eval_return[:, -1].mean() < 0.4


@pytest.mark.slow
@pytest.mark.conformance
def test_a_recurrent_team_learns_too():
    config = Config(
        defaults="plain", algorithm="pqn_rnn", value_decomposition="vdn", num_seeds=2,
        seed_block=2, num_envs=16, rollout_length=4, num_minibatches=2, num_epochs=2,
        total_steps=10_000, memory_size=16, hidden_sizes=(16,), learning_rate=3e-3,
        epsilon_steps=5_000.0, eval_points=1, eval_episodes=200,
    )  # fmt: skip
    result = run.run(config, environment=adapt_team(Credit()))
    assert np.all(result.curve.eval_return[:, -1] == 0.5)


def test_replay_agents_learn_from_the_steps_of_every_agent():
    """Each agent by itself, which is independent Q-learning."""
    config = dataclasses.replace(TINY, num_envs=6, eval_episodes=6)
    result = run.run(config, environment=adapt_team(Counting()))
    assert np.all(np.isfinite(result.curve.loss[:, 1:])) and np.all(
        result.curve.eval_return > 0
    )
