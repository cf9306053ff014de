"""Construction of environments of other suites, named `suite::id`."""

import importlib
from typing import Any

from jaxq.config import suites
from jaxq.config.fields import ConfigError, close_matches
from jaxq.envs import adapter, argument_checks, auto_reset

SHOWN = 12  # ids in an error message


def build(
    environment: str, args: tuple[str, ...] = (), *, time_limit: int | None = None
) -> auto_reset.AutoReset | adapter.Environment:
    """Construct an environment with gymnax's interface, or a team of several agents.

    Args:
        environment: suite::id.
        args: name=value strings; every suite with masks takes `mask=false`, which
            gives observations without the mask of valid actions.
        time_limit: steps after which an episode is truncated; None keeps the default.

    Raises:
        ConfigError: for an unknown suite, id or argument, or a suite that is not
            installed.
    """
    suites.check(environment)
    suite, name = suites.split(environment)
    arguments = argument_checks.parse(args)
    masked = arguments.pop("mask", None)
    if masked is not None and not isinstance(masked, bool):
        raise ConfigError(f"environment_args: mask = {masked!r} must be true or false.")
    try:
        module: Any = importlib.import_module(f"jaxq.envs.suites.{suite}")
    except ImportError as error:
        raise ConfigError(
            f"environment = {environment!r}: {suite} cannot be imported ({error}). "
            f"Reinstall it with `pip install --upgrade 'jaxq[{suite}]'`."
        ) from error
    _check_id(environment, name, module.names())
    # The suites reject arguments with many types of exceptions.
    try:
        if hasattr(module, "make_team"):
            return module.make_team(environment, name, arguments, time_limit, masked)
        rules = module.make(name, arguments, time_limit)
    except ConfigError:
        raise
    except Exception as error:
        options = [*args, *([f"time_limit = {time_limit}"] if time_limit else [])]
        raise ConfigError(
            f"{environment} rejects {', '.join(options) or 'its defaults'}: {error}."
        ) from error
    return auto_reset.AutoReset(_with_mask(environment, rules, masked), environment)


def _check_id(environment: str, name: str, names: list[str]) -> None:
    """Raise for an unknown id, with those that are similar."""
    if name in names:
        return
    similar = close_matches(name, names)
    hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    raise ConfigError(
        f"environment = {environment!r}: {name!r} is unknown.{hint} Known: "
        f"{', '.join(sorted(names)[:SHOWN])}{more}."
    )


def _with_mask(
    environment: str, rules: auto_reset.Rules, masked: bool | None
) -> auto_reset.Rules:
    """Rules with their mask, or without it if it is not wanted."""
    if masked is None:
        return rules
    if rules.mask is None:
        raise ConfigError(
            f"environment_args: mask = {masked}: {environment} has no mask of valid "
            "actions. Leave the argument out."
        )
    return rules if masked else rules._replace(mask=None)
