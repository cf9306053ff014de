"""Small environments with known values, behind the interface of gymnax."""

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
    """Base class: subclasses define first(key), transition(...) and observe(value)."""

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
        next_state = jax.tree.map(lambda a, b: jnp.where(done, a, b), fresh, stepped)
        observation = jax.tree.map(
            lambda a, b: jnp.where(done, a, b), fresh_observation, final
        )
        info = {"final_observation": final}
        return observation, next_state, reward, terminated, truncated, info


class Gauntlet(MDP):
    """Seven small tasks, one of which is drawn at reset.

    An observation is [one-hot task, x, y]. The tasks are
    0. value only: the reward is 1;
    1. observation: the reward is x = +1 or -1;
    2. delayed reward: 1 on the second step (x = 1);
    3. action: action 0 is rewarded by +1, action 1 by -1;
    4. both: the action that matches the sign of y is rewarded by +1, the other by -1;
    5. constant reward 1, truncated after 7 steps;
    6. a corridor of four cells (x = cell / 4): action 1 moves right, and leaving the
       last cell is rewarded by 1; truncated after 6 steps.
    """

    def first(self, key):
        task_key, sign_key, cell_key = jax.random.split(key, 3)
        task = jax.random.randint(task_key, (), 0, 7)
        sign = jax.random.choice(sign_key, jnp.array([-1.0, 1.0]))
        cell = jax.random.randint(cell_key, (), 0, 4) / 4
        x = jnp.where(task == 1, sign, jnp.where(task == 6, cell, 0.0))
        y = jnp.where(task == 4, sign, 0.0)
        return jnp.concatenate([jax.nn.one_hot(task, 7), jnp.stack([x, y])])

    def transition(self, key, value, action):
        del key
        task, x, y = jnp.argmax(value[:7]), value[7], value[8]
        right = jnp.where(task == 3, action == 0, (y > 0) == (action == 1))
        moved = x + action / 4
        reward = jnp.select(
            [task == 0, task == 1, task == 2, task <= 4, task == 5],
            [1.0, x, x, jnp.where(right, 1.0, -1.0), 1.0],
            (moved > 0.9).astype(jnp.float32),
        )
        ended = jnp.select(
            [task == 2, task <= 4, task == 5], [x > 0.5, True, False], moved > 0.9
        )
        x = jnp.select([task == 2, task == 6], [1.0, moved], x)
        return value.at[7].set(x), reward, ended

    def step(self, key, state, action, params):
        task = jnp.argmax(state.value[:7])
        limit = jnp.select([task == 5, task == 6], [7, 6], 100)
        return super().step(key, state, action, Params(limit))

    @staticmethod
    def row(observation):
        """A unique index for each observation."""
        task = jnp.argmax(observation[:7])
        x, y = jnp.round(4 * observation[7]) + 4, jnp.sign(observation[8]) + 1
        return (task * 27 + 3 * x + y).astype(jnp.int32)


def seen(task, x=0.0, y=0.0):
    return jnp.zeros(9).at[task].set(1).at[7].set(x).at[8].set(y)


# (observation, action, value) with discount 0.9, whatever the policy.
PROBES = {
    "value only": [(seen(0), 0, 1.0)],
    "observation": [(seen(1, 1.0), 0, 1.0), (seen(1, -1.0), 1, -1.0)],
    "delayed reward": [(seen(2), 0, 0.9), (seen(2, 1.0), 1, 1.0)],
    "action": [(seen(3), 0, 1.0), (seen(3), 1, -1.0)],
    "both": [(seen(4, 0.0, 1.0), 1, 1.0), (seen(4, 0.0, -1.0), 1, -1.0)],
    "constant reward": [(seen(5), 0, 10.0), (seen(5), 1, 10.0)],
}
CORRIDOR = [(seen(6, cell / 4), 1, 0.9 ** (3 - cell)) for cell in range(4)]


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
    """States 0 to 4: action 1 moves right, action 0 stays; reaching state 4 pays 1.

    The value of a state is gamma^(3 - state) whatever the time limit, unless truncation
    is mistaken for termination.
    """

    num_values = 5
    limit = 6

    def first(self, key):
        return jax.random.randint(key, (), 0, 4)

    def transition(self, key, value, action):
        value = value + action
        return value, (value == 4).astype(jnp.float32), value == 4


class LengthBiased(MDP):
    """A fair coin at reset decides: return 1 after one step, or 0 after 20 steps."""

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


class MaskedChain(MDP):
    """Four states in a row, in each of which one of three actions is invalid.

    The two others move on, at a reward of -1, so that the values are the same for all
    policies. The invalid one would pay 5 and end the episode. The observation holds the
    mask, which is false everywhere in the terminal state.
    """

    num_actions = 3
    limit = 100

    def first(self, key):
        return jax.random.randint(key, (), 0, 4)

    def observe(self, value):
        mask = (jnp.arange(3) != value % 3) & (value < 4)
        return {"observation": jax.nn.one_hot(value, 5), "action_mask": mask}

    def transition(self, key, value, action):
        trapped = action == value % 3
        reward = jnp.where(trapped, 5.0, -1.0)
        return jnp.where(trapped, 4, value + 1), reward, trapped | (value == 3)

    @staticmethod
    def row(observation):
        return jnp.argmax(observation.observation).astype(jnp.int32)


class Cue(MDP):
    """The first observation shows a sign, which names the rewarded last action.

    An observation is [cue, whether the action counts]. An episode lasts `length` steps,
    the last of which pays 1 if action 1 follows a positive cue, or action 0 a negative
    one, and -1 otherwise.
    """

    length = 6

    @staticmethod
    def seen(cue, time):
        return jnp.stack(
            [jnp.where(time == 0, cue, 0.0), jnp.float32(time == Cue.length - 1)]
        )

    def observe(self, value):
        return self.seen(value[0], value[1])

    def first(self, key):
        return jnp.stack([jax.random.choice(key, jnp.array([-1.0, 1.0])), 0.0])

    def transition(self, key, value, action):
        last = value[1] == self.length - 1
        right = (value[0] > 0) == (action == 1)
        reward = jnp.where(last, jnp.where(right, 1.0, -1.0), 0.0)
        return value + jnp.array([0.0, 1.0]), reward, last


class Echo(MDP):
    """Nothing is observed: the right action follows from the last action and reward.

    It is 1 at first, and then the last action plus 1 if the last reward was 2, plus 0
    if it was 1, modulo 3. A right action pays 1 or 2, at random; a wrong one pays -10
    and ends the episode, which is truncated after 7 steps.
    """

    num_actions = 3
    num_values = 1
    limit = 7

    @staticmethod
    def right(action, reward):
        """The right action after a step; -1 and 0 stand for none."""
        return jnp.where(action < 0, 1, (action + (reward > 1.0)) % 3)

    def observe(self, value):
        return jnp.zeros(2)

    def first(self, key):
        return jnp.stack([-1.0, 0.0])

    def transition(self, key, value, action):
        right = self.right(value[0], value[1]) == action
        reward = 1.0 + jax.random.bernoulli(key).astype(jnp.float32)
        reward = jnp.where(right, reward, -10.0)
        return jnp.stack([action.astype(jnp.float32), reward]), reward, ~right


class Reply(MDP):
    """Two steps; the second pays 1 or -1 by the first action and its random reward.

    An observation is the one-hot time. The first step pays 1 or -1 at random. If the
    first action was 1, the right second action is 1 after a reward of 1 and 0 after -1;
    if it was 0, the other way round.
    """

    @staticmethod
    def right(action, reward):
        return (action == 1) == (reward > 0)

    def observe(self, value):
        return jax.nn.one_hot(value[0].astype(jnp.int32), 2)

    def first(self, key):
        return jnp.zeros(3)

    def transition(self, key, value, action):
        second = value[0] > 0
        right = (action == 1) == self.right(value[1], value[2])
        chance = jax.random.choice(key, jnp.array([-1.0, 1.0]))
        reward = jnp.where(second, jnp.where(right, 1.0, -1.0), chance)
        return jnp.stack([1.0, action.astype(jnp.float32), reward]), reward, second


class TwoLoops(MDP):
    """Two loops of five steps through state 0, without an end.

    In state 0, action 0 enters a loop with a reward of 1 at its first step, action 1
    one with a reward of 2 at its last: the average reward is 0.2 or 0.4.

    Reference: Naik et al., arXiv:1910.02140, figure 2 (rewards differ).
    """

    num_values = 9
    limit = 2**30

    def first(self, key):
        return jnp.int32(0)

    def transition(self, key, value, action):
        entered = jnp.where(action == 0, 1, 5)
        after = jnp.where((value == 4) | (value == 8), 0, value + 1)
        after = jnp.where(value == 0, entered, after).astype(jnp.int32)
        reward = jnp.where((value == 0) & (action == 0), 1.0, 0.0)
        reward = jnp.where(value == 8, 2.0, reward)
        return after, reward, jnp.bool_(False)


class ShortOrRich(MDP):
    """An episode pays 1 after one step, or 2 after four; it starts anew at once.

    The second has the larger return, the first the larger reward per step.
    """

    num_values = 5
    limit = 2**30

    def first(self, key):
        return jnp.int32(0)

    def transition(self, key, value, action):
        short = (value == 0) & (action == 0)
        after = jnp.where(short, 4, value + 1).astype(jnp.int32)
        reward = jnp.where(after == 4, jnp.where(short, 1.0, 2.0), 0.0)
        return after, reward, after == 4
