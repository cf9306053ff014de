"""Facts about gymnax's environments that they do not declare.

Declared spaces are not trusted: Catch declares int32 and returns float32, FourRooms the
reverse, and several observations exceed their declared bounds. These facts come from
the source of gymnax 1.0.1 and are checked by the tests.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxq.types import Array

# Observations have only elements 0 and 1, which the replay stores as single bits.
BINARY = (
    "Asterix-MinAtar",
    "Breakout-MinAtar",
    "Freeway-MinAtar",
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
    "Catch-bsuite",
    "DeepSea-bsuite",
)

# Constructing these downloads a data set.
DOWNLOADS = ("MNISTBandit-bsuite",)

# Expected return of an optimal policy with the default parameters. CartPole: a reward
# of 1 per step up to the time limit. MountainCar: value iteration on a 721 x 561 grid,
# an achievable lower bound.
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
    """A numbering of an environment's states by their observations."""

    num_states: int
    row: Callable[[Array], Array]  # observation -> state number [] int32


def _deep_sea(env: Any, params: Any) -> TableIndex:
    del params
    return TableIndex(env.size**2, lambda grid: jnp.argmax(grid.reshape(-1)))


def _catch(env: Any, params: Any) -> TableIndex:
    # The paddle is in the last row; the ball is above that row until the last step.
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
    """Numbering of an environment's states; None if none is known."""
    return _TABLES[name](env, params) if name in _TABLES else None


# (environment, constructor argument) pairs that leave the optimal return unchanged. In
# DeepSea of size n, the optimal policy moves right n times, at a total cost of 0.01,
# and gets the treasure, 1: 0.99 for every n.
SAME_OPTIMUM = {("DeepSea-bsuite", "size")}


def optimal_return(name: str, changed: bool) -> float:
    """Expected return of an optimal policy; nan if unknown.

    Args:
        name: of the registered environment.
        changed: whether the task differs from it, so that its optimum does not apply.
    """
    return math.nan if changed else OPTIMAL_RETURNS.get(name, math.nan)
