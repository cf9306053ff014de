"""Examples from Sutton and Barto's textbook, with gymnax's interface.

An observation is the number of the state, so tabular agents can use it as it is.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxq.types import Array, Key


@struct.dataclass
class State:
    """State of an episode."""

    number: Array  # [] int32
    time: Array  # [] int32: steps since the start


@struct.dataclass
class Params:
    """Parameters of an example."""

    # In effect no limit, as in the textbook; the number must fit in int32.
    max_steps_in_episode: int = 2**30


class Discrete(NamedTuple):
    """The integers 0 to n - 1; gymnax's own class would require importing gymnax."""

    n: int


class Example:
    """An environment with a fixed initial state; subclasses define `_transition`."""

    num_states: int
    num_actions: int
    start: int

    @property
    def name(self) -> str:
        """Display name."""
        return type(self).__name__

    @property
    def default_params(self) -> Params:
        """Parameters without a time limit."""
        return Params()

    def action_space(self, params: Params) -> Discrete:
        """The action space, the same in every state."""
        del params
        return Discrete(self.num_actions)

    def observation_space(self, params: Params) -> Discrete:
        """The observation space: state numbers."""
        del params
        return Discrete(self.num_states)

    def reset(self, key: Key, params: Params) -> tuple[Array, State]:
        """Return the initial observation and state."""
        del key, params
        state = State(jnp.int32(self.start), jnp.int32(0))
        return state.number, state

    def step(
        self, key: Key, state: State, action: Array, params: Params
    ) -> tuple[Array, State, Array, Array, Array, dict[str, Array]]:
        """Return observation, state, reward, terminated, truncated and info.

        After the last step of an episode, observation and state are those of the next
        episode, and info["final_observation"] is the true successor.
        """
        step_key, reset_key = jax.random.split(key)
        successor, reward, terminated = self._transition(
            step_key, state.number, jnp.int32(action)
        )
        stepped = State(successor, state.time + 1)
        truncated = stepped.time >= params.max_steps_in_episode
        done = terminated | truncated
        _, fresh = self.reset(reset_key, params)
        following: Any = jax.tree.map(
            lambda new, old: jnp.where(done, new, old), fresh, stepped
        )
        info = {"final_observation": successor}
        return following.number, following, reward, terminated, truncated, info

    def _transition(
        self, key: Key, number: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        """Return successor [] int32, reward [] float32 and terminated [] bool."""
        raise NotImplementedError


def moved(number: Array, action: Array, rows: int, columns: int) -> Array:
    """The cell that a move leads to; a move off the grid has no effect.

    Args:
        number: [] int32: columns * row + column, from the top left.
        action: [] 0 up, 1 right, 2 down, 3 left.
        rows, columns: size of the grid.
    """
    row, column = jnp.divmod(number, columns)
    row = jnp.clip(row + jnp.array([-1, 0, 1, 0])[action], 0, rows - 1)
    column = jnp.clip(column + jnp.array([0, 1, 0, -1])[action], 0, columns - 1)
    return (row * columns + column).astype(jnp.int32)


class CliffWalking(Example):
    """Walk along a cliff, from the bottom left of a grid to the bottom right.

    States: 4 x 12 cells, numbered 12 row + column from the top left.
    Actions: 0 up, 1 right, 2 down, 3 left; a move off the grid has no effect.
    Rewards: -1 per step, but -100 for a step into the cliff, the cells between start
    and goal. The cliff sends the agent back to the start without ending the episode;
    reaching the goal ends it.

    Reference: Sutton and Barto (2018), Example 6.6.
    """

    rows, columns = 4, 12
    num_states = rows * columns
    num_actions = 4
    start = (rows - 1) * columns
    goal = num_states - 1

    def _transition(
        self, key: Key, number: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        del key
        cell = moved(number, action, self.rows, self.columns)
        fell = (cell > self.start) & (cell < self.goal)
        successor = jnp.where(fell, self.start, cell).astype(jnp.int32)
        reward = jnp.where(fell, jnp.float32(-100), jnp.float32(-1))
        return successor, reward, cell == self.goal


class DynaMaze(Example):
    """Find the shortest way through a maze, of 14 steps.

    States: 6 x 9 cells, numbered 9 row + column from the top left.
    Actions: 0 up, 1 right, 2 down, 3 left; a move into a wall or off the grid has no
    effect.
    Rewards: 1 for reaching the goal, at the top right, which ends the episode.

    Reference: Sutton and Barto (2018), Example 8.1.
    """

    rows, columns = 6, 9
    num_states = rows * columns
    num_actions = 4
    start = 2 * columns
    goal = columns - 1
    walls = (7, 11, 16, 20, 25, 29, 41)

    def _transition(
        self, key: Key, number: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        del key
        cell = moved(number, action, self.rows, self.columns)
        cell = jnp.where(jnp.any(cell == jnp.array(self.walls)), number, cell)
        goal = cell == self.goal
        return cell, goal.astype(jnp.float32), goal


class MaximizationBias(Example):
    """An MDP in which maximization bias makes the worse action look better.

    States: 0 is A, the start; 1 is B; 2 is the terminal state, which appears only as a
    successor.
    Actions: in A, 0 (left) leads to B and 1 (right) terminates. In B there are ten, all
    of which terminate. `action_mask` gives the valid ones; in A, all others act as 1.
    Rewards: 0 in A, normal with mean -0.1 and variance 1 in B.

    Reference: Sutton and Barto (2018), Example 6.7, where B has "many" actions.
    """

    num_states = 3
    num_actions = 10
    start = 0

    def action_mask(self, observation: Array) -> Array:
        """Mask of the valid actions; [A] bool.

        In A, epsilon-greedy must explore and break ties among two actions only: with
        eight copies of right, it would be a different experiment.
        """
        return (observation != 0) | (jnp.arange(self.num_actions) < 2)

    def _transition(
        self, key: Key, number: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        left = (number == 0) & (action == 0)
        noise = jax.random.normal(key, dtype=jnp.float32) - jnp.float32(0.1)
        reward = jnp.where(number == 0, jnp.float32(0), noise)
        return jnp.where(left, jnp.int32(1), jnp.int32(2)), reward, ~left
