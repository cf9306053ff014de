"""The grid world on which van Hasselt (2010) compares Q-learning with Double Q."""

import jax
import jax.numpy as jnp

from jaxq.envs import sutton_barto
from jaxq.types import Array, Key


class NoisyGrid(sutton_barto.Example):
    """Walk from one corner of a 3 x 3 grid to the opposite one, with noisy rewards.

    States: numbered 3 row + column from the top left; the start is at the bottom left.
    Actions: 0 up, 1 right, 2 down, 3 left; a move off the grid has no effect.
    Rewards: -12 or 10 with equal probability; 5 for any action in the goal, at the top
    right, which ends the episode. The best policy ends an episode after five steps,
    with a mean reward of 0.2 per step.

    Reference: van Hasselt (2010), Double Q-learning, section 4.2.
    """

    rows, columns = 3, 3
    num_states = rows * columns
    num_actions = 4
    start = 6
    goal = 2

    def _transition(
        self, key: Key, number: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        at_goal = number == self.goal
        cell = sutton_barto.moved(number, action, self.rows, self.columns)
        noise = jnp.where(jax.random.bernoulli(key), jnp.float32(10), jnp.float32(-12))
        reward = jnp.where(at_goal, jnp.float32(5), noise)
        return jnp.where(at_goal, number, cell), reward, at_goal
