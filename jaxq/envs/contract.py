"""The interface that an environment must have, checked by tracing it abstractly."""

import dataclasses
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config.fields import ConfigError
from jaxq.envs import lives, violations
from jaxq.types import Array, Key, PyTree, is_key
from jaxq.xla import prng

REINSTALL = (
    "jaxq needs gymnax 1.0.1 or newer. Other packages can overwrite its files and "
    "leave its metadata in place (stable-gymnax, which popgym-arcade installs, does). "
    "Repair it with `pip install --force-reinstall --no-deps 'gymnax>=1.0.1,<2'` in an "
    "environment without them."
)
INTERFACE = (
    "It must follow gymnax 1: reset(key, params) returns (observation, state); "
    "step(key, state, action, params) returns (observation, state, reward, terminated, "
    "truncated, info), with the observation before any reset as "
    "info['final_observation']; action_space(params).n is the number of actions."
)
STEP = ("observation", "state", "reward", "terminated", "truncated", "info")


def parameters(env: Any, params: Any) -> Any:
    """The given parameters, or those of the environment.

    Raises:
        ConfigError: if it has none, or is not an object.
    """
    if isinstance(env, type):
        raise ConfigError(
            f"environment = {env.__name__} is a class; pass an object, as in "
            f"{env.__name__}()."
        )
    if isinstance(env, str):
        raise ConfigError(
            f"environment = {env!r} is a name: pass Config(environment={env!r})."
        )
    if params is None and not hasattr(env, "default_params"):
        raise ConfigError(
            f"environment = {type(env).__name__} must have default_params, unless "
            f"adapt is called with params. {INTERFACE}"
        )
    return env.default_params if params is None else params


def replace(params: Any, values: Mapping[str, Any]) -> Any:
    """Parameters with other values; they are a dataclass or a NamedTuple."""
    if hasattr(params, "_replace"):
        return params._replace(**values)
    return dataclasses.replace(params, **values) if values else params


def num_actions(env: Any, params: Any, name: str) -> int:
    """The number of actions.

    Raises:
        ConfigError: if they are not a finite set.
    """
    space = env.action_space(params)
    if not hasattr(space, "n"):
        raise ConfigError(
            f"environment = {name!r} has the action space {space}, which is not a "
            "finite set of actions; value-based agents take the maximum over actions. "
            "Choose one with discrete actions, such as CartPole-v1 or Breakout-MinAtar."
        )
    try:
        count = operator.index(space.n)
    except TypeError:
        count = 0
    if count < 1:
        raise ConfigError(
            f"environment = {name!r} has {space.n!r} actions; it must have a positive "
            "integer number of them."
        )
    return count


def check_methods(env: Any, params: Any, name: str) -> None:
    """Check that an environment has the methods of the interface.

    Raises:
        ConfigError: if one is missing, or takes other arguments.
    """
    problem = violations.missing_method(env, params)
    if problem:
        raise ConfigError(f"environment = {name!r} {problem}. {INTERFACE}")


class Contract(NamedTuple):
    """The key format that an environment accepts, and the types that it returns."""

    convert_key: Callable[[Key], Any]  # jaxq's key -> the environment's
    observation: PyTree  # of ShapeDtypeStruct
    state: PyTree  # of ShapeDtypeStruct, as `step` returns it
    life_lost: lives.Reader | None = None


def probe_contract(env: Any, params: Any, name: str) -> Contract:
    """Find the key format that an environment accepts and the types that it returns.

    jaxq's keys have their own PRNG implementation (`xla/prng.py`). It gives the bits of
    jax's threefry2x32, but jax treats its keys as a different type, which some
    environments cannot use: `jax.random.poisson` accepts only jax's own keys, and an
    environment whose state mixes keys that it receives with keys that it creates needs
    both to be of one type, either jax's typed keys or the [2] uint32 words of
    `jax.random.PRNGKey`. So the three formats are tried in this order, and the first
    with which reset and step can be traced is used. The random numbers are the same in
    all three. Nothing is compiled.

    Args:
        env: has gymnax's `reset` and `step`.
        params: its parameters.
        name: shown in error messages.

    Raises:
        ConfigError: if the environment does not follow gymnax's interface.
        Exception: the one raised with jaxq's keys, if no format can be traced.
    """
    first_error: Exception | None = None
    for convert_key in (_jaxq_key, _jax_key, _key_words):
        try:
            return _trace(env, params, name, convert_key)
        except ConfigError:
            raise
        except (NotImplementedError, TypeError, ValueError) as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _jaxq_key(key: Key) -> Key:
    return key


def _jax_key(key: Key) -> Key:
    return jax.random.wrap_key_data(jax.random.key_data(key), impl="threefry2x32")


def _key_words(key: Key) -> Array:
    return jax.random.key_data(key)


def _trace(
    env: Any, params: Any, name: str, convert_key: Callable[[Key], Any]
) -> Contract:
    """Trace one reset and one step with a key format, and check what they return."""

    def reset(key: Any) -> tuple[Any, PyTree]:
        values = env.reset(key, params)
        _require(env, name, violations.output_problem("reset", values, 2))
        for part, value in zip(("observation", "state"), values, strict=True):
            _require(env, name, violations.leaf_problem("reset", part, value))
        return tuple(values)

    def step(key: Any, state: PyTree, action: Array) -> tuple[Any, ...]:
        values = env.step(key, state, action, params)
        _require(env, name, violations.output_problem("step", values, 6))
        _require(env, name, violations.info_problem(values[5]))
        read = ("final_observation", "life_lost")
        info = {name: values[5][name] for name in read if name in values[5]}
        values = (*values[:5], info)
        for part, value in zip(STEP, values, strict=True):
            _require(env, name, violations.leaf_problem("step", part, value))
        return values

    key = jax.eval_shape(lambda: convert_key(prng.key(0)))
    observation, state = jax.eval_shape(reset, key)
    _require(env, name, violations.observation_problem(observation))
    action = jax.ShapeDtypeStruct((), jnp.int32)
    outputs = jax.eval_shape(step, key, state, action)
    _require(env, name, violations.state_problem(state, outputs[1]))
    _check_state_keys(state, outputs[1])
    _require(env, name, _step_problem(observation, outputs))
    lost = lives.reader(outputs[1], outputs[5])
    return Contract(convert_key, _common_type(observation, outputs), outputs[1], lost)


def _common_type(observation: Any, step: tuple[Any, ...]) -> PyTree:
    """A type that holds the observations of reset and of step."""

    def common(leaf: Any, *others: Any) -> jax.ShapeDtypeStruct:
        dtype = leaf.dtype
        for other in others:
            dtype = jnp.promote_types(dtype, other.dtype)
        return jax.ShapeDtypeStruct(leaf.shape, dtype)

    return jax.tree.map(common, observation, step[0], step[5]["final_observation"])


def _require(env: Any, name: str, problem: str | None) -> None:
    if problem:
        raise _violation(env, name, problem)


def _violation(env: Any, name: str, problem: str) -> ConfigError:
    from_gymnax = type(env).__module__.startswith("gymnax")
    remedy = REINSTALL if from_gymnax else INTERFACE
    if "returns 5 values from step" in problem:
        remedy += violations.ONE_DONE
    return ConfigError(f"environment = {name!r} {problem}. {remedy}")


def _check_state_keys(before: PyTree, after: PyTree) -> None:
    """Raise if a step would change the type of a key in the state."""
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    for old, new in leaves:
        if (is_key(old) or is_key(new)) and old.dtype != new.dtype:
            raise TypeError(
                f"a key in the state is {old.dtype} after reset but {new.dtype} "
                "after step"
            )


def _step_problem(first_observation: Any, step: tuple[Any, ...]) -> str | None:
    """The first violation in the types that step returns, if any."""
    observation, _, reward, terminated, truncated, info = step
    scalars = {"reward": reward, "terminated": terminated, "truncated": truncated}
    problem = violations.scalar_problem(scalars)
    if problem:
        return problem
    for other in (observation, info["final_observation"]):
        expected, shapes = map(violations.shapes, (first_observation, other))
        if shapes != expected:
            return (
                f"returns observations of shape {expected} from reset but {shapes} "
                "from step"
            )
        problem = violations.observation_problem(other)
        if problem:
            return problem
    return None
