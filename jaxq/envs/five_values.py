"""Environments with the interface of gymnax 0, whose step returns a single done."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxq.config.fields import MAX_INT32, ConfigError
from jaxq.envs import adapter, auto_reset, contract
from jaxq.types import Array, Key, PyTree

# Names of the limit on the steps of an episode, in the parameters of environments.
LIMITS = ("max_steps_in_episode", "max_timesteps")


def from_five_values(
    env: Any,
    params: Any = None,
    name: str = "",
    *,
    time_limit: int | None = None,
    timeout_is_terminal: bool = False,
    mask: Callable[[PyTree], Array] | None = None,
) -> adapter.Environment:
    """Adapt an object whose step returns (observation, state, reward, done, info).

    It must have `reset_env(key, params)` and `step_env(key, state, action, params)`,
    which do not reset at the end of an episode, and `action_space(params)`. An episode
    that is done is truncated if `is_terminal(state, params)` is False once the limit on
    steps is taken out of `params`. For an object without `is_terminal` it is truncated
    if it is done in the step that reaches the limit. `info` is not read; lives are read
    from the field `lives` of the state.

    Args:
        env: the object.
        params: its parameters; None uses `env.default_params`.
        name: display name; if empty, the object's own.
        time_limit: steps after which an episode is truncated; None keeps the limit in
            `params`.
        timeout_is_terminal: report a truncation as a termination.
        mask: (state) -> [A] bool, the valid actions; None: all are always valid.

    Raises:
        ConfigError: if the object does not follow this interface.
    """
    params = contract.parameters(env, params)
    name = name or getattr(env, "name", type(env).__name__)
    played = rules(env, params, name, time_limit)
    if mask is not None:
        played = played._replace(mask=lambda state: mask(_own(state)))
    game = auto_reset.AutoReset(played, name)
    return adapter.adapt(game, timeout_is_terminal=timeout_is_terminal)


def _own(state: PyTree) -> PyTree:
    """The object's own state, without a count of steps."""
    return state.state if isinstance(state, auto_reset.Counted) else state


def rules(
    env: Any, params: Any, name: str, time_limit: int | None = None
) -> auto_reset.Rules:
    """The rules of an object, as above."""
    check(env, params, name)
    field = next((f for f in LIMITS if getattr(params, f, None) is not None), None)
    if field is None:  # it has no limit of its own
        return auto_reset.limited(_without_limit(env, params, name), time_limit)
    if time_limit is not None:
        params = _replaced(params, field, time_limit)
    split = _split_by_judging if hasattr(env, "is_terminal") else _split_by_counting
    return split(env, params, name, field)


def _without_limit(env: Any, params: Any, name: str) -> auto_reset.Rules:
    """Rules in which every end of an episode is a termination."""

    def transition(
        key: Key, state: PyTree, action: Array
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        return *_step(env, params, name, key, state, action), jnp.bool_(False)

    return auto_reset.Rules(
        start=lambda key: env.reset_env(key, params),
        transition=transition,
        num_actions=contract.num_actions(env, params, name),
    )


def _step(
    env: Any, params: Any, name: str, key: Key, state: PyTree, action: Array
) -> tuple[PyTree, PyTree, Array, Array]:
    """Observation, state, reward and done of a step."""
    values = env.step_env(key, state, action, params)
    if len(values) != 5:
        raise ConfigError(
            f"environment = {name!r} returns {len(values)} values from step_env "
            "instead of 5: observation, state, reward, done and info."
        )
    observation, state, reward, done, _ = values
    return observation, state, reward, jnp.bool_(done)


def _split_by_judging(env: Any, params: Any, name: str, field: str) -> auto_reset.Rules:
    """Rules in which `is_terminal`, without the limit, marks terminations."""
    unlimited = _replaced(params, field, MAX_INT32)

    def transition(
        key: Key, state: PyTree, action: Array
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        observation, state, reward, done = _step(env, params, name, key, state, action)
        terminated = jnp.bool_(env.is_terminal(state, unlimited))
        return observation, state, reward, done & terminated, done & ~terminated

    return auto_reset.Rules(
        start=lambda key: env.reset_env(key, params),
        transition=transition,
        num_actions=contract.num_actions(env, params, name),
        time_limit=float(getattr(params, field)),
    )


def _split_by_counting(
    env: Any, params: Any, name: str, field: str
) -> auto_reset.Rules:
    """Rules in which the end of an episode in the last step is a truncation."""
    limit = getattr(params, field)

    def start(key: Key) -> tuple[PyTree, PyTree]:
        observation, state = env.reset_env(key, params)
        return observation, auto_reset.Counted(state, jnp.int32(0))

    def transition(
        key: Key, counted: auto_reset.Counted, action: Array
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        observation, state, reward, done = _step(
            env, params, name, key, counted.state, action
        )
        after = auto_reset.Counted(state, counted.steps + 1)
        last = after.steps >= limit
        return observation, after, reward, done & ~last, done & last

    return auto_reset.Rules(
        start=start,
        transition=transition,
        num_actions=contract.num_actions(env, params, name),
        time_limit=float(limit),
    )


def check(env: Any, params: Any, name: str) -> None:
    """Check that an object can be stepped without being reset.

    Raises:
        ConfigError: if it cannot, with the way out.
    """
    step = getattr(type(env), "step", None)
    from_gymnax = getattr(step, "__module__", "").startswith("gymnax.")
    if from_gymnax and hasattr(env, "is_truncated"):
        raise ConfigError(
            f"environment = {name!r} has the six-value step of gymnax 1: pass it to "
            "jaxq.adapt."
        )
    # A wrapper that passes attributes through would be bypassed.
    for method in ("reset_env", "step_env", "action_space"):
        if not hasattr(type(env), method):
            raise ConfigError(
                f"environment = {name!r} is a {type(env).__name__}, which does not "
                f"define {method}. Only step_env(key, state, action, params) and "
                "reset_env(key, params), which do not reset at the end of an episode, "
                "show its last observation. Define both, or return six values from "
                "step, with terminated and truncated in place of done and "
                "info['final_observation'], and pass the object to jaxq.adapt."
            )


def _replaced(params: Any, field: str, value: int) -> Any:
    """Parameters with another limit on steps.

    Raises:
        ConfigError: if they are neither a dataclass nor a NamedTuple.
    """
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return dataclasses.replace(params, **{field: value})
    if hasattr(params, "_replace"):
        return params._replace(**{field: value})
    raise ConfigError(
        f"params = {params!r} must be a dataclass or a NamedTuple, so that {field} can "
        "be changed."
    )
