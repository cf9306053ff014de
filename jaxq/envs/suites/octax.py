"""Octax: CHIP-8 games."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from octax import environments

from jaxq.envs import auto_reset
from jaxq.types import Array, Key, PyTree

# Games with levels, of which each is an environment.
LEVELS = {"cavern": (1, 2, 3, 5, 6), "space_flight": (*range(1, 11),),
          "target_shooter": (1, 2, 3)}  # fmt: skip


def names() -> list[str]:
    """The ids of the suite."""
    modules = [module.name for module in pkgutil.iter_modules(environments.__path__)]
    games = [name for name in modules if name not in LEVELS]
    levels = [f"{game}{n}" for game, numbers in LEVELS.items() for n in numbers]
    return [*games, *levels]


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are those of its constructor."""
    arguments = dict(arguments)
    if time_limit is not None:
        arguments["max_num_steps_per_episodes"] = time_limit
    env, _ = environments.create_environment(name, **arguments)

    def start(key: Key) -> tuple[Array, PyTree]:
        state, observation, _ = env.reset(key)
        return observation, state

    def transition(
        key: Key, state: PyTree, action: Array
    ) -> tuple[Array, PyTree, Array, Array, Array]:
        del key  # the state has one
        state, observation, reward, terminated, truncated, _ = env.step(state, action)
        return observation, state, reward, terminated, truncated

    return auto_reset.Rules(
        start=start,
        transition=transition,
        num_actions=env.num_actions,
        time_limit=env.max_num_steps_per_episodes,
    )
