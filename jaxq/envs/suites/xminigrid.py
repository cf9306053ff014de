"""XLand-MiniGrid."""

from collections.abc import Mapping
from typing import Any

import xminigrid
from xminigrid.core import constants

from jaxq.envs import argument_checks, auto_reset
from jaxq.types import Array, Key, PyTree


def names() -> list[str]:
    """The ids of the suite."""
    return [*xminigrid.registered_environments()]


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are fields of its parameters."""
    env, params = xminigrid.make(name)
    params = argument_checks.replaced(name, params, arguments)
    if time_limit is not None:  # by which the reward of a success decreases
        params = params.replace(max_steps=time_limit)

    def start(key: Key) -> tuple[Array, PyTree]:
        timestep = env.reset(params, key)
        return encode(timestep.observation), timestep

    def transition(
        key: Key, timestep: PyTree, action: Array
    ) -> tuple[Array, PyTree, Array, Array, Array]:
        del key  # the state has one
        timestep = env.step(params, timestep, action)
        terminated = timestep.discount == 0
        return (
            encode(timestep.observation),
            timestep,
            timestep.reward,
            terminated,
            timestep.last() & ~terminated,
        )

    return auto_reset.Rules(
        start=start,
        transition=transition,
        num_actions=env.num_actions(params),
        time_limit=params.max_steps,
    )


def encode(observation: Array) -> Array:
    """One bit per tile and colour."""
    return auto_reset.one_hot(observation, constants.NUM_TILES, constants.NUM_COLORS)


def is_truncated(state: Any) -> Array:
    """Whether the time of an episode has run out, from the state of gxm's adapter."""
    timestep = state.xminigrid_state
    return timestep.last() & (timestep.discount > 0)
