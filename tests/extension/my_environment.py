"""An environment of one's own: gymnax's interface, on any object."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class State(NamedTuple):
    position: jax.Array
    time: jax.Array


class Params(NamedTuple):
    max_steps_in_episode: int = 20


class Actions(NamedTuple):
    n: int = 2


class Line:
    """Walk along a line from 0 in steps of 1/4; reaching +1 pays 1, -1 costs 1."""

    default_params = Params()

    def action_space(self, params):
        return Actions()

    def reset(self, key, params):
        state = State(jnp.zeros(1), jnp.int32(0))
        return state.position, state

    def step(self, key, state, action, params):
        position = state.position + jnp.where(action == 1, 0.25, -0.25)
        stepped = State(position, state.time + 1)
        terminated = jnp.abs(position[0]) >= 1.0
        truncated = stepped.time >= params.max_steps_in_episode
        reward = jnp.where(terminated, jnp.sign(position[0]), 0.0)
        _, fresh = self.reset(key, params)
        done = terminated | truncated
        following = jax.tree.map(lambda a, b: jnp.where(done, a, b), fresh, stepped)
        info = {"final_observation": position}
        return following.position, following, reward, terminated, truncated, info
