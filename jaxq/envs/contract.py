"""The interface that an environment must have, checked by tracing it abstractly."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config.fields import ConfigError
from jaxq.types import Array, Key, PyTree, is_key
from jaxq.xla import prng

REINSTALL = (
    "jaxq needs gymnax 1.0.1 or newer. Other packages can overwrite its files and "
    "leave its metadata in place (stable-gymnax, which popgym-arcade installs, does). "
    "Repair it with `pip install --force-reinstall --no-deps 'gymnax>=1.0.1,<2'` in an "
    "environment without them."
)
INTERFACE = (
    "It must follow gymnax 1: reset returns (observation, state); step returns "
    "(observation, state, reward, terminated, truncated, info), with the observation "
    "before any reset as info['final_observation']."
)


class Contract(NamedTuple):
    """The key format that an environment accepts, and the types that it returns."""

    convert_key: Callable[[Key], Any]  # jaxq's key -> the environment's
    observation: jax.ShapeDtypeStruct
    state: PyTree  # of ShapeDtypeStruct, as `step` returns it


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
    key = jax.eval_shape(lambda: convert_key(prng.key(0)))
    reset = jax.eval_shape(env.reset, key, params)
    if len(reset) != 2:
        problem = f"returns {len(reset)} values from reset instead of 2"
        raise _violation(env, name, problem)
    observation, state = reset
    action = jax.ShapeDtypeStruct((), jnp.int32)
    step = jax.eval_shape(env.step, key, state, action, params)
    if len(step) != 6:
        problem = f"returns {len(step)} values from step instead of 6"
        raise _violation(env, name, problem)
    _check_state_keys(state, step[1])
    violation = _step_problem(observation, step) or _flag_problem(step)
    if violation:
        raise _violation(env, name, violation)
    return Contract(convert_key, _common_type(observation, step), step[1])


def _common_type(observation: Any, step: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """A type that holds the observations of reset and of step."""
    dtype = observation.dtype
    for other in (step[0], step[5]["final_observation"]):
        dtype = jnp.promote_types(dtype, other.dtype)
    return jax.ShapeDtypeStruct(observation.shape, dtype)


def _flag_problem(step: tuple[Any, ...]) -> str | None:
    """Whether an end of an episode is a real number, such as a probability."""
    for name, flag in (("terminated", step[3]), ("truncated", step[4])):
        if jnp.issubdtype(flag.dtype, jnp.floating):
            return (
                f"returns {name} of type {flag.dtype} instead of bool; compare it, as "
                f"in {name} > 0.5"
            )
    return None


def _violation(env: Any, name: str, problem: str) -> ConfigError:
    from_gymnax = type(env).__module__.startswith("gymnax")
    remedy = REINSTALL if from_gymnax else INTERFACE
    return ConfigError(f"environment = {name!r} {problem}. {remedy}")


def _check_state_keys(before: PyTree, after: PyTree) -> None:
    """Raise if a step would change the type of a key in the state."""
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=False)
    for old, new in leaves:
        if is_key(new) and old.dtype != new.dtype:
            raise TypeError(
                f"a key in the state is {old.dtype} after reset but {new.dtype} "
                "after step"
            )


def _step_problem(first_observation: Any, step: tuple[Any, ...]) -> str | None:
    """The first violation in the types that step returns, if any."""
    observation, _, reward, terminated, truncated, info = step
    if "final_observation" not in info:
        return "returns no final_observation in the info of step"
    is_array = hasattr(first_observation, "shape")
    if not is_array or len(jax.tree.leaves(first_observation)) != 1:
        return "has a pytree of arrays as its observation; jaxq needs a single array"
    scalars = {"reward": reward, "terminated": terminated, "truncated": truncated}
    for name, leaf in scalars.items():
        if leaf.shape != ():
            return f"returns {name} of shape {leaf.shape} instead of a scalar"
    for leaf in (observation, info["final_observation"]):
        if leaf.shape != first_observation.shape:
            return (
                f"returns observations of shape {first_observation.shape} from reset "
                f"but {leaf.shape} from step"
            )
    return None
