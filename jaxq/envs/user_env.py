"""Construction of an environment of a user's own, named `module:attribute`."""

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any

from jaxq.config import user_code
from jaxq.config.fields import ConfigError, Range
from jaxq.envs import adapter, argument_checks, contract, gymnax_env
from jaxq.envs.gymnax_env import GymnaxEnv


def build(
    name: str,
    args: tuple[str, ...] = (),
    *,
    time_limit: int | None = None,
    sticky_actions: float = 0.0,
    full_action_set: bool = False,
) -> GymnaxEnv:
    """Construct the environment that a name stands for; see `make.make`.

    The attribute is an object with gymnax's interface, or a class or function that
    makes one. Arguments that the class or function takes are passed to it, and the
    others replace fields of `default_params`.

    Raises:
        ConfigError: for an attribute of another kind, or an invalid argument.
    """
    if full_action_set:
        raise ConfigError(
            f"full_action_set = True: {name} is not a MinAtar environment."
        )
    attribute = user_code.load("environment", name)
    arguments = argument_checks.parse(args)
    env = attribute
    if isinstance(attribute, type) or not hasattr(attribute, "step"):
        taken = _taken(name, attribute, arguments)
        env = _construct(name, attribute, taken)
        arguments = {k: v for k, v in arguments.items() if k not in taken}
    if not hasattr(env, "step") or isinstance(env, adapter.Environment):
        raise ConfigError(
            f"environment = {name!r} gives {env!r:.80}, not an object with gymnax's "
            f"interface, as jaxq.adapt takes. {contract.INTERFACE}"
        )
    defaults = contract.parameters(env, None)
    if time_limit is not None:
        arguments["max_steps_in_episode"] = time_limit
    _check_names(name, attribute, arguments, defaults)
    bounds = _bounds(name, type(defaults))
    changes = argument_checks.check_parameters(name, arguments, defaults, bounds)
    if sticky_actions:
        env = _sticky(name, env, sticky_actions)
    return GymnaxEnv(
        env,
        contract.replace(defaults, changes),
        changed=True,  # its optimum is unknown
        parameters=gymnax_env.traceable(changes, defaults),
    )


def _taken(name: str, attribute: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a class or function takes, each of the default's type."""
    if not callable(attribute):
        raise ConfigError(
            f"environment = {name!r} is {attribute!r}, not an environment, or a class "
            f"or function that makes one. {contract.INTERFACE}"
        )
    signature = inspect.signature(attribute)
    taken = {key: v for key, v in arguments.items() if key in signature.parameters}
    try:
        signature.bind(**taken)
    except TypeError as error:
        raise ConfigError(
            f"environment = {name!r} takes {signature}: {error}. Give it with "
            "--environment-args NAME=VALUE, or give it a default."
        ) from error
    is_class = isinstance(attribute, type)
    function = getattr(attribute, "__init__", None) if is_class else attribute
    bounds = _bounds(name, function)
    return argument_checks.check_constructor(name, taken, attribute, bounds)


def _construct(name: str, attribute: Any, arguments: Mapping[str, Any]) -> Any:
    """The object that a class or function makes."""
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    call = f"{name.partition(':')[2]}({given})"
    try:
        env = attribute(**arguments)
    except Exception as error:  # of the user's code
        raise ConfigError(
            f"environment = {name!r}: {call} raised {type(error).__name__}: {error}."
        ) from error
    return env


def _check_names(
    name: str, attribute: Any, arguments: Mapping[str, Any], params: Any
) -> None:
    """Raise for an argument that is not a parameter either."""
    fields = getattr(params, "_fields", None)
    if fields is None and dataclasses.is_dataclass(params):
        fields = tuple(field.name for field in dataclasses.fields(params))
    for key in arguments:
        if key not in (fields or ()):
            takes = ""
            if callable(attribute):
                takes = f" It takes {inspect.signature(attribute)}."
            raise ConfigError(
                f"environment = {name!r} has no parameter {key!r}; its default_params "
                f"have {', '.join(fields or ()) or 'none'}.{takes}"
            )


def _bounds(name: str, annotated: Any) -> dict[str, Range]:
    """The ranges that the annotations of a class or function declare."""
    try:
        hints = typing.get_type_hints(annotated, include_extras=True)
    except TypeError:  # an object without annotations
        return {}
    except NameError as error:
        raise ConfigError(
            f"environment = {name!r}: an annotation of its parameters cannot be read "
            f"({error}). Import that name outside `if TYPE_CHECKING`."
        ) from error
    return {
        key: bounds
        for key, hint in hints.items()
        for bounds in getattr(hint, "__metadata__", ())
        if isinstance(bounds, Range)
    }


def _sticky(name: str, env: Any, probability: float) -> Any:
    """The environment with sticky actions, if gymnax's wrapper accepts it."""
    try:
        return gymnax_env.import_gymnax().wrappers.StickyActionWrapper(env, probability)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"sticky_actions = {probability} is not supported by {name}: {error}."
        ) from error
