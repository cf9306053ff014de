"""Environments by name: those that gymnax registers, with the options of protocols."""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import json
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jaxq.config.config import Config, ConfigError
from jaxq.config.fields import did_you_mean
from jaxq.envs import gymnax_facts, sutton_barto
from jaxq.envs.adapter import (
    REINSTALL,
    Environment,
    adapt,
)

# Environments of this package, besides those of gymnax.
TEXTBOOK = {
    environment.__name__: environment
    for environment in (sutton_barto.CliffWalking, sutton_barto.MaximizationBias)
}


def _make_textbook(name: str, **arguments: Any) -> tuple[Any, Any]:
    env = TEXTBOOK[name](**arguments)
    return env, env.default_params


def _cannot_stick(env: Any, probability: float) -> Any:
    raise ValueError(f"sticky_actions are not for the textbook's {env.name}")


class GymnaxEnv(NamedTuple):
    """An environment of gymnax's."""

    env: Any
    params: Any
    changed: bool  # whether anything differs from the registered environment
    parameters: dict[str, float]  # what was set, and a program may take as input


def build(
    name: str,
    args: tuple[str, ...] = (),
    *,
    time_limit: int | None = None,
    sticky_actions: float = 0.0,
    full_action_set: bool = False,
) -> GymnaxEnv:
    """Construct a registered gymnax environment; arguments as in `make`."""
    values = _parse_args(args)
    if name in TEXTBOOK:
        make, wrapper = _make_textbook, _cannot_stick
    else:
        gymnax = _import_gymnax()
        make, wrapper = gymnax.make, gymnax.wrappers.StickyActionWrapper
    if name not in TEXTBOOK and name not in gymnax.registered_envs:
        names = [*gymnax.registered_envs, *TEXTBOOK]
        known = ", ".join(sorted(names))
        raise ConfigError(
            f"environment = {name!r} is unknown.{did_you_mean(name, names)} "
            f"Known: {known}."
        )
    if name in gymnax_facts.DOWNLOADS:
        raise ConfigError(
            f"environment = {name!r} fetches its data set from the network when it is "
            "built, which jaxq does not do. Build it yourself and pass the object."
        )
    if full_action_set:
        if not name.endswith("-MinAtar"):
            raise ConfigError(f"full_action_set: {name} is not a MinAtar environment.")
        values["use_minimal_action_set"] = False
    standard, params = make(name)
    fields = {field.name for field in dataclasses.fields(params)}
    changes = {key: values.pop(key) for key in list(values) if key in fields}
    defaults = {key: getattr(params, key) for key in changes}
    for key, value in changes.items():
        default = defaults[key]
        if isinstance(value, bool) != isinstance(default, bool) or not isinstance(
            value, int | float
        ):
            raise ConfigError(
                f"environment_args: {key} = {value!r} of {name} must be of type "
                f"{type(default).__name__}; the default is {default!r}."
            )
    # gymnax and its environments refuse arguments with errors of many types.
    try:
        env, params = make(name, **values)
        params = params.replace(**changes)
        if time_limit is not None:
            params = params.replace(max_steps_in_episode=time_limit)
        if sticky_actions:
            env = wrapper(env, sticky_actions)
    except Exception as error:
        given = ", ".join(args) or "the options given"
        raise ConfigError(
            f"{name} refuses {given}: {error}. Its parameters are "
            f"{', '.join(sorted(fields))}; its constructor takes "
            f"{inspect.signature(type(standard))}."
        ) from error
    plain = inspect.signature(type(standard)).parameters
    changed = bool(
        time_limit
        or sticky_actions
        or any(changes[key] != defaults[key] for key in changes)
        or any(
            value != getattr(plain.get(key), "default", None)
            and (name, key) not in gymnax_facts.SAME_OPTIMUM
            for key, value in values.items()
        )
    )
    free = {
        key: float(value)
        for key, value in changes.items()
        if isinstance(defaults[key], float) and key != "max_steps_in_episode"
    }
    return GymnaxEnv(env, params, changed, free)


def make(
    name: str,
    args: tuple[str, ...] = (),
    *,
    time_limit: int | None = None,
    timeout_is_terminal: bool = False,
    sticky_actions: float = 0.0,
    full_action_set: bool = False,
) -> Environment:
    """Build and adapt a registered gymnax environment.

    Args:
        name: one of `gymnax.registered_envs`.
        args: name=value words: constructor arguments or parameters.
        time_limit: steps after which an episode is truncated; None keeps the default.
        timeout_is_terminal: report a truncation as a termination.
        sticky_actions: probability of repeating the previous action.
        full_action_set: MinAtar with all six actions.

    Raises:
        ConfigError: for an unknown name or argument, a continuous action space, an
            environment that must fetch data, or an installation that is broken.
    """
    built = build(
        name,
        args,
        time_limit=time_limit,
        sticky_actions=sticky_actions,
        full_action_set=full_action_set,
    )
    return adapt(
        built.env,
        built.params,
        name,
        built.changed,
        timeout_is_terminal,
        parameters=built.parameters,
    )


def from_config(config: Config) -> Environment:
    """The environment a configuration names; the same object for the same fields.

    The compiled functions are kept for as long as the object is the same.
    """
    return _cached_make(
        config.environment,
        config.environment_args,
        time_limit=config.time_limit,
        timeout_is_terminal=config.timeout_is_terminal,
        sticky_actions=config.sticky_actions,
        full_action_set=config.full_action_set,
    )


_cached_make = functools.lru_cache(maxsize=64)(make)


class _Later(types.ModuleType):
    """Stands for a module, which is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _unused(names: Iterable[str]) -> Iterator[None]:
    """Let modules that are imported meanwhile import these only when they use them."""
    stand_ins = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def _import_gymnax() -> Any:
    try:
        # They draw environments, and take as long to import as all the rest: 1.5 s.
        with _unused(("matplotlib.pyplot", "seaborn")):
            import gymnax
            import gymnax.wrappers
    except ImportError as error:
        raise ConfigError(
            f"gymnax cannot be imported ({error}). {REINSTALL}"
        ) from error
    if not hasattr(gymnax, "registered_envs") or not hasattr(
        gymnax.wrappers, "StickyActionWrapper"
    ):
        raise ConfigError(f"the gymnax that is installed is not gymnax 1. {REINSTALL}")
    return gymnax


def _parse_args(args: tuple[str, ...]) -> dict[str, Any]:
    """name=value words as a dictionary; values are JSON, or else text."""
    values: dict[str, Any] = {}
    for word in args:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(
                f"environment_args = {word!r} is not of the form name=value."
            )
        if key in values:
            raise ConfigError(f"environment_args: {key} is given twice.")
        plain = text.lower() if text.lower() in ("true", "false") else text
        plain = "null" if text.lower() == "none" else plain
        try:
            values[key] = json.loads(plain)
        except json.JSONDecodeError:
            values[key] = text
    return values
