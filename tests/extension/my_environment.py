"""A user-defined environment: any object with gymnax's interface."""

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
    """A walk from 0 in steps of 1/4; the reward is 1 at +1 and -1 at -1."""

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
