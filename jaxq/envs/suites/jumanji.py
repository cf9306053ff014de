"""Jumanji: the environments with one agent and a finite set of actions."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import jumanji
import numpy as np
from jumanji import specs

from jaxq.config.fields import MAX_INT32, ConfigError
from jaxq.envs import auto_reset
from jaxq.types import Array, Key, PyTree

DOWNLOADS = ("Sokoban-v0",)  # constructing these downloads their levels


def names() -> list[str]:
    """The ids of the suite, of any number of agents."""
    return [*jumanji.registered_environments()]


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are those of its constructor.

    Its time limit is counted outside of it, because most environments report the end
    of time as a termination.
    """
    if name in DOWNLOADS:
        raise ConfigError(
            f"environment = 'jumanji::{name}' downloads its levels on construction, "
            "which jaxq does not allow."
        )
    env: Any = jumanji.make(name, **arguments)
    sizes = _sizes(name, env)
    limit = getattr(env, "time_limit", None)
    if limit is not None:
        limit = time_limit or limit
        if limit >= MAX_INT32:
            raise ConfigError(f"time_limit = {limit} of {name} is too large.")
        env = jumanji.make(name, **{**arguments, "time_limit": limit + 1})
    view = VIEWS.get(type(env).__name__, _structure)

    def start(key: Key) -> tuple[PyTree, PyTree]:
        state, timestep = env.reset(key)
        return view(env, timestep.observation), (state, _mask(timestep, sizes))

    def transition(
        key: Key, before: PyTree, action: Array
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        del key  # the state has one
        if len(sizes) > 1:
            action = jnp.stack(jnp.unravel_index(action, sizes))
        state, timestep = env.step(before[0], action)
        terminated = timestep.last() & (timestep.discount == 0)
        return (
            view(env, timestep.observation),
            (state, _mask(timestep, sizes)),
            timestep.reward,
            terminated,
            timestep.last() & ~terminated,
        )

    rules = auto_reset.Rules(
        start=start,
        transition=transition,
        num_actions=int(np.prod(sizes)),
        mask=(lambda state: state[1]) if _has_mask(env) else None,
    )
    return auto_reset.limited(rules, limit or time_limit)


def _has_mask(env: Any) -> bool:
    return hasattr(env.observation_spec, "action_mask")


def _sizes(name: str, env: Any) -> tuple[int, ...]:
    """Number of values of each part of an action.

    Raises:
        ConfigError: if it is not one action of one agent, out of finitely many.
    """
    spec = env.action_spec
    if not isinstance(spec, specs.DiscreteArray | specs.MultiDiscreteArray):
        raise ConfigError(
            f"environment = 'jumanji::{name}' has the actions {spec!r}, which are not "
            "a finite set."
        )
    sizes = tuple(int(size) for size in np.ravel(spec.num_values))
    several = spec.shape != () and len(spec.shape) > 1
    if _has_mask(env):
        several |= env.observation_spec.action_mask.shape != sizes
    if several or env.reward_spec.shape != ():
        raise ConfigError(
            f"environment = 'jumanji::{name}' takes several actions at once, for "
            "several agents or machines; jaxq chooses one per step."
        )
    return sizes


def _mask(timestep: Any, sizes: tuple[int, ...]) -> Array | tuple[()]:
    """The mask of a time step, flat as its actions are."""
    mask = getattr(timestep.observation, "action_mask", None)
    return () if mask is None else jnp.bool_(mask).reshape(int(np.prod(sizes)))


def _structure(env: Any, observation: Any) -> PyTree:
    """The parts of an observation, without its mask and its clock."""
    del env
    parts = {
        field: getattr(observation, field)
        for field in observation._fields
        if field not in ("action_mask", "step_count")
    }
    return next(iter(parts.values())) if len(parts) == 1 else parts


def _board_of_2048(env: Any, observation: Any) -> Array:
    """One bit per exponent: 4 x 4 cells can make 2^17."""
    sizes = env.board_size**2 + 2
    return auto_reset.one_hot(observation.board[..., None], sizes)


def _minesweeper(env: Any, observation: Any) -> Array:
    """One bit for an unexplored cell, and for each number of mines around another."""
    del env
    return auto_reset.one_hot(observation.board[..., None] + 1, 10)


def _cube(env: Any, observation: Any) -> Array:
    """One bit per colour of a sticker."""
    del env
    return auto_reset.one_hot(observation.cube[..., None], 6)


def _tiles(env: Any, observation: Any) -> Array:
    """One bit per tile."""
    del env
    puzzle = observation.puzzle
    return auto_reset.one_hot(puzzle[..., None], puzzle.size)


# Identifiers as bits, by the class of the environment.
VIEWS: dict[str, Callable[[Any, Any], PyTree]] = {
    "Game2048": _board_of_2048,
    "Minesweeper": _minesweeper,
    "RubiksCube": _cube,
    "SlidingTilePuzzle": _tiles,
}
