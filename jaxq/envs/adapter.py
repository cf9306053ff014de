"""The adapter between gymnax's environments and the training loop."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config.fields import ConfigError
from jaxq.envs import contract, gymnax_facts, observations
from jaxq.types import (
    Array,
    EnvSpec,
    Key,
    MaskedObservation,
    PyTree,
    Step,
    is_key,
    unmasked,
)
from jaxq.xla import prng


class EnvState(NamedTuple):
    """State of one environment."""

    inner: PyTree  # the environment's own state
    observation: PyTree  # [...] on which the next action depends


class Environment(NamedTuple):
    """An environment as two pure functions, unbatched.

    reset: (key) -> EnvState
    step: (key, EnvState, action[]) -> (EnvState, Step); resets itself after an episode
    bind: (parameters: name -> []) -> the same environment with these parameters, which
        may be traced

    With several agents (`spec.num_agents`), observations, actions and steps have a
    leading axis [N]; see `jaxq.envs.lanes`.
    """

    spec: EnvSpec
    reset: Callable[[Key], EnvState]
    step: Callable[[Key, EnvState, Array], tuple[EnvState, Step]]
    time_limit: float = math.inf  # steps
    optimal_return: float = math.nan
    parameters: tuple[tuple[str, float], ...] = ()  # name and value of each for `bind`
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
        env: has `reset(key, params)`, `step(key, state, action, params)`, which returns
            six values, `action_space(params)` and `default_params`. Optional are
            `observation_space(params)`, which gives the number of values of a scalar
            integer observation, and `action_mask(observation)`, which gives the valid
            actions. An observation may be any pytree of arrays; a record or dictionary
            may also hold the mask itself, as `action_mask`. The loss of a life is read
            from `info["life_lost"]`, or from the field `lives` of the state.
        params: the environment's parameters; None uses `env.default_params`.
        name: display name; if empty, the object's own.
        changed: whether the task differs from the registered environment of that name.
        timeout_is_terminal: report a truncation as a termination.
        table: numbering of the states, for tabular agents.
        parameters: values of those fields of `params` that may be traced.

    Raises:
        ConfigError: if the object does not follow the interface.
    """
    params = contract.parameters(env, params)
    name = name or getattr(env, "name", type(env).__name__)
    contract.check_methods(env, params, name)
    num_actions = contract.num_actions(env, params, name)
    types = contract.probe_contract(env, params, name)
    # A user's class may have the name of one of gymnax's, and another task.
    known = name if type(env).__module__.startswith("gymnax.") else ""
    table = table or gymnax_facts.table_index(known, env, params)
    observation = observations.narrow(types.observation, known in gymnax_facts.BINARY)
    spec = _spec(env, params, name, num_actions, observation, table)
    spec = spec._replace(reports_lives=types.life_lost is not None)
    observations.check_mask(spec)
    adapter = GymnaxAdapter(env, params, types, observation)
    environment = Environment(
        spec=spec,
        reset=adapter.reset,
        step=adapter.step,
        time_limit=float(getattr(params, "max_steps_in_episode", math.inf)),
        optimal_return=gymnax_facts.optimal_return(known, changed),
    )
    environment = _with_parameters(environment, adapter, parameters or {})
    return end_at_timeouts(environment) if timeout_is_terminal else environment


def end_at_timeouts(environment: Environment) -> Environment:
    """The environment with every truncation reported as a termination."""

    def step(key: Key, state: EnvState, action: Array) -> tuple[EnvState, Step]:
        state, step = environment.step(key, state, action)
        ended = step.terminated | step.truncated
        truncated = jnp.zeros_like(ended)
        return state, step._replace(terminated=ended, truncated=truncated)

    def bind(values: Mapping[str, Array]) -> Environment:
        assert environment.bind is not None
        return end_at_timeouts(environment.bind(values))

    return environment._replace(step=step, bind=bind if environment.bind else None)


class GymnaxAdapter(NamedTuple):
    """Reset and step of a gymnax environment with jaxq's keys, records and dtypes."""

    env: Any
    params: Any
    types: contract.Contract
    observation: PyTree  # of ShapeDtypeStruct

    def reset(self, key: Key) -> EnvState:
        """The start of an episode."""
        key = self.types.convert_key(key)
        observation, inner = self.env.reset(key, self.params)
        return EnvState(self._cast_state(inner), self._cast(observation))

    def step(self, key: Key, state: EnvState, action: Array) -> tuple[EnvState, Step]:
        """One step; at the end of an episode, the new state starts another."""
        observation, inner, reward, terminated, truncated, info = self.env.step(
            self.types.convert_key(key), state.inner, action, self.params
        )
        terminated, truncated = jnp.bool_(terminated), jnp.bool_(truncated)
        step = Step(
            observation=state.observation,
            action=action,
            reward=jnp.asarray(reward, jnp.float32),
            terminated=terminated,
            truncated=truncated & ~terminated,
            next_observation=self._cast(info["final_observation"]),
        )
        if self.types.life_lost is not None:
            lost = self.types.life_lost(state.inner, inner, info)
            step = step._replace(life_lost=lost & ~terminated & ~truncated)
        return EnvState(self._cast_state(inner), self._cast(observation)), step

    def _cast(self, observation: PyTree) -> PyTree:
        return observations.cast(observation, self.observation)

    def _cast_state(self, inner: PyTree) -> PyTree:
        """Cast a state, which may hold Python numbers, to the dtypes of a step's."""

        def cast(leaf: Any, like: Any) -> Array:
            return leaf if is_key(like) else jnp.asarray(leaf, like.dtype)

        return jax.tree.map(cast, inner, self.types.state)


def _spec(
    env: Any,
    params: Any,
    name: str,
    num_actions: int,
    observation: PyTree,
    table: gymnax_facts.TableIndex | None,
) -> EnvSpec:
    num_categories = None
    if unmasked(observation) == jax.ShapeDtypeStruct((), jnp.int32):
        num_categories = _num_categories(env, params)
    if table is None and num_categories is not None:
        table = gymnax_facts.TableIndex(num_categories, unmasked)
    return EnvSpec(
        name=name,
        observation=observation,
        num_actions=num_actions,
        num_categories=num_categories,
        num_states=table.num_states if table else None,
        state_index=table.row if table else None,
        valid_actions=_valid_actions(env, name, observation),
    )


def _valid_actions(
    env: Any, name: str, observation: PyTree
) -> Callable[[PyTree], Array] | None:
    """The mask of an observation, from the environment or from the observation."""
    method = getattr(env, "action_mask", None)
    if not isinstance(observation, MaskedObservation):
        return method
    if method is not None:
        raise ConfigError(
            f"environment = {name!r} gives the mask of actions twice, as a method and "
            "in its observations. Remove one of them."
        )
    return lambda observation: observation.action_mask


def _num_categories(env: Any, params: Any) -> int | None:
    """Number of values of a scalar integer observation, if declared."""
    if not hasattr(env, "observation_space"):
        return None
    return getattr(env.observation_space(params), "n", None)


def _with_parameters(
    environment: Environment, adapter: GymnaxAdapter, parameters: Mapping[str, float]
) -> Environment:
    """Add `bind`, if there are parameters and the environment accepts traced ones."""

    def bind(values: Mapping[str, Array]) -> Environment:
        params = contract.replace(adapter.params, values)
        bound = adapter._replace(params=params)
        return environment._replace(reset=bound.reset, step=bound.step)

    if not parameters or not _is_traceable(bind, parameters):
        return environment
    return environment._replace(parameters=tuple(parameters.items()), bind=bind)


def _is_traceable(
    bind: Callable[[Mapping[str, Array]], Environment], parameters: Mapping[str, float]
) -> bool:
    """Whether an environment accepts traced values of its parameters."""

    def reset_and_step(key: Key, values: Mapping[str, Array]) -> Any:
        env = bind(values)
        return env.step(key, env.reset(key), jnp.int32(0))

    key = jax.eval_shape(lambda: prng.key(0))
    values = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in parameters}
    try:
        jax.eval_shape(reset_and_step, key, values)
    except (jax.errors.ConcretizationTypeError, TypeError, ValueError):
        return False
    return True
