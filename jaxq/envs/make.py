"""Environments by name, adapted: gymnax's, the textbook's and those of other suites."""

import functools

from jaxq.config import suites, user_code
from jaxq.config.config import Config
from jaxq.envs import adapter, frame_stack, gymnax_env, suite_env, user_env


def make(
    name: str,
    args: tuple[str, ...] = (),
    *,
    time_limit: int | None = None,
    timeout_is_terminal: bool = False,
    sticky_actions: float = 0.0,
    full_action_set: bool = False,
) -> adapter.Environment:
    """Build and adapt an environment, by name.

    Args:
        name: one of `gymnax.registered_envs` or `gymnax_env.TEXTBOOK`; suite::id, with
            a suite of `jaxq.config.suites`; or the module:attribute of an object, a
            class or a function; see `user_env.build`.
        args: name=value strings: constructor arguments or parameters.
        time_limit: steps after which an episode is truncated; None keeps the default.
        timeout_is_terminal: report a truncation as a termination.
        sticky_actions: probability of repeating the previous action.
        full_action_set: use all six actions of a MinAtar game, not the minimal set.
            This and sticky actions are for gymnax's environments.

    Raises:
        ConfigError: for an unknown name or argument, a continuous action space, an
            environment that must download data, a broken installation of gymnax, or a
            suite that is not installed.
    """
    if suites.SEPARATOR in name:
        suites.check_options(name, sticky_actions, full_action_set)
        env = suite_env.build(name, args, time_limit=time_limit)
        if isinstance(env, adapter.Environment):
            return adapter.end_at_timeouts(env) if timeout_is_terminal else env
        return adapter.adapt(env, name=name, timeout_is_terminal=timeout_is_terminal)
    build = user_env.build if user_code.is_code(name) else gymnax_env.build
    base = build(
        name,
        args,
        time_limit=time_limit,
        sticky_actions=sticky_actions,
        full_action_set=full_action_set,
    )
    return adapter.adapt(
        base.env,
        base.params,
        name,
        base.changed,
        timeout_is_terminal,
        parameters=base.parameters,
    )


_cached_make = functools.lru_cache(maxsize=64)(make)


def from_config(config: Config) -> adapter.Environment:
    """The environment that a configuration names, with its frames stacked.

    The same fields return the same object, so that compiled programs, which are cached
    by environment, are reused.
    """
    environment = _cached_make(
        config.environment,
        config.environment_args,
        time_limit=config.time_limit,
        timeout_is_terminal=config.timeout_is_terminal,
        sticky_actions=config.sticky_actions,
        full_action_set=config.full_action_set,
    )
    return with_frame_stack(config, environment)


def with_frame_stack(
    config: Config, environment: adapter.Environment
) -> adapter.Environment:
    """The environment, with as many frames stacked as a configuration says."""
    return _stacked(environment, config.frame_stack, config.episodic_life)


# The same environment gives the same object, so that compiled programs are reused.
_stacked = functools.lru_cache(maxsize=64)(frame_stack.stack_frames)
