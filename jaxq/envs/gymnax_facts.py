"""What is known of gymnax's environments beyond what they declare.

Declared spaces are not trusted: Catch says int32 and gives float32, FourRooms says
float32 and gives int32, and several observations leave their own bounds. The facts here
were read from the sources of gymnax 1.0.1 and are checked by the tests.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxq.types import Array

# Every element of an observation is 0 or 1: stored as one bit.
BINARY = (
    "Asterix-MinAtar",
    "Breakout-MinAtar",
    "Freeway-MinAtar",
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
    "Catch-bsuite",
    "DeepSea-bsuite",
)

# Construction fetches a data set.
DOWNLOADS = ("MNISTBandit-bsuite",)

# Return of an optimal policy with the default parameters. CartPole: one a step.
# MountainCar: value iteration on a 721 x 561 grid, an achievable lower bound.
OPTIMAL_RETURNS = {
    "CartPole-v1": 500.0,
    "MountainCar-v0": -97.68,
    "Catch-bsuite": 1.0,
    "DeepSea-bsuite": 0.99,
    "DiscountingChain-bsuite": 1.1,
    "UmbrellaChain-bsuite": 1.0,
    "MemoryChain-bsuite": 1.0,
    "FourRooms-misc": 1.0,
}


class TableIndex(NamedTuple):
    """A numbering of the states that observations stand for."""

    num_states: int
    row: Callable[[Array], Array]  # observation -> [] int32


def _deep_sea(env: Any, params: Any) -> TableIndex:
    del params
    return TableIndex(env.size**2, lambda grid: jnp.argmax(grid.reshape(-1)))


def _catch(env: Any, params: Any) -> TableIndex:
    # The paddle moves in the last row; the ball is above it until the last step.
    del params

    def index(grid: Array) -> Array:
        ball = jnp.argmax(grid[:-1].reshape(-1))
        return ball * env.columns + jnp.argmax(grid[-1])

    return TableIndex((env.rows - 1) * env.columns**2, index)


def _four_rooms(env: Any, params: Any) -> TableIndex | None:
    if env.use_visual_obs:
        return None
    height, width = env.env_map.shape
    cells = height * width
    goals = cells if params.resample_goal_pos else 1

    def index(position: Array) -> Array:
        row, column, goal_row, goal_column = position
        cell = row * width + column
        return cell + (goal_row * width + goal_column) * cells * (goals > 1)

    return TableIndex(cells * goals, index)


_TABLES: dict[str, Callable[[Any, Any], TableIndex | None]] = {
    "DeepSea-bsuite": _deep_sea,
    "Catch-bsuite": _catch,
    "FourRooms-misc": _four_rooms,
}


def table_index(name: str, env: Any, params: Any) -> TableIndex | None:
    """Numbering of an environment's states, or None where none is known."""
    return _TABLES[name](env, params) if name in _TABLES else None


# Constructor arguments that do not change it.
SAME_OPTIMUM = {("DeepSea-bsuite", "size")}


def optimal_return(name: str, changed: bool) -> float:
    """Best expected return of an environment; nan if unknown or `changed`."""
    return math.nan if changed else OPTIMAL_RETURNS.get(name, math.nan)
