"""Construction of environments with gymnax's interface, by name."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxq.config.fields import ConfigError, did_you_mean
from jaxq.envs import (
    access_control,
    argument_checks,
    contract,
    gymnax_facts,
    lazy_import,
    sutton_barto,
)

# jaxq's own environments, in addition to those that gymnax registers.
TEXTBOOK = {
    environment.__name__: environment
    for environment in (
        access_control.AccessControl,
        sutton_barto.CliffWalking,
        sutton_barto.DynaMaze,
        sutton_barto.MaximizationBias,
    )
}

# Modules that gymnax imports only to render.
RENDERING = (
    "matplotlib",
    "matplotlib.animation",
    "matplotlib.colors",
    "matplotlib.pyplot",
    "seaborn",
)


class GymnaxEnv(NamedTuple):
    """An environment with gymnax's interface and its parameters."""

    env: Any
    params: Any
    changed: bool  # whether the task differs from the registered environment
    parameters: dict[str, float]  # those set by the user that may be traced


class _Source(NamedTuple):
    """A collection of environments."""

    make: Callable[..., tuple[Any, Any]]  # (name, **constructor arguments)
    make_sticky: Callable[[Any, float], Any]  # (env, probability) -> env


def build(
    name: str,
    args: tuple[str, ...] = (),
    *,
    time_limit: int | None = None,
    sticky_actions: float = 0.0,
    full_action_set: bool = False,
) -> GymnaxEnv:
    """Construct an environment by name; arguments and errors as in `make.make`."""
    arguments = argument_checks.parse(args)
    source = _find(name)
    if full_action_set:
        arguments["use_minimal_action_set"] = _full_action_set(name)
    standard, defaults = source.make(name)
    fields = {field.name for field in dataclasses.fields(defaults)}
    changes = {key: arguments.pop(key) for key in list(arguments) if key in fields}
    changes = argument_checks.check_parameters(name, changes, defaults)
    arguments = argument_checks.check_constructor(name, arguments, type(standard))
    # gymnax and its environments reject arguments with many types of exceptions.
    try:
        env, params = source.make(name, **arguments)
        params = params.replace(**changes)
        if time_limit is not None:
            params = params.replace(max_steps_in_episode=time_limit)
        if sticky_actions:
            env = source.make_sticky(env, sticky_actions)
    except Exception as error:
        signature = inspect.signature(type(standard))
        raise ConfigError(
            f"{name} rejects {', '.join(args) or 'the given options'}: {error}. Its "
            f"parameters are {', '.join(sorted(fields))}; its constructor takes "
            f"{signature}."
        ) from error
    changed = (
        bool(time_limit or sticky_actions)
        or any(value != getattr(defaults, key) for key, value in changes.items())
        or _changes_task(name, type(standard), arguments)
    )
    return GymnaxEnv(env, params, changed, traceable(changes, defaults))


def _find(name: str) -> _Source:
    """The collection that has an environment.

    Raises:
        ConfigError: if none has, or if it would have to download data.
    """
    if name in TEXTBOOK:
        return _Source(_make_textbook, _reject_sticky)
    gymnax = import_gymnax()
    if name not in gymnax.registered_envs:
        names = [*gymnax.registered_envs, *TEXTBOOK]
        raise ConfigError(
            f"environment = {name!r} is unknown.{did_you_mean(name, names)} "
            f"Known: {', '.join(sorted(names))}; or module:attribute of your own."
        )
    if name in gymnax_facts.DOWNLOADS:
        raise ConfigError(
            f"environment = {name!r} downloads its data set on construction, which "
            "jaxq does not allow. Construct it yourself and pass the object."
        )
    return _Source(gymnax.make, gymnax.wrappers.StickyActionWrapper)


def _make_textbook(name: str, **arguments: Any) -> tuple[Any, Any]:
    env = TEXTBOOK[name](**arguments)
    return env, env.default_params


def _reject_sticky(env: Any, probability: float) -> Any:
    raise ValueError(
        f"sticky_actions = {probability} is not supported by {env.name}; use 0"
    )


def _full_action_set(name: str) -> bool:
    """Value of `use_minimal_action_set` for all six actions of MinAtar."""
    if not name.endswith("-MinAtar"):
        raise ConfigError(
            f"full_action_set = True: {name} is not a MinAtar environment."
        )
    return False


def import_gymnax() -> Any:
    """Import gymnax without the plotting libraries that it renders with.

    `import gymnax` imports every environment, and some import these libraries, which
    take 1.5 s, more than all the rest, and which a run without plots does not need.
    Importing only gymnax's submodules would not avoid it, since that runs
    `gymnax/__init__.py` first.
    """
    try:
        with lazy_import.lazy_imports(RENDERING):
            import gymnax
            import gymnax.wrappers
    except ImportError as error:
        raise ConfigError(
            f"gymnax cannot be imported ({error}). {contract.REINSTALL}"
        ) from error
    if not hasattr(gymnax, "registered_envs") or not hasattr(
        gymnax.wrappers, "StickyActionWrapper"
    ):
        raise ConfigError(f"the installed gymnax is not gymnax 1. {contract.REINSTALL}")
    return gymnax


def _changes_task(name: str, constructor: type, arguments: Mapping[str, Any]) -> bool:
    """Whether constructor arguments make a different task, with another optimum."""
    defaults = inspect.signature(constructor).parameters
    return any(
        value != getattr(defaults.get(key), "default", None)
        and (name, key) not in gymnax_facts.SAME_OPTIMUM
        for key, value in arguments.items()
    )


def traceable(changes: Mapping[str, Any], defaults: Any) -> dict[str, float]:
    """Changed parameters that may be traced: floats, except for the time limit."""
    return {
        key: float(value)
        for key, value in changes.items()
        if isinstance(getattr(defaults, key), float) and key != "max_steps_in_episode"
    }
