"""Small environments with gymnax's interface and known values."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class State:
    value: jax.Array
    time: jax.Array


@struct.dataclass
class Params:
    max_steps_in_episode: int = 10_000


class Discrete:
    def __init__(self, n):
        self.n = n


class MDP:
    """Base: subclasses give first(key), transition(...) and observe(value)."""

    num_actions = 2
    limit = 10_000
    num_values: int | None = None

    @property
    def default_params(self):
        return Params(max_steps_in_episode=self.limit)

    @property
    def name(self):
        return type(self).__name__

    def action_space(self, params):
        return Discrete(self.num_actions)

    def observation_space(self, params):
        return Discrete(self.num_values)

    def observe(self, value):
        return value

    def reset(self, key, params):
        state = State(self.first(key), jnp.int32(0))
        return self.observe(state.value), state

    def step(self, key, state, action, params) -> Any:
        step_key, reset_key = jax.random.split(key)
        value, reward, terminated = self.transition(step_key, state.value, action)
        stepped = State(value, state.time + 1)
        truncated = stepped.time >= params.max_steps_in_episode
        done = terminated | truncated
        fresh_observation, fresh = self.reset(reset_key, params)
        final = self.observe(value)
        following = jax.tree.map(lambda a, b: jnp.where(done, a, b), fresh, stepped)
        observation = jnp.where(done, fresh_observation, final)
        info = {"final_observation": final}
        return observation, following, reward, terminated, truncated, info


class Probe(MDP):
    """Observation [1] or [2] floats; an episode of `length` steps."""

    length = 1

    def first(self, key):
        return jnp.zeros(2)

    def observe(self, value):
        return value


class ValueOnly(Probe):
    """One state, one action, reward 1: Q = 1."""

    num_actions = 1

    def transition(self, key, value, action):
        return value, jnp.float32(1), jnp.bool_(True)

    truth = ((((0.0, 0.0), 0), 1.0),)


class ObservationDependent(Probe):
    """Reward is the observation, +1 or -1."""

    num_actions = 1

    def first(self, key):
        return jnp.array([1.0, 0.0]) * jax.random.choice(key, jnp.array([-1.0, 1.0]))

    def transition(self, key, value, action):
        return value, value[0], jnp.bool_(True)

    truth = ((((1.0, 0.0), 0), 1.0), (((-1.0, 0.0), 0), -1.0))


class DelayedReward(Probe):
    """Two steps, reward 1 at the end: Q(start) = gamma."""

    num_actions = 1

    def transition(self, key, value, action):
        last = value[0] > 0.5
        return jnp.array([1.0, 0.0]), last.astype(jnp.float32), last

    truth = ((((0.0, 0.0), 0), 0.9), (((1.0, 0.0), 0), 1.0))


class ActionDependent(Probe):
    """Action 0 pays +1 and action 1 pays -1."""

    def transition(self, key, value, action):
        return value, jnp.where(action == 0, 1.0, -1.0), jnp.bool_(True)

    truth = ((((0.0, 0.0), 0), 1.0), (((0.0, 0.0), 1), -1.0))


class BothDependent(Probe):
    """The action that equals the sign of the observation pays +1, the other -1."""

    def first(self, key):
        return jnp.array([0.0, 1.0]) * jax.random.choice(key, jnp.array([-1.0, 1.0]))

    def transition(self, key, value, action):
        right = (value[1] > 0) == (action == 1)
        return value, jnp.where(right, 1.0, -1.0), jnp.bool_(True)

    truth = (
        (((0.0, 1.0), 1), 1.0),
        (((0.0, 1.0), 0), -1.0),
        (((0.0, -1.0), 0), 1.0),
        (((0.0, -1.0), 1), -1.0),
    )


PROBES = (
    ValueOnly,
    ObservationDependent,
    DelayedReward,
    ActionDependent,
    BothDependent,
)


class ConstantReward(MDP):
    """One state, reward 1, truncated every 7 steps: Q = 1 / (1 - gamma)."""

    num_actions = 2
    num_values = 1
    limit = 7

    def first(self, key):
        return jnp.int32(0)

    def transition(self, key, value, action):
        return value, jnp.float32(1), jnp.bool_(False)


class Corridor(MDP):
    """States 0..4; action 1 moves right, action 0 stays; state 4 ends with reward 1.

    The value of a state is gamma^(3 - state) whatever the time limit, if truncation is
    not taken for termination.
    """

    num_values = 5
    limit = 6

    def first(self, key):
        return jax.random.randint(key, (), 0, 4)

    def transition(self, key, value, action):
        value = value + action
        return value, (value == 4).astype(jnp.float32), value == 4


class LengthBiased(MDP):
    """A fair coin at reset: return 1 after one step, or 0 after 20 steps."""

    num_actions = 1
    num_values = 21

    def first(self, key):
        return jnp.where(jax.random.bernoulli(key), 0, 1)

    def transition(self, key, value, action):
        won = value == 0
        value = jnp.where(won, 0, value + 1)
        return value, won.astype(jnp.float32), won | (value >= 21)

    def observe(self, value):
        return jnp.minimum(value, 20)
