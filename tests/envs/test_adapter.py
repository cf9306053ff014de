import dataclasses
import subprocess
import sys

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mdps import MDP, Corridor, Discrete

from jaxq.config import config
from jaxq.config.config import ConfigError
from jaxq.envs import adapter, gymnax_facts, gymnax_mdps, make, mdp
from jaxq.runs import run
from jaxq.xla import prng

PLAYABLE = [
    name
    for name in gymnax.registered_envs
    if name not in gymnax_facts.DOWNLOADS
    and name
    not in (
        "Pendulum-v1",
        "MountainCarContinuous-v0",
        "PointRobot-misc",
        "Reacher-misc",
        "Swimmer-misc",
    )
]


def play(env, time, envs, seed=0):
    """Random actions; Step[T, E]."""

    @jax.jit
    def go(key):
        reset_key, key = jax.random.split(key)
        state = jax.vmap(env.reset)(jax.random.split(reset_key, envs))

        def step(state, key):
            action_key, env_key = jax.random.split(key)
            action = jax.random.randint(action_key, (envs,), 0, env.spec.num_actions)
            return jax.vmap(env.step)(jax.random.split(env_key, envs), state, action)

        return jax.lax.scan(step, state, jax.random.split(key, time))[1]

    return jax.device_get(go(jax.random.key(seed)))


@pytest.mark.parametrize("name", PLAYABLE)
def test_every_environment_keeps_the_contract(name):
    env = make.make(name)
    steps = play(env, 120, 4)
    spec = env.spec
    for observation in (steps.observation, steps.next_observation):
        assert observation.shape[2:] == spec.observation.shape
        assert observation.dtype == spec.observation.dtype
    assert steps.reward.dtype == np.float32 and steps.action.dtype == np.int32
    assert steps.terminated.dtype == steps.truncated.dtype == bool
    assert not np.any(steps.terminated & steps.truncated)
    done = steps.terminated | steps.truncated
    # Within an episode the next row is the successor.
    inside = ~done[:-1]
    assert np.array_equal(
        steps.next_observation[:-1][inside],
        steps.observation[1:][inside],
        equal_nan=True,
    )
    if spec.state_index is not None:
        index = jax.vmap(jax.vmap(spec.state_index))(jnp.asarray(steps.observation))
        assert index.min() >= 0 and index.max() < spec.num_states


@pytest.mark.parametrize("name", gymnax_facts.BINARY)
def test_binary_observations_are_binary(name):
    raw, params = gymnax.make(name)
    env = make.make(name)
    assert env.spec.observation.dtype == bool

    @jax.jit
    def go(key):
        observation, state = raw.reset(key, params)

        def step(state, key):
            a, b = jax.random.split(key)
            action = jax.random.randint(a, (), 0, env.spec.num_actions)
            out = raw.step(b, state, action, params)
            return out[1], (out[0], out[5]["final_observation"])

        return observation, jax.lax.scan(step, state, jax.random.split(key, 3000))[1]

    for leaf in jax.tree.leaves(go(jax.random.key(3))):
        assert set(np.unique(leaf)) <= {0, 1}


@pytest.mark.parametrize("name", ["Catch-bsuite", "DeepSea-bsuite", "FourRooms-misc"])
def test_a_table_index_is_one_to_one(name):
    env = make.make(name)
    steps = play(env, 2000, 8)
    going = steps.observation.reshape(16_000, -1)
    index = jax.vmap(env.spec.state_index)(
        jnp.asarray(steps.observation.reshape(16_000, *env.spec.observation.shape))
    )
    pairs = {
        (int(i), row.tobytes()) for i, row in zip(np.asarray(index), going, strict=True)
    }
    assert len(pairs) == len({i for i, _ in pairs}) == len({row for _, row in pairs})
    assert len(pairs) > 30


def test_a_time_limit_truncates_and_gives_the_true_successor():
    env = make.make("MountainCar-v0", time_limit=5)
    steps = play(env, 23, 2)
    expected = np.zeros((23, 2), bool)
    expected[4::5] = True
    np.testing.assert_array_equal(steps.truncated, expected)
    assert not steps.terminated.any() and env.time_limit == 5
    # The true successor moves on; the next row is a fresh start, at rest.
    assert np.all(steps.next_observation[4, :, 1] != 0)
    assert np.all(steps.observation[5, :, 1] == 0)


def test_timeout_is_terminal_reports_a_termination():
    env = make.make("MountainCar-v0", time_limit=5, timeout_is_terminal=True)
    steps = play(env, 23, 2)
    assert steps.terminated[4::5].all() and not steps.truncated.any()


def test_terminated_wins_over_truncated():
    steps = play(make.make("DeepSea-bsuite"), 50, 2)  # raises both at once
    assert steps.terminated[7::8].all() and not steps.truncated.any()


def test_sticky_actions_repeat():
    # MountainCar's force shows in the velocity: with probability 1 the first action, 0,
    # is repeated for ever.
    env = make.make("MountainCar-v0", sticky_actions=1.0)
    state = env.reset(jax.random.key(0))
    for _ in range(5):
        state, step = env.step(jax.random.key(1), state, jnp.int32(2))
    plain = make.make("MountainCar-v0")
    other = plain.reset(jax.random.key(0))
    for _ in range(5):
        other, left = plain.step(jax.random.key(1), other, jnp.int32(0))
    np.testing.assert_array_equal(step.next_observation, left.next_observation)


def test_full_action_set():
    assert make.make("Breakout-MinAtar").spec.num_actions == 3
    env = make.make("Breakout-MinAtar", full_action_set=True)
    assert env.spec.num_actions == 6
    with pytest.raises(ConfigError, match="not a MinAtar environment"):
        make.make("CartPole-v1", full_action_set=True)


def test_arguments_reach_the_constructor_and_the_parameters():
    env = make.make("DeepSea-bsuite", ("size=12",))
    assert env.spec.observation.shape == (12, 12) and env.spec.num_states == 144
    assert env.optimal_return == 0.99  # of every size
    rooms = make.make("FourRooms-misc", ("fail_prob=0.0",))
    steps = play(rooms, 300, 4)
    moved = steps.next_observation[..., :2] - steps.observation[..., :2]
    direction = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])[steps.action]
    assert np.all((moved == direction).all(-1) | (moved == 0).all(-1))


@pytest.mark.parametrize("word", ["False", "false", "FALSE"])
def test_false_is_false(word):
    env = make.make("FrozenLake-misc", (f"is_slippery={word}",))
    steps = play(env, 300, 4)
    row, column = divmod(steps.observation, 4)
    after_row, after_column = divmod(steps.next_observation, 4)
    move = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])[steps.action]
    np.testing.assert_array_equal(np.clip(row + move[..., 0], 0, 3), after_row)
    np.testing.assert_array_equal(np.clip(column + move[..., 1], 0, 3), after_column)


def test_an_optimum_is_not_claimed_for_another_task():
    assert make.make("CartPole-v1").optimal_return == 500
    for size in (6, 8, 20):
        args = (f"size={size}",)
        model = gymnax_mdps.from_config(
            config.Config(environment="DeepSea-bsuite", environment_args=args)
        )
        policy = mdp.greedy_policy(mdp.value_iteration(model, 1.0).round(9))
        best = make.make("DeepSea-bsuite", args).optimal_return
        assert best == pytest.approx(mdp.play(model, policy)[0], abs=1e-6)
    same = ("gravity=9.8",)  # what it is anyway
    assert make.make("CartPole-v1", same).optimal_return == 500
    assert np.isnan(make.make("CartPole-v1", ("gravity=9.7",)).optimal_return)
    for changes in ({"sticky_actions": 0.5}, {"args": ("gravity=20",)}):
        assert np.isnan(make.make("CartPole-v1", **changes).optimal_return)


def test_scalar_observations_are_numbered():
    env = make.make("FrozenLake-misc")
    assert env.spec.num_states == env.spec.num_categories == 16
    assert env.spec.observation.dtype == jnp.int32
    assert make.make("FrozenLake-misc", ("map_name=8x8",)).spec.num_states == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("CartPole-v2",), "Did you mean CartPole-v1"),
        (("nothing-like-it",), "Known: Acrobot-v1"),
        (("Pendulum-v1",), "not a finite set of actions"),
        (("MNISTBandit-bsuite",), "fetches its data set"),
        (("DeepSea-bsuite", ("sizes=3",)), "refuses sizes=3: .*its constructor takes"),
        (("DeepSea-bsuite", ("size=big",)), "refuses size=big"),
        (("FrozenLake-misc", ("map_name=5x5",)), "refuses map_name=5x5: map_name must"),
        (("MetaMaze-misc", ("maze_size=4",)), "refuses maze_size=4"),
        (("CartPole-v1", ("gravity=abc",)), "gravity = 'abc' .* must be of type float"),
        (("CartPole-v1", ("gravity=none",)), "gravity = None .* must be of type float"),
        (("CartPole-v1", ("replace=1",)), "refuses replace=1"),
        (("CartPole-v1", ("gravity=1", "gravity=2")), "gravity is given twice"),
        (("DeepSea-bsuite", ("size",)), "not of the form name=value"),
    ],
)
def test_what_cannot_be_built_is_explained(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make.make(*arguments)


class OldStep(Corridor):
    def step(self, key, state, action, params):
        observation, state, reward, terminated, _, info = super().step(
            key, state, action, params
        )
        return observation, state, reward, terminated, info


class NoFinal(Corridor):
    def step(self, key, state, action, params):
        return (*super().step(key, state, action, params)[:5], {})


class VectorReward(Corridor):
    def transition(self, key, value, action):
        value, reward, terminated = super().transition(key, value, action)
        return value, reward[None], terminated


class Continuous(Corridor):
    def action_space(self, params):
        return object()


class Shifting(Corridor):
    def step(self, key, state, action, params):
        out = super().step(key, state, action, params)
        return (out[0][None], *out[1:])


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (OldStep, "returns 5 values from step instead of 6.*follow gymnax 1"),
        (NoFinal, "gives no final_observation"),
        (VectorReward, r"reward of shape \(1,\)"),
        (Continuous, "not a finite set of actions"),
        (Shifting, r"observes \(\) at reset but \(1,\) after a step"),
    ],
)
def test_a_broken_environment_is_refused_before_compiling(env, message):
    with pytest.raises(ConfigError, match=message):
        adapter.adapt(env())


def test_what_draws_environments_is_imported_only_to_draw(tmp_path):
    """matplotlib.pyplot and seaborn took 1.5 s of every start."""
    program = """
import sys
from jaxq import registry
from jaxq.config import Config
env = registry.from_config(Config(environment="Catch-bsuite"))
assert "gymnax" in sys.modules
for name in ("matplotlib.pyplot", "seaborn", "pandas", "scipy.stats"):
    assert name not in sys.modules, name

import gymnax, jax
import matplotlib
matplotlib.use("agg")
env, params = gymnax.make("Catch-bsuite")
env.render(env.reset(jax.random.key(0), params)[1], params)
import matplotlib.pyplot
assert matplotlib.pyplot.get_fignums() == [1]
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_a_gymnax_that_was_overwritten_is_named(monkeypatch):
    monkeypatch.delattr(gymnax, "registered_envs")
    with pytest.raises(ConfigError, match="stable-gymnax"):
        make.make("CartPole-v1")


class IntegerReward(MDP):
    """Declares and returns other types than it should."""

    num_actions = 3

    def action_space(self, params):
        return Discrete(3)

    def first(self, key):
        return 0

    def observe(self, value):
        return jnp.full((2,), value, jnp.int16)

    def transition(self, key, value, action):
        return value + action, action, value > 5


def test_types_are_cast_at_the_boundary():
    env = adapter.adapt(IntegerReward())
    steps = play(env, 30, 2)
    assert steps.reward.dtype == np.float32
    assert steps.observation.dtype == np.int32


def test_the_same_configuration_gives_the_same_object():
    base = config.Config()
    other = dataclasses.replace(base, learning_rate=1.0, num_seeds=3)
    assert make.from_config(base) is make.from_config(other)
    limited = dataclasses.replace(base, time_limit=10)
    assert make.from_config(base) is not make.from_config(limited)


class KeepsItsKey(MDP):
    """Its state is a key, of which every step's reward is drawn; ends with 1 in 4."""

    def first(self, key):
        return key

    def observe(self, value):
        return jax.random.uniform(value, (3,))

    def transition(self, key, value, action):
        del key
        now, then = jax.random.split(value)
        return then, self.reward(now) + action, jax.random.uniform(now) < 0.25

    def reward(self, key):
        return jax.random.normal(key)

    def step(self, key, state, action, params):
        value, reward, terminated = self.transition(key, state.value, action)
        fresh_observation, fresh = self.reset(key, params)
        stepped = dataclasses.replace(state, value=value, time=state.time + 1)
        following = jax.lax.cond(terminated, lambda: fresh, lambda: stepped)
        observation = jnp.where(terminated, fresh_observation, self.observe(value))
        info = {"final_observation": self.observe(value)}
        return observation, following, reward, terminated, jnp.bool_(False), info


class Arrivals(KeepsItsKey):
    def reward(self, key):
        return jax.random.poisson(key, 3.0)


class KeepsJaxsKey(KeepsItsKey):
    """Begins with a constant key of jax's own, and goes on with what it is given."""

    def first(self, key):
        return jax.random.key(7)

    def transition(self, key, value, action):
        return key, super().transition(key, value, action)[1], False


class KeepsWords(KeepsItsKey):
    """Its keys are plain words, as `jax.random.PRNGKey` gives them."""

    def first(self, key):
        return jnp.asarray(key, jnp.uint32)


@pytest.mark.parametrize("env", [KeepsJaxsKey(), KeepsWords()])
def test_an_environment_takes_the_keys_that_it_can(env):
    adapted = adapter.adapt(env)
    key = prng.key(7)
    play = jax.jit(adapted.step)
    state, step = play(key, adapted.reset(key), jnp.int32(1))
    again, _ = play(key, state, jnp.int32(0))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    now = jax.random.split(jax.random.key(7))[0]
    np.testing.assert_allclose(step.reward, 1 + env.reward(now), rtol=1e-6)


@pytest.mark.parametrize("env", [KeepsItsKey(), Arrivals()])
def test_a_state_may_hold_a_key_and_poisson_numbers_be_drawn(env, tmp_path):
    adapted = adapter.adapt(env)
    key = prng.key(7)
    state = adapted.reset(key)
    kept = jax.random.key_data(state.inner.value)
    assert (kept == jax.random.key_data(key)).all()
    play = jax.jit(adapted.step)
    rewards = []
    for i in range(40):
        state, step = play(jax.random.fold_in(key, i), state, jnp.int32(0))
        rewards.append(float(step.reward))
    jaxs_own, expected = jax.random.key(7), []
    for i in range(40):
        now, jaxs_own = jax.random.split(jaxs_own)
        expected.append(float(env.reward(now)))
        if jax.random.uniform(now) < 0.25:
            jaxs_own = jax.random.fold_in(jax.random.key(7), i)
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)
    small = config.Config(
        num_seeds=2, total_steps=400, buffer_size=200, batch_size=8, warmup_steps=50,
        hidden_sizes=(4,), eval_points=2, eval_episodes=2, eval_max_steps=5,
    )  # fmt: skip
    whole = run.run(small, adapted, output=tmp_path, plot=False)
    assert whole.directory is not None
    longer = dataclasses.replace(small, total_steps=600)
    more = run.run(longer, adapted, resume=whole.directory, plot=False)
    straight = run.run(more.config, adapted)
    np.testing.assert_array_equal(more.eval_returns, straight.eval_returns)
