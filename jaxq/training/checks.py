"""Everything that is refused before anything is compiled."""

import jax
import jax.numpy as jnp

from jaxq.agents import algorithms
from jaxq.config import validate
from jaxq.config.config import (
    ENVIRONMENT_OPTIONS,
    Config,
    ConfigError,
)
from jaxq.config.fields import check_name
from jaxq.envs import make
from jaxq.envs.adapter import Environment
from jaxq.training.pytree_arrays import name_of
from jaxq.types import EnvSpec
from jaxq.xla import prng


def check(config: Config, environment: Environment | None = None) -> Environment:
    """Refuse what cannot run, before anything is compiled; see `validation.validate`.

    Returns:
        The environment.
    """
    validate.validate(config)
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ConfigError(
            "JAX_ENABLE_X64 is set, but jaxq computes in 32 bits. Unset it, or do not "
            "update jax_enable_x64."
        )
    check_name("algorithm", config.algorithm, algorithms.ALGORITHMS)
    if environment is not None:
        if not isinstance(environment, Environment):
            raise ConfigError(
                f"environment = {environment!r} is not adapted: pass "
                "environments.adapt(it), or name one in config.environment."
            )
        for name in ENVIRONMENT_OPTIONS:
            if getattr(config, name) != getattr(Config(), name):
                raise ConfigError(
                    f"{name} = {getattr(config, name)!r} has no effect on an "
                    "environment that is passed as an object. Build it that way, and "
                    "leave the field."
                )
    env = environment or make.from_config(config)
    if not config.timeout_is_terminal:
        validate.check_time_limit(env.time_limit)
    check_agent(config, env.spec)
    return env


def check_agent(config: Config, spec: EnvSpec) -> None:
    """Trace the agent's functions on shapes alone."""
    try:
        agent = algorithms.make(config, spec)
        key = jax.eval_shape(lambda: prng.key(0))
        state = jax.eval_shape(agent.init, key, spec.example())
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.learner.params):
        if leaf.dtype != jnp.float32:
            raise ConfigError(
                f"algorithm = {config.algorithm!r} has the parameter {name_of(path)} "
                f"of dtype {leaf.dtype}; an optimizer's small steps need float32. Make "
                "it with param_dtype=jnp.float32; dtype=jnp.bfloat16 may stay, which "
                "only the layers compute in."
            )
