"""The adapter between gymnax's environments and the training loop."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config.config import ConfigError
from jaxq.envs import gymnax_facts
from jaxq.types import Array, EnvSpec, Key, PyTree, Step, is_key
from jaxq.xla import prng


class EnvState(NamedTuple):
    """State of one environment."""

    inner: PyTree  # the environment's own
    observation: Array  # [...] what the next action is chosen on


class Environment(NamedTuple):
    """An environment as two pure functions, for one environment.

    reset: (key) -> EnvState
    step: (key, EnvState, action[]) -> (EnvState, Step); resets by itself after an end
    bind: (parameters: name -> []) -> the same environment with these parameters, which
        a compiled program may take as inputs
    """

    spec: EnvSpec
    reset: Callable[[Key], EnvState]
    step: Callable[[Key, EnvState, Array], tuple[EnvState, Step]]
    time_limit: float = math.inf  # steps
    optimal_return: float = math.nan
    parameters: tuple[tuple[str, float], ...] = ()  # those that were set, by name
    bind: Callable[[Mapping[str, Array]], "Environment"] | None = None


def adapt(
    env: Any,
    params: Any = None,
    name: str = "",
    changed: bool = False,
    timeout_is_terminal: bool = False,
    table: gymnax_facts.TableIndex | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Environment:
    """Adapt any object with gymnax's interface.

    Args:
        env: has `reset(key, params)`, a `step(key, state, action, params)` of six
            values, `action_space(params)` and `default_params`; its
            `observation_space(params)` is asked for the range of scalar integers, and
            its `action_mask(observation)`, if any, for the actions that exist.
        params: its parameters; None takes the default.
        name: shown to people; None takes the object's own.
        changed: whether arguments differ from the registered environment's.
        timeout_is_terminal: report a truncation as a termination.
        table: numbering of its states, for a table of values.
        parameters: those of `params` that a compiled program may take as inputs.

    Raises:
        ConfigError: if the object does not keep to the interface.
    """
    if isinstance(env, type) or (params is None and not hasattr(env, "default_params")):
        raise ConfigError(
            f"environment = {env!r} must be an object with default_params. {_INTERFACE}"
        )
    params = env.default_params if params is None else params
    name = name or getattr(env, "name", type(env).__name__)
    num_actions = _num_actions(env, params, name)
    as_taken, reset_shape, step_shape = _played(env, params, name)
    observed = reset_shape[0]
    dtype = _observation_dtype(name, observed.dtype)
    categories = None
    if observed.shape == () and dtype == jnp.int32:
        space = getattr(env, "observation_space", lambda params: None)(params)
        categories = getattr(space, "n", None)
    table = table or gymnax_facts.table_index(name, env, params)
    if table is None and categories is not None:
        table = gymnax_facts.TableIndex(categories, lambda observation: observation)
    limit = float(getattr(params, "max_steps_in_episode", math.inf))
    optimum = gymnax_facts.optimal_return(name, changed)
    spec = EnvSpec(
        name=name,
        observation=jax.ShapeDtypeStruct(observed.shape, dtype),
        num_actions=num_actions,
        num_categories=categories,
        num_states=table.num_states if table else None,
        state_index=table.row if table else None,
        valid_actions=getattr(env, "action_mask", None),
    )

    def cast(observation: Array) -> Array:
        binary = jnp.issubdtype(dtype, jnp.bool_)
        return observation != 0 if binary else observation.astype(dtype)

    def cast_state(inner: PyTree) -> PyTree:
        # A fresh state may hold Python numbers where a stepped one holds arrays.
        def same(leaf: Any, like: Any) -> Array:
            if is_key(like):
                return leaf
            return jnp.asarray(leaf, like.dtype)

        return jax.tree.map(same, inner, step_shape[1])

    def build(params: Any) -> Environment:
        def reset(key: Key) -> EnvState:
            observation, inner = env.reset(as_taken(key), params)
            return EnvState(cast_state(inner), cast(observation))

        def step(key: Key, state: EnvState, action: Array) -> tuple[EnvState, Step]:
            observation, inner, reward, terminated, truncated, info = env.step(
                as_taken(key), state.inner, action, params
            )
            terminated, truncated = jnp.bool_(terminated), jnp.bool_(truncated)
            if timeout_is_terminal:
                terminated = terminated | truncated
            said = Step(
                observation=state.observation,
                action=action,
                reward=jnp.asarray(reward, jnp.float32),
                terminated=terminated,
                truncated=truncated & ~terminated,
                next_observation=cast(info["final_observation"]),
            )
            return EnvState(cast_state(inner), cast(observation)), said

        return Environment(spec, reset, step, limit, optimum)

    def bind(values: Mapping[str, Array]) -> Environment:
        return build(params.replace(**values))

    built = build(params)
    if not parameters or not _traceable(bind, parameters):
        return built
    return built._replace(parameters=tuple(parameters.items()), bind=bind)


def _traceable(
    bind: Callable[[Mapping[str, Array]], Environment], parameters: Mapping[str, float]
) -> bool:
    """Whether an environment takes its parameters as inputs of a program."""

    def play(key: Key, values: Mapping[str, Array]) -> Any:
        env = bind(values)
        return env.step(key, env.reset(key), jnp.int32(0))

    key = jax.eval_shape(lambda: prng.key(0))
    values = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in parameters}
    try:
        jax.eval_shape(play, key, values)
    except (jax.errors.ConcretizationTypeError, TypeError, ValueError):
        return False
    return True


REINSTALL = (
    "jaxq needs gymnax 1.0.1 or newer. Other packages can overwrite its files while "
    "its metadata stays (stable-gymnax, which popgym-arcade installs, does). Repair it "
    "with `pip install --force-reinstall --no-deps 'gymnax>=1.0.1,<2'` in an "
    "environment without them."
)

_INTERFACE = (
    "It must follow gymnax 1: reset returns (observation, state); step returns "
    "(observation, state, reward, terminated, truncated, info), with the observation "
    "before any reset as info['final_observation']."
)


def _num_actions(env: Any, params: Any, name: str) -> int:
    space = env.action_space(params)
    if not hasattr(space, "n"):
        raise ConfigError(
            f"environment = {name!r} has the action space {space}, which is not a "
            "finite set of actions; value-based agents take the maximum over actions. "
            "Choose one with discrete actions, such as CartPole-v1 or Breakout-MinAtar."
        )
    return int(space.n)


def _observation_dtype(name: str, dtype: Any) -> Any:
    """Narrowest type that holds every observation exactly."""
    if name in gymnax_facts.BINARY or jnp.issubdtype(dtype, jnp.bool_):
        return jnp.dtype(bool)
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.dtype(dtype if dtype == jnp.uint8 else jnp.int32)
    return jnp.dtype(jnp.float32)


def _as_it_is(key: Key) -> Key:
    return key


def _as_jaxs_own(key: Key) -> Key:
    """The key of jax's own type that gives the same bits."""
    return jax.random.wrap_key_data(jax.random.key_data(key), impl="threefry2x32")


def _as_words(key: Key) -> Array:
    """The key as `jax.random.PRNGKey` gives it, [2] uint32."""
    return jax.random.key_data(key)


def _played(env: Any, params: Any, name: str) -> tuple[Callable[[Key], Any], Any, Any]:
    """What an environment takes for a key, and the shapes of its reset and step.

    jax.random.poisson draws from jax's own keys only, and an environment may keep such
    keys, or words, beside those it is given.
    """
    first: Exception | None = None
    for as_taken in (_as_it_is, _as_jaxs_own, _as_words):
        try:
            return as_taken, *_check_contract(env, params, name, as_taken)
        except ConfigError:
            raise
        except (NotImplementedError, TypeError, ValueError) as error:
            first = first or error
    assert first is not None
    raise first


def _check_contract(
    env: Any, params: Any, name: str, as_taken: Callable[[Key], Any]
) -> tuple[Any, Any]:
    """Shapes of reset and step, after an abstract run that compiles nothing."""

    def fail(what: str) -> ConfigError:
        cure = REINSTALL if type(env).__module__.startswith("gymnax") else _INTERFACE
        return ConfigError(f"environment = {name!r} {what}. {cure}")

    key = jax.eval_shape(lambda: as_taken(prng.key(0)))
    reset = jax.eval_shape(env.reset, key, params)
    if len(reset) != 2:
        raise fail(f"returns {len(reset)} values from reset instead of 2")
    action = jax.ShapeDtypeStruct((), jnp.int32)
    step = jax.eval_shape(env.step, key, reset[1], action, params)
    if len(step) != 6:
        raise fail(f"returns {len(step)} values from step instead of 6")
    before, after = (jax.tree.leaves(state) for state in (reset[1], step[1]))
    for old, new in zip(before, after, strict=False):
        if is_key(new) and old.dtype != new.dtype:
            raise TypeError(f"its state holds {old.dtype}, then {new.dtype}")
    observation, _, reward, terminated, truncated, info = step
    if "final_observation" not in info:
        raise fail("gives no final_observation in the info of its step")
    if len(jax.tree.leaves(reset[0])) != 1 or not hasattr(reset[0], "shape"):
        raise fail("observes a structure of arrays; jaxq needs a single array")
    scalars = {"reward": reward, "terminated": terminated, "truncated": truncated}
    for what, leaf in scalars.items():
        if leaf.shape != ():
            raise fail(f"returns {what} of shape {leaf.shape} instead of a scalar")
    for leaf in (observation, info["final_observation"]):
        if leaf.shape != reset[0].shape:
            raise fail(
                f"observes {reset[0].shape} at reset but {leaf.shape} after a step"
            )
    return reset, step
