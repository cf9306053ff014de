"""Environments by name: gymnax's contract, its options, and error messages."""

import dataclasses
import subprocess
import sys

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, mark_others
from rollouts import random_rollout

from jaxq.config import config, environment_table
from jaxq.config.fields import ConfigError
from jaxq.envs import gymnax_facts, gymnax_mdps, make, mdp

DISCRETE = [
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


# Games that take long to compile.
LARGE = ("Asterix-MinAtar", "Freeway-MinAtar", "Seaquest-MinAtar")


SMALL = {*DISCRETE} - {*LARGE}


@pytest.mark.parametrize("name", mark_others(DISCRETE, SMALL, CONFORMANCE))
def test_every_environment_returns_steps_that_match_its_spec(name):
    env = make.make(name)
    steps = random_rollout(env, 120, 4)
    spec = env.spec
    for observation in (steps.observation, steps.next_observation):
        assert observation.shape[2:] == spec.observation.shape
        assert observation.dtype == spec.observation.dtype
    assert steps.reward.dtype == np.float32 and steps.action.dtype == np.int32
    assert steps.terminated.dtype == steps.truncated.dtype == bool
    assert not np.any(steps.terminated & steps.truncated)
    done = steps.terminated | steps.truncated
    # Within an episode, the successor is the next row.
    inside = ~done[:-1]
    assert np.array_equal(
        steps.next_observation[:-1][inside],
        steps.observation[1:][inside],
        equal_nan=True,
    )
    # Discounted returns are inside the bounds that classification heads take.
    bounds = environment_table.return_bounds(name, 0.99)
    returns = np.zeros(4)
    for reward, ended in zip(steps.reward[::-1], done[::-1], strict=True):
        returns = reward + 0.99 * np.where(ended, 0, returns)
        assert np.all(bounds["v_min"] <= returns) and np.all(returns <= bounds["v_max"])
    if spec.state_index is not None:
        index = jax.vmap(jax.vmap(spec.state_index))(jnp.asarray(steps.observation))
        assert index.min() >= 0 and index.max() < spec.num_states


@pytest.mark.parametrize(
    "name",
    mark_others(gymnax_facts.BINARY, ("Catch-bsuite", "DeepSea-bsuite"), CONFORMANCE),
)
def test_binary_environments_have_only_zeros_and_ones(name):
    raw, params = gymnax.make(name)
    env = make.make(name)
    assert env.spec.observation.dtype == bool

    @jax.jit
    def observations(key):
        observation, state = raw.reset(key, params)

        def step(state, key):
            a, b = jax.random.split(key)
            action = jax.random.randint(a, (), 0, env.spec.num_actions)
            out = raw.step(b, state, action, params)
            return out[1], (out[0], out[5]["final_observation"])

        return observation, jax.lax.scan(step, state, jax.random.split(key, 3000))[1]

    for leaf in jax.tree.leaves(observations(jax.random.key(3))):
        assert set(np.unique(leaf)) <= {0, 1}


@pytest.mark.parametrize("name", ["Catch-bsuite", "DeepSea-bsuite", "FourRooms-misc"])
def test_state_numbers_are_one_to_one(name):
    env = make.make(name)
    steps = random_rollout(env, 2000, 8)
    rows = steps.observation.reshape(16_000, -1)
    index = jax.vmap(env.spec.state_index)(
        jnp.asarray(steps.observation.reshape(16_000, *env.spec.observation.shape))
    )
    pairs = {
        (int(i), row.tobytes()) for i, row in zip(np.asarray(index), rows, strict=True)
    }
    assert len(pairs) == len({i for i, _ in pairs}) == len({row for _, row in pairs})
    assert len(pairs) > 30


def test_a_time_limit_truncates_and_keeps_the_true_successor():
    env = make.make("MountainCar-v0", time_limit=5)
    steps = random_rollout(env, 23, 2)
    expected = np.zeros((23, 2), bool)
    expected[4::5] = True
    np.testing.assert_array_equal(steps.truncated, expected)
    assert not steps.terminated.any() and env.time_limit == 5
    # The true successor is in motion; the next row is the start of an episode, at rest.
    assert np.all(steps.next_observation[4, :, 1] != 0)
    assert np.all(steps.observation[5, :, 1] == 0)


def test_timeout_is_terminal_reports_a_termination():
    env = make.make("MountainCar-v0", time_limit=5, timeout_is_terminal=True)
    steps = random_rollout(env, 23, 2)
    assert steps.terminated[4::5].all() and not steps.truncated.any()


def test_a_step_that_ends_both_ways_is_terminated_only():
    steps = random_rollout(make.make("DeepSea-bsuite"), 50, 2)  # sets both flags
    assert steps.terminated[7::8].all() and not steps.truncated.any()


def test_sticky_actions_repeat_the_previous_action():
    # With probability 1 the initial action, 0, is repeated forever; MountainCar's
    # velocity shows which action was executed.
    env = make.make("MountainCar-v0", sticky_actions=1.0)
    state = env.reset(jax.random.key(0))
    for _ in range(5):
        state, step = env.step(jax.random.key(1), state, jnp.int32(2))
    plain = make.make("MountainCar-v0")
    other = plain.reset(jax.random.key(0))
    for _ in range(5):
        other, left = plain.step(jax.random.key(1), other, jnp.int32(0))
    np.testing.assert_array_equal(step.next_observation, left.next_observation)


def test_full_action_set_has_six_actions_and_is_for_minatar_only():
    assert make.make("Breakout-MinAtar").spec.num_actions == 3
    env = make.make("Breakout-MinAtar", full_action_set=True)
    assert env.spec.num_actions == 6
    with pytest.raises(ConfigError, match="not a MinAtar environment"):
        make.make("CartPole-v1", full_action_set=True)


def test_arguments_reach_the_constructor_and_the_parameters():
    env = make.make("DeepSea-bsuite", ("size=12",))
    assert env.spec.observation.shape == (12, 12) and env.spec.num_states == 144
    assert env.optimal_return == 0.99  # for every size
    rooms = make.make("FourRooms-misc", ("fail_prob=0.0",))
    steps = random_rollout(rooms, 300, 4)
    moved = steps.next_observation[..., :2] - steps.observation[..., :2]
    direction = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])[steps.action]
    assert np.all((moved == direction).all(-1) | (moved == 0).all(-1))


@pytest.mark.parametrize("word", ["False", "false", "FALSE"])
def test_false_is_parsed_as_false(word):
    env = make.make("FrozenLake-misc", (f"is_slippery={word}",))
    steps = random_rollout(env, 300, 4)
    row, column = divmod(steps.observation, 4)
    after_row, after_column = divmod(steps.next_observation, 4)
    move = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])[steps.action]
    np.testing.assert_array_equal(np.clip(row + move[..., 0], 0, 3), after_row)
    np.testing.assert_array_equal(np.clip(column + move[..., 1], 0, 3), after_column)


def test_a_changed_task_has_no_known_optimal_return():
    assert make.make("CartPole-v1").optimal_return == 500
    for size in (6, 8, 20):
        args = (f"size={size}",)
        model = gymnax_mdps.from_config(
            config.Config(
                defaults="plain", environment="DeepSea-bsuite", environment_args=args
            )
        )
        policy = mdp.greedy_policy(mdp.value_iteration(model, 1.0).round(9))
        best = make.make("DeepSea-bsuite", args).optimal_return
        assert best == pytest.approx(
            mdp.expected_return_and_length(model, policy)[0], abs=1e-6
        )
    same = ("gravity=9.8",)  # the default
    assert make.make("CartPole-v1", same).optimal_return == 500
    assert np.isnan(make.make("CartPole-v1", ("gravity=9.7",)).optimal_return)
    for changes in ({"sticky_actions": 0.5}, {"args": ("gravity=20",)}):
        assert np.isnan(make.make("CartPole-v1", **changes).optimal_return)


def test_integer_observations_number_the_states():
    env = make.make("FrozenLake-misc")
    assert env.spec.num_states == env.spec.num_categories == 16
    assert env.spec.observation.dtype == jnp.int32
    assert make.make("FrozenLake-misc", ("map_name=8x8",)).spec.num_states == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("CartPole-v2",), "Did you mean CartPole-v1"),
        (("nothing-like-it",), "Known: AccessControl, Acrobot-v1"),
        (("Pendulum-v1",), "not a finite set of actions"),
        (("MNISTBandit-bsuite",), "downloads its data set"),
        (("DeepSea-bsuite", ("sizes=3",)), "rejects sizes=3: .*its constructor takes"),
        (("DeepSea-bsuite", ("size=big",)), "size = 'big' .* must be an integer"),
        (("FrozenLake-misc", ("map_name=5x5",)), "rejects map_name=5x5: map_name must"),
        (("MetaMaze-misc", ("maze_size=4",)), "rejects maze_size=4"),
        (("CartPole-v1", ("gravity=abc",)), "gravity = 'abc' .* must be a number"),
        (("CartPole-v1", ("gravity=none",)), "gravity = None .* must be a number"),
        (("CartPole-v1", ("replace=1",)), "rejects replace=1"),
        (("CartPole-v1", ("gravity=1", "gravity=2")), "gravity is given twice"),
        (("DeepSea-bsuite", ("size",)), "not of the form name=value"),
    ],
)
def test_an_environment_that_cannot_be_built_raises_an_explanation(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make.make(*arguments)


BAD_NUMBERS = [
    ("CartPole-v1", "gravity=NaN", "gravity = nan .* a number in .-1e.38, 1e.38."),
    ("CartPole-v1", "gravity=Infinity", "gravity = inf .* default is 9.8"),
    ("CartPole-v1", "gravity=-Infinity", "gravity = -inf"),
    ("CartPole-v1", "gravity=1.0e39", r"gravity = 1e\+39"),
    ("CartPole-v1", f"gravity=1{400 * '0'}", "gravity = 10+ "),
    ("CartPole-v1", "gravity=true", "gravity = True"),
    ("CartPole-v1", "length=0", r"length = 0 .* must be a number in \(0, 1e.38\]"),
    ("CartPole-v1", "masspole=-0.1", "masspole = -0.1"),
    (
        "CartPole-v1",
        "max_steps_in_episode=2.5",
        "2.5 .* an integer in .1, 2.14748e.09.",
    ),
    ("CartPole-v1", "max_steps_in_episode=3000000000", "3000000000 .* an integer in"),
    ("CartPole-v1", "max_steps_in_episode=0", "= 0 .* an integer in .1, "),
    ("CartPole-v1", "max_steps_in_episode=-3", "= -3 .* an integer in .1, "),
    ("CartPole-v1", "max_steps_in_episode=true", "= True .* an integer in .1, "),
    ("CartPole-v1", "max_steps_in_episode=NaN", "= nan .* an integer in .1, "),
    ("BernoulliBandit-misc", "max_steps_in_episode=2.5", "= 2.5 .* an integer in .1, "),
    ("BernoulliBandit-misc", "reward_prob=1.5", r"= 1.5 .* a number in \[0, 1\]"),
    ("FourRooms-misc", "fail_prob=-0.1", r"= -0.1 .* a number in \[0, 1\]"),
    ("FourRooms-misc", "resample_goal_pos=1", "= 1 .* must be true or false"),
    ("FrozenLake-misc", "is_slippery=0", "= 0 .* must be true or false"),
    ("FrozenLake-misc", "success_rate=2", r"= 2 .* a number in \[0, 1\]"),
    ("FrozenLake-misc", "reward_schedule=[1, NaN, 0]", "reward_schedule = .* finite"),
    ("DeepSea-bsuite", "size=0", "size = 0 .* an integer in .1, "),
    ("DeepSea-bsuite", "size=-4", "size = -4 .* an integer in .1, "),
    ("DeepSea-bsuite", "size=2.5", "size = 2.5 .* an integer in .1, "),
    ("DeepSea-bsuite", "size=true", "size = True .* an integer in .1, "),
    ("DeepSea-bsuite", "size=3000000000", "size = 3000000000 .* an integer in"),
    ("DiscountingChain-bsuite", "mapping_seed=-1", "= -1 .* an integer in .0, "),
    ("Acrobot-v1", "available_torque=1", "is an array, .*jaxq.adapt"),
]


@pytest.mark.parametrize(("name", "argument", "message"), BAD_NUMBERS)
def test_a_number_out_of_range_is_refused_with_its_value_and_range(
    name, argument, message
):
    with pytest.raises(ConfigError, match=message):
        make.make(name, (argument,))


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("CartPole-v1", "max_steps_in_episode=1e3"),
        ("CartPole-v1", "gravity=-9"),
        ("CartPole-v1", "gravity=0"),
        ("BernoulliBandit-misc", "reward_prob=1"),
        ("FourRooms-misc", "fail_prob=0"),
        ("DiscountingChain-bsuite", "mapping_seed=0"),
        ("SpaceInvaders-MinAtar", "shot_cool_down=0"),
        ("DeepSea-bsuite", "unscaled_move_cost=0"),
    ],
)
def test_unusual_numbers_in_range_are_accepted(name, argument):
    make.make(name, (argument,))


def test_a_whole_number_of_steps_may_be_written_as_a_float():
    env = make.make("CartPole-v1", ("max_steps_in_episode=1e2",))
    assert env.time_limit == 100


def test_plotting_libraries_are_imported_only_for_rendering(tmp_path):
    """Importing them would add 1.5 s to every start, and may fail."""
    program = """
import sys
from jaxq.envs import make
from jaxq import Config
env = make.from_config(Config(defaults="plain", environment="Catch-bsuite"))
assert "gymnax" in sys.modules
for name in ("matplotlib", "seaborn", "pandas", "scipy.stats"):
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


def test_an_overwritten_gymnax_is_diagnosed(monkeypatch):
    monkeypatch.delattr(gymnax, "registered_envs")
    with pytest.raises(ConfigError, match="stable-gymnax"):
        make.make("CartPole-v1")


def test_equal_environment_fields_return_the_same_object():
    base = config.Config(defaults="plain")
    other = dataclasses.replace(base, learning_rate=1.0, num_seeds=3)
    assert make.from_config(base) is make.from_config(other)
    limited = dataclasses.replace(base, time_limit=10)
    assert make.from_config(base) is not make.from_config(limited)
