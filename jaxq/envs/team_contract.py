"""JaxMARL's interface for several agents, checked by tracing it abstractly."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxq.config.fields import ConfigError
from jaxq.types import Array, PyTree
from jaxq.xla import prng

INTERFACE = (
    "It must follow JaxMARL: agents is a list of names; reset(key) returns "
    "(observations, state); step_env(key, state, actions) returns (observations, "
    "state, rewards, dones, info), with dictionaries by the names of the agents, and "
    "dones['__all__'] ends the episode; action_space(agent).n is the number of "
    "actions."
)


def key() -> Any:
    """The shape of a key, to trace with."""
    return jax.eval_shape(lambda: prng.key(0))


def check_methods(env: Any, name: str) -> None:
    """Raise if an object lacks methods of the interface."""
    missing = [
        attribute
        for attribute in ("agents", "reset", "step_env", "action_space")
        if not hasattr(env, attribute)
    ]
    if missing or isinstance(env, type) or not env.agents:
        raise ConfigError(
            f"environment = {name!r} has no {' and no '.join(missing) or 'agents'}. "
            f"{INTERFACE}"
        )


def num_actions(env: Any, name: str) -> tuple[int, ...]:
    """The number of actions of each agent."""
    counts = [getattr(env.action_space(agent), "n", None) for agent in env.agents]
    if None in counts:
        agent = env.agents[counts.index(None)]
        raise ConfigError(
            f"environment = {name!r}: the actions of {agent} are "
            f"{env.action_space(agent)}, not a finite set."
        )
    return tuple(int(count) for count in counts)  # type: ignore[arg-type]


def time_limit(env: Any, name: str, given: int | None) -> int | None:
    """The number of steps after which an episode is truncated."""
    own = getattr(env, "max_steps", None)
    if own is None or given is None:
        return own if given is None else given
    if given > own:
        raise ConfigError(
            f"time_limit = {given} of {name} exceeds its own, max_steps = {own}. "
            f"Construct it with a larger one: --environment-args "
            f"max_steps={given}."
        )
    return given


def width(env: Any, name: str) -> int | None:
    """The common width of observations that are vectors; None for other arrays."""
    seen = jax.eval_shape(lambda key: env.reset(key)[0], key())
    shapes = [seen.get(a) if isinstance(seen, Mapping) else None for a in env.agents]
    if any(not isinstance(shape, jax.ShapeDtypeStruct) for shape in shapes):
        raise ConfigError(
            f"environment = {name!r} must give each agent an observation that is one "
            f"array. {INTERFACE}"
        )
    sizes = {tuple(shape.shape) for shape in shapes if shape is not None}
    if all(len(size) == 1 for size in sizes):
        return max(size[0] for size in sizes)
    if len(sizes) > 1:
        raise ConfigError(
            f"environment = {name!r} gives its agents observations of the shapes "
            f"{sorted(sizes)}; agents with one network need one shape."
        )
    return None


def masks(env: Any) -> Callable[[PyTree], Mapping[str, Array]] | None:
    """The method that computes the valid actions of a state, if there is one."""
    for name in ("get_avail_actions", "get_legal_moves"):
        method = getattr(env, name, None)
        if method is None:
            continue
        try:
            shapes = jax.eval_shape(lambda key: method(env.reset(key)[1]), key())  # noqa: B023
        except NotImplementedError:
            continue
        if isinstance(shapes, Mapping) and all(agent in shapes for agent in env.agents):
            return method
    return None
