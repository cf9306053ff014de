"""Checks of a run's configuration and environment, before anything compiles."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.agents import algorithms, field_effects
from jaxq.config import user_code, validate
from jaxq.config.config import ENVIRONMENT_OPTIONS, Config, given
from jaxq.config.estimates import HISTOGRAMS
from jaxq.config.fields import ConfigError, check_name
from jaxq.envs import make
from jaxq.envs.adapter import Environment, end_at_timeouts
from jaxq.training import datasets, pytree_arrays
from jaxq.types import Agent, EnvSpec, Key, PyTree
from jaxq.xla import prng


def check(
    config: Config, environment: Environment | None = None, with_data: bool = True
) -> Environment:
    """Check that a configuration can run; see also `validate.validate`.

    Args:
        config: of the run.
        environment: replaces the one that `config` names.
        with_data: whether to read the dataset and check it too.

    Returns:
        The environment, with `timeout_is_terminal` applied.

    Raises:
        ConfigError: for the first error found.
    """
    if isinstance(config.algorithm, str) and not user_code.is_code(config.algorithm):
        check_name("algorithm", config.algorithm, algorithms.ALGORITHMS)
    validate.validate(config)
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ConfigError(
            "JAX_ENABLE_X64 is set, but jaxq computes in 32 bits. Unset it, or remove "
            "the update of jax_enable_x64."
        )
    if environment is not None:
        check_environment(config, environment)
        if config.timeout_is_terminal:
            environment = _end_at_timeouts(environment)
        environment = make.with_frame_stack(config, environment)
    env = environment or make.from_config(config)
    check_lives(config, env.spec)
    check_team(config, env.spec)
    validate.check_time_limit(config, env.time_limit)
    check_agent(config, env.spec)
    if with_data:
        datasets.check(config, env.spec)
    return env


# The same environment gives the same object, so that compiled programs are reused.
_end_at_timeouts = functools.lru_cache(maxsize=64)(end_at_timeouts)


def settings_for_object(config: Config) -> Config:
    """The configuration of a run on an environment that is passed as an object.

    The table has no settings for it: fields that are not given are plain, unless the
    configuration names an environment whose settings to take.
    """
    if {"environment", "defaults"} & given(config):
        return config
    return dataclasses.replace(config, defaults="plain")


def check_environment(config: Config, environment: Environment) -> None:
    """Check an environment that is passed as an object."""
    if not isinstance(environment, Environment):
        raise ConfigError(
            f"environment = {environment!r} is not a jaxq environment. Pass "
            "jaxq.adapt(environment), or name one in config.environment."
        )
    for name in ENVIRONMENT_OPTIONS:
        if getattr(config, name) != getattr(Config(), name):
            raise ConfigError(
                f"{name} = {getattr(config, name)!r} has no effect on an environment "
                "that is passed as an object. Build the environment with it, and leave "
                "the field at its default."
            )
    if config.head in HISTOGRAMS and not {"v_min", "v_max"} <= given(config):
        raise ConfigError(
            f"head = {config.head!r} needs v_min and v_max, the smallest and largest "
            "discounted return of the environment that is passed as an object. Give "
            "both to Config."
        )


def check_lives(config: Config, spec: EnvSpec) -> None:
    """Check that the environment reports the loss of a life, if that is learned."""
    if config.episodic_life and not spec.reports_lives:
        raise ConfigError(
            f"episodic_life = True: {spec.name} does not report lives. Leave it out, "
            "or let the environment return info['life_lost'], or keep their number as "
            "`lives` in its state."
        )


def check_team(config: Config, spec: EnvSpec) -> None:
    """Check that the number of agents divides num_envs and eval_episodes."""
    size, summed = spec.num_agents, config.value_decomposition != "none"
    if size == 1:
        return
    for name in ("num_envs", "eval_episodes"):
        value = getattr(config, name)
        if value % size:
            raise ConfigError(
                f"{name} = {value} must be a multiple of {size}, the number of agents "
                f"of {spec.name}: it counts one environment for each of them. Set it "
                f"to {-(-value // size) * size}."
            )
    if config.diagnostics:
        raise ConfigError(
            f"diagnostics = True: {spec.name} has {size} agents, and diagnostics "
            "describe a single one. Leave it out."
        )
    rows = config.num_envs // (size if summed else 1)
    examples = rows * (1 if config.recurrent != "none" else config.rollout_length)
    if summed and examples % config.num_minibatches:
        raise ConfigError(
            f"num_minibatches = {config.num_minibatches} must divide {examples}, the "
            f"examples per rollout of teams of {size} agents. Set num_envs to a "
            f"multiple of {size * config.num_minibatches}."
        )


def check_agent(config: Config, spec: EnvSpec) -> None:
    """Trace the agent from shapes alone, and check its parameters and fields."""
    try:
        agent = algorithms.make(config, spec)
        if not isinstance(agent, Agent):
            raise ConfigError(
                f"algorithm = {config.algorithm!r} must return an Agent, such as "
                f"replay_agent.replay_agent(...), but it returned {agent!r}."
            )
        state = state_shape(agent, spec)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _check_dtypes(config, state.learner.params)
    _check_hyperparameters(config, spec)
    field_effects.check_honoured(config, spec)


def _check_hyperparameters(config: Config, spec: EnvSpec) -> None:
    """Check that an algorithm of a user's own can be traced in its hyper-parameters."""
    own = algorithms.compiled(config)
    if not own.traced:
        return

    def cycle(key: Key, own: algorithms.Hyperparameters) -> PyTree:
        traced: dict[str, Any] = {"algorithm_args": own}
        recording = dataclasses.replace(config, **traced)
        return field_effects.cycle(key, config, recording, spec)

    key = jax.eval_shape(lambda: prng.key(0))
    try:
        jax.eval_shape(cycle, key, own)
    except _NEEDS_VALUE as error:
        names = ", ".join(own.traced)
        raise ConfigError(
            f"algorithm = {config.algorithm!r} needs the value of a hyper-parameter at "
            f"compile time, but floats ({names}) are traced. Compute with jnp, as in "
            "jnp.where(beta > 0.5, x, y), or declare its values as a Literal."
        ) from error


_NEEDS_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def state_shape(agent: Agent, spec: EnvSpec) -> PyTree:
    """Shapes and dtypes of an agent's state."""
    key = jax.eval_shape(lambda: prng.key(0))
    return jax.eval_shape(agent.init, key, spec.example())


def _check_dtypes(config: Config, params: PyTree) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if leaf.dtype != jnp.float32:
            raise ConfigError(
                f"algorithm = {config.algorithm!r} has the parameter "
                f"{pytree_arrays.path_name(path)} of dtype {leaf.dtype}, but the small "
                "steps of an optimizer need float32. Create it with "
                "param_dtype=jnp.float32; layers may still compute in bfloat16 "
                "(dtype=jnp.bfloat16)."
            )
