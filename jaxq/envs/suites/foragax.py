"""Foragax: foraging without an end, in a world that changes."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from foragax import registry

from jaxq.envs import auto_reset
from jaxq.types import Array, Key, PyTree


def names() -> list[str]:
    """The ids of the suite."""
    return [*registry.ENV_CONFIGS]


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are those of its constructor."""
    env = registry.make(name, **arguments)
    params = env.default_params
    # It was written for gymnax 0; the base class calls the method by its new name.
    env.is_terminated = env.is_terminal

    def transition(
        key: Key, state: PyTree, action: Array
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        values = env.step_env(key, state, action, params)
        observation, state, reward, terminated, _ = values
        return observation, state, reward, jnp.bool_(terminated), jnp.bool_(False)

    return auto_reset.limited(
        auto_reset.Rules(
            start=lambda key: env.reset_env(key, params),
            transition=transition,
            num_actions=env.action_space(params).n,
        ),
        time_limit,
    )
