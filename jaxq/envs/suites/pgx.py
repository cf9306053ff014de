"""Pgx: the games with one player."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import pgx

from jaxq.config.fields import ConfigError
from jaxq.envs import auto_reset
from jaxq.types import Array, Key, PyTree

SINGLE_PLAYER = (
    "2048",
    "minatar-asterix",
    "minatar-breakout",
    "minatar-freeway",
    "minatar-seaquest",
    "minatar-space_invaders",
)


def names() -> list[str]:
    """The ids of the suite, of any number of players."""
    return [*pgx.available_envs()]


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are those of its constructor."""
    env: Any = pgx.make(name)
    if env.num_players != 1:
        raise ConfigError(
            f"environment = 'pgx::{name}' has {env.num_players} players; jaxq trains "
            f"one agent. Choose one of {', '.join(SINGLE_PLAYER)}."
        )
    if arguments:
        env = type(env)(**arguments)

    def start(key: Key) -> tuple[Array, PyTree]:
        state = env.init(key)
        return state.observation, state

    def transition(
        key: Key, state: PyTree, action: Array
    ) -> tuple[Array, PyTree, Array, Array, Array]:
        state = env.step(state, action, key)
        return (
            state.observation,
            state,
            state.rewards[0],
            state.terminated,
            state.truncated,
        )

    always_valid = name.startswith("minatar-")
    rules = auto_reset.Rules(
        start=start,
        transition=transition,
        num_actions=env.num_actions,
        mask=None if always_valid else lambda state: jnp.bool_(state.legal_action_mask),
    )
    return auto_reset.limited(rules, time_limit)
