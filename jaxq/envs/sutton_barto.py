"""Two examples of Sutton and Barto's textbook, with gymnax's interface.

Observations are the numbers of the states, so `environments.adapt` gives them a table.
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
    time: Array  # [] int32: steps so far


@struct.dataclass
class Params:
    """What may be changed."""

    # The textbook sets no limit, and int32 holds this one.
    max_steps_in_episode: int = 2**30


class Discrete(NamedTuple):
    """The integers 0 to n - 1; gymnax's own class would import all of gymnax."""

    n: int


class _Example:
    """An environment that always starts in `start`; subclasses give `_transition`."""

    num_states: int
    num_actions: int
    start: int

    @property
    def name(self) -> str:
        """Shown to people."""
        return type(self).__name__

    @property
    def default_params(self) -> Params:
        """No time limit."""
        return Params()

    def action_space(self, params: Params) -> Discrete:
        """The same actions in every state."""
        del params
        return Discrete(self.num_actions)

    def observation_space(self, params: Params) -> Discrete:
        """The numbers of the states."""
        del params
        return Discrete(self.num_states)

    def reset(self, key: Key, params: Params) -> tuple[Array, State]:
        """Observation and state at the start."""
        del key, params
        state = State(jnp.int32(self.start), jnp.int32(0))
        return state.number, state

    def step(
        self, key: Key, state: State, action: Array, params: Params
    ) -> tuple[Array, State, Array, Array, Array, dict[str, Array]]:
        """Observation, state, reward, terminated, truncated and info.

        After an end the first two are those of a new episode, and only
        info["final_observation"] is the true successor.
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
        """Successor [] int32, reward [] float32 and terminated [] bool."""
        raise NotImplementedError


class CliffWalking(_Example):
    """Walk along a cliff, from the bottom left of a grid to the bottom right.

    States: 4 x 12 cells; the number is 12 row + column, and row 0 is the top one.
    Actions: 0 up, 1 right, 2 down, 3 left; a move off the grid leaves one in place.
    Rewards: -1 a step. A step into the cliff, which lies between start and goal, gives
    -100 and leads to the start; the episode goes on. The goal ends it.

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
        row, column = jnp.divmod(number, self.columns)
        row = jnp.clip(row + jnp.array([-1, 0, 1, 0])[action], 0, self.rows - 1)
        column = jnp.clip(
            column + jnp.array([0, 1, 0, -1])[action], 0, self.columns - 1
        )
        cell = row * self.columns + column
        fallen = (cell > self.start) & (cell < self.goal)
        successor = jnp.where(fallen, self.start, cell).astype(jnp.int32)
        reward = jnp.where(fallen, jnp.float32(-100), jnp.float32(-1))
        return successor, reward, cell == self.goal


class MaximizationBias(_Example):
    """Left looks better than right as long as the maximum is taken over noise.

    States: 0 is A, the start; 1 is B; 2 is the end, which is only seen as a successor.
    Actions: in A, 0 is left, to B, and 1 is right, to the end. In B there are ten, all
    to the end. `action_mask` says which exist; in A others count as right.
    Rewards: 0 in A, normal with mean -0.1 and variance 1 in B.

    Reference: Sutton and Barto (2018), Example 6.7; they say "many" actions in B.
    """

    num_states = 3
    num_actions = 10
    start = 0

    def action_mask(self, observation: Array) -> Array:
        """Which actions exist; [A] bool.

        Epsilon-greedy must choose, and break ties, among the two of A alone: with
        copies of them it would be another experiment.
        """
        return (observation != 0) | (jnp.arange(self.num_actions) < 2)

    def _transition(
        self, key: Key, number: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        left = (number == 0) & (action == 0)
        noise = jax.random.normal(key, dtype=jnp.float32) - jnp.float32(0.1)
        reward = jnp.where(number == 0, jnp.float32(0), noise)
        return jnp.where(left, jnp.int32(1), jnp.int32(2)), reward, ~left
