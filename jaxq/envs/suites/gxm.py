"""Gxm: the environments of Navix and XLand-MiniGrid through its adapters.

Its other adapters reset inside a step, so that the last observation of an episode is
lost, or do not work with the current versions of their libraries.
"""

from collections.abc import Mapping
from typing import Any

import gxm

from jaxq.envs import auto_reset
from jaxq.envs.suites import navix, xminigrid
from jaxq.types import Array, Key, PyTree

LIBRARIES: Mapping[str, Any] = {"Navix": navix, "XMiniGrid": xminigrid}


def names() -> list[str]:
    """The ids of the suite."""
    return [f"{prefix}/{name}" for prefix, m in LIBRARIES.items() for name in m.names()]


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are those of its library."""
    library = LIBRARIES[name.partition("/")[0]]
    if time_limit is not None:
        arguments = {**arguments, "max_steps": time_limit}
    env = gxm.make(name, **arguments)

    def start(key: Key) -> tuple[Array, PyTree]:
        state, timestep = env.init(key)
        return library.encode(timestep.next_obs), state

    def transition(
        key: Key, state: PyTree, action: Array
    ) -> tuple[Array, PyTree, Array, Array, Array]:
        state, timestep = env.step(key, state, action)
        # It reports every end as a termination; the library's own state has the kind.
        truncated = library.is_truncated(state)
        terminated = timestep.done & ~truncated
        return (
            library.encode(timestep.true_next_obs),
            state,
            timestep.reward,
            terminated,
            truncated,
        )

    return auto_reset.Rules(start, transition, env.action_space.n)
