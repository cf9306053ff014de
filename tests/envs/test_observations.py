"""Structured observations, masks in them, stacks of frames, and lives."""

import dataclasses
from typing import NamedTuple

import chex
import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from family import DEEP, Trained
from gymnax.environments import spaces
from gymnax.wrappers import StickyActionWrapper
from mdps import MDP, Corridor, Discrete, MaskedChain, State
from rollouts import random_rollout

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs import adapter, frame_stack, observations
from jaxq.envs.five_values import from_five_values
from jaxq.rl import frames
from jaxq.runs import run
from jaxq.training import checks, learned_steps
from jaxq.types import MaskedObservation, Step

ONES, MASK = jnp.ones(3), jnp.array([True, False])


class Record(NamedTuple):
    grid: jax.Array
    action_mask: jax.Array
    step_count: jax.Array


@chex.dataclass
class Data:
    grid: jax.Array
    action_mask: jax.Array


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (ONES, ONES),
        ({"a": ONES}, {"a": ONES}),
        ({"action_mask": MASK}, {"action_mask": MASK}),
        ({"a": ONES, "action_mask": MASK}, MaskedObservation(ONES, MASK)),
        (
            Record(ONES, MASK, jnp.int32(4)),
            MaskedObservation({"grid": ONES, "step_count": jnp.int32(4)}, MASK),
        ),
        (Data(grid=ONES, action_mask=MASK), MaskedObservation(ONES, MASK)),
        (MaskedObservation(ONES, MASK), MaskedObservation(ONES, MASK)),
    ],
)
def test_the_mask_is_split_from_an_observation(observation, expected):
    chex.assert_trees_all_equal(observations.split_mask(observation), expected)


@pytest.mark.parametrize(
    ("shape", "dtype", "kept"),
    [
        ((), jnp.uint8, jnp.int32),  # it may be the number of a state
        ((2,), jnp.uint8, jnp.uint8),
        ((2,), jnp.int16, jnp.int32),
        ((2,), jnp.bool_, jnp.bool_),
        ((2,), jnp.bfloat16, jnp.float32),
    ],
)
def test_types_are_kept_narrow(shape, dtype, kept):
    assert observations.narrow(jax.ShapeDtypeStruct(shape, dtype)).dtype == kept


class Rooms(MDP):
    """A picture, a position, and a mask of floats, in a dictionary."""

    num_actions = 2
    limit = 5

    def first(self, key):
        return jax.random.randint(key, (), 0, 4)

    def observe(self, value):
        picture = jnp.zeros((6, 6, 3), jnp.uint8).at[value, 0, 0].set(255)
        return {
            "picture": picture,
            "position": jnp.float32(value)[None],
            "action_mask": jnp.array([1, 1], jnp.int8),
        }

    def transition(self, key, value, action):
        moved = jnp.minimum(value + action, 5)
        return moved, jnp.float32(moved), moved == 5


def test_arrays_of_a_structured_observation_keep_their_narrow_types(strict):
    env = adapter.adapt(Rooms())
    steps = random_rollout(env, 12, 3)
    picture = steps.observation.observation["picture"]
    assert picture.dtype == np.uint8 and picture.shape == (12, 3, 6, 6, 3)
    assert steps.observation.action_mask.dtype == bool
    position = steps.observation.observation["position"][..., 0]
    np.testing.assert_array_equal(np.argmax(picture[..., 0, 0], -1), position)
    successor = steps.next_observation.observation["position"][..., 0]
    np.testing.assert_array_equal(successor, np.minimum(position + steps.action, 5))


@pytest.mark.slow
@pytest.mark.conformance
def test_an_agent_learns_from_a_structured_observation():
    """A picture goes through a convolution, and a vector is added to its features."""
    config = dataclasses.replace(
        DEEP, algorithm="dqn", total_steps=2000, channels=4, dense_size=16
    )
    trained = Trained(config, adapter.adapt(Rooms())).train()
    stored = trained.state.agent.store.observation
    assert stored.observation["picture"].dtype == np.uint8
    assert stored.action_mask.shape[-1] == 1  # two bits in a byte
    torso = trained.state.agent.learner.params["torso"]
    assert set(torso) == {"encoders_0", "mlp"}
    start = adapter.adapt(Rooms()).spec.example().observation
    assert np.isfinite(trained.q_values([start])).all()


class Meadow(MDP):
    """A field of 6 x 6 cells: walk to the goal, which is elsewhere in every episode."""

    num_actions = 4
    limit = 20

    def first(self, key):
        return jax.random.choice(key, 36, (2,), replace=False)  # walker, goal

    def observe(self, value):
        planes = jax.nn.one_hot(value, 36, dtype=jnp.uint8) * 255
        blue = jnp.zeros((6, 6), jnp.uint8)
        return jnp.stack([*planes.reshape(2, 6, 6), blue], axis=-1)

    def transition(self, key, value, action):
        place = jnp.stack(jnp.divmod(value[0], 6))
        moves = jnp.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
        row, column = jnp.clip(place + moves[action], 0, 5)
        walker = row * 6 + column
        found = walker == value[1]
        return value.at[0].set(walker), found.astype(jnp.float32), found


@pytest.mark.slow
def test_an_image_is_learned_from():
    """A flattened image is not: the goal would have to be learned in every cell."""
    config = dataclasses.replace(
        DEEP,
        total_steps=60_000,
        learning_rate_updates=8000.0,
        v_min=None,
        v_max=None,
        eval_points=1,
        eval_episodes=100,
        num_seeds=2,
        seed_block=2,
    )
    env = adapter.adapt(Meadow())
    learned = run.run(config, environment=env).curve.eval_return[:, -1]
    assert (learned > 0.9).all()


# -- stacks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "stacked"),
    [((), (3,)), ((2,), (6,)), ((4, 5), (4, 5, 3)), ((4, 5, 2), (4, 5, 6))],
)
def test_a_stack_holds_the_frames_in_order(shape, stacked, rng):
    first, *others = rng.normal(size=(5, *shape)).astype(np.float32)
    stack = frames.start(first, 3)
    for frame in others:
        stack = frames.push(stack, frame)
    assert stack.shape == stacked
    np.testing.assert_array_equal(frames.split(stack, first), others[-3:])
    np.testing.assert_array_equal(frames.newest(stack, first), others[-1])
    np.testing.assert_array_equal(frames.join(np.stack(others[-3:])), stack)


def test_the_channels_of_a_stack_run_from_the_oldest_frame():
    old, new = jnp.zeros((2, 2, 3)), jnp.ones((2, 2, 3))
    stack = frames.push(frames.start(old, 2), new)
    np.testing.assert_array_equal(stack[0, 0], [0, 0, 0, 1, 1, 1])


class Counting(MDP):
    """Counts up from 10 to 15; a life is lost at every third step."""

    limit = 4

    def first(self, key):
        return jnp.int32(10)

    def observe(self, value):
        return jnp.float32(value)[None]

    def transition(self, key, value, action):
        return value + 1, jnp.float32(value), value == 14

    def step(self, key, state, action, params):
        *rest, info = super().step(key, state, action, params)
        life_lost = info["final_observation"].reshape(()) % 3 == 0
        return *rest, info | {"life_lost": life_lost}


class Numbered(Counting):
    """The same, as the number of a state."""

    num_values = 16

    def observe(self, value):
        return value


@pytest.mark.parametrize("restart", [False, True])
def test_a_stack_starts_anew_with_each_episode(restart):
    env = adapter.adapt(Counting())
    assert env.spec.reports_lives
    stacked = frame_stack.stack_frames(env, 3, restart)
    assert stacked.spec.observation.shape == (3,) and stacked.spec.frame.shape == (1,)
    steps = random_rollout(stacked, 9, 1)
    # A life is lost on arriving at 12.
    later = [[12, 12, 12], [12, 12, 13]] if restart else [[10, 11, 12], [11, 12, 13]]
    expected = [[10, 10, 10], [10, 10, 11], *later]
    np.testing.assert_array_equal(steps.observation[:4, 0], expected)
    np.testing.assert_array_equal(steps.observation[4, 0], [10, 10, 10])
    # The successors are the true ones: no restart, and no reset, is seen in them.
    np.testing.assert_array_equal(steps.next_observation[1, 0], [10, 11, 12])
    np.testing.assert_array_equal(steps.next_observation[3, 0], [12, 13, 14])
    assert steps.truncated[3, 0] and not steps.terminated.any()


def test_a_mask_is_that_of_the_newest_frame():
    env = frame_stack.stack_frames(adapter.adapt(MaskedChain()), 2)
    steps = random_rollout(env, 20, 2)
    newest = steps.observation.observation[..., 5:]
    state = newest.argmax(-1)
    expected = (np.arange(3) != state[..., None] % 3) & (state[..., None] < 4)
    np.testing.assert_array_equal(steps.observation.action_mask, expected)


def test_numbers_of_states_are_not_stacked():
    with pytest.raises(ConfigError, match="frame_stack = 2: Corridor observes"):
        frame_stack.stack_frames(adapter.adapt(Corridor()), 2)


# -- rewards and lives -----------------------------------------------------------------


def steps_of(reward, life_lost):
    false = jnp.zeros(len(reward), bool)
    lost = jnp.array(life_lost)
    return Step(ONES, ONES, jnp.array(reward), false, false, ONES, (), lost)


def test_an_agent_learns_from_clipped_rewards_and_lives():
    rollout = steps_of([-5.0, 0.3, 7.0], [False, True, False])
    config = Config(defaults="plain", reward_clip=2.0, episodic_life=True)
    learned = learned_steps.as_learned(config, rollout)
    np.testing.assert_allclose(learned.reward, [-2.0, 0.3, 2.0])
    np.testing.assert_array_equal(learned.terminated, [False, True, False])
    plain = learned_steps.as_learned(Config(defaults="plain"), rollout)
    np.testing.assert_allclose(plain.reward, rollout.reward)
    assert not plain.terminated.any()


def test_a_clipped_agent_reports_the_returns_of_its_environment():
    """Values are those of rewards of 1; the returns of episodes are not clipped."""
    config = family.config("tabular_q", reward_clip=1.0, episodic_life=True)
    env = adapter.adapt(Numbered())
    trained = Trained(config, env).train()
    assert trained.state.tally.episode_return[0] == 10 + 11 + 12 + 13
    # From 11 the next step loses a life: one reward of 1.
    np.testing.assert_allclose(trained.q_values([jnp.int32(11)]), 1.0, atol=0.01)
    np.testing.assert_allclose(trained.q_values([jnp.int32(10)]), 1.9, atol=0.02)


class Wrapped:
    def __init__(self, env):
        self.env, self.name = env, "Lives"
        self.default_params = env.default_params
        self.action_space = env.action_space
        self.observation_space = env.observation_space


class Living(NamedTuple):
    value: jax.Array
    time: jax.Array
    lives: jax.Array


class SixSteps(MDP):
    """Counts from 0 to 6."""

    def first(self, key):
        return jnp.int32(0)

    def transition(self, key, value, action):
        return value + 1, jnp.float32(0), value == 5


class Lives(Wrapped):
    """A life is lost at every odd number."""

    def __init__(self):
        super().__init__(SixSteps())

    def reset(self, key, params):
        observation, state = self.env.reset(key, params)
        return observation, Living(state.value, state.time, jnp.int32(3))

    def step(self, key, state, action, params):
        inner = State(state.value, state.time)
        observation, after, *rest = self.env.step(key, inner, action, params)
        lives = jnp.where(after.value == 0, 3, state.lives - after.value % 2)
        return observation, Living(after.value, after.time, lives), *rest


class FiveValues:
    """The same, with the interface of gymnax 0 and without a limit."""

    default_params = None

    def action_space(self, params):
        return Discrete(2)

    def reset_env(self, key, params):
        return jnp.int32(0), Living(jnp.int32(0), jnp.int32(0), jnp.int32(3))

    def step_env(self, key, state, action, params):
        value = state.value + 1
        after = Living(value, state.time + 1, state.lives - value % 2)
        return value, after, jnp.float32(0), value == 6, {}


def test_lives_are_read_from_the_state():
    steps = random_rollout(adapter.adapt(Lives()), 8, 1)
    np.testing.assert_array_equal(steps.terminated[:, 0], np.arange(8) == 5)
    expected = [True, False, True, False, True, False, True, False]
    np.testing.assert_array_equal(steps.life_lost[:, 0], expected)


def test_lives_are_read_from_a_state_inside_another():
    env = Lives()
    env.action_space = lambda params: spaces.Discrete(2)
    sticky = StickyActionWrapper(env, 0.0)
    limited = from_five_values(FiveValues(), time_limit=4)
    for env in (adapter.adapt(sticky), limited):
        assert env.spec.reports_lives
        assert random_rollout(env, 6, 1).life_lost.sum() == 3


def test_lives_that_are_not_reported_cannot_be_learned_from():
    config = Config(defaults="plain", episodic_life=True)
    with pytest.raises(ConfigError, match="CartPole-v1 does not report lives"):
        checks.check(config)
