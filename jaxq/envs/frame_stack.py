"""Environments whose observations are stacks of their last frames."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxq.config.fields import ConfigError
from jaxq.envs.adapter import Environment, EnvState
from jaxq.rl import frames
from jaxq.types import Array, EnvSpec, Key, PyTree, Step, unmasked


def stack_frames(
    environment: Environment, count: int, restart_at_life_loss: bool = False
) -> Environment:
    """An environment that observes its last `count` frames; see `rl.frames`.

    Args:
        environment: observes single frames.
        count: frames in a stack, k.
        restart_at_life_loss: start a new stack when a life is lost, too, as agents
            that take the loss of a life for the end of an episode expect.

    Raises:
        ConfigError: if the observations are numbers of states or categories.
    """
    if count == 1:
        return environment
    spec = environment.spec
    if spec.num_agents > 1:
        raise ConfigError(
            f"frame_stack = {count}: {spec.name} has {spec.num_agents} agents, whose "
            "frames are not stacked. Use 1, or a recurrent network."
        )
    if spec.num_categories is not None:
        raise ConfigError(
            f"frame_stack = {count}: {spec.name} observes the number of a category, "
            "which cannot be stacked. Use 1, or a recurrent network."
        )

    def stacked(observation: PyTree) -> PyTree:
        return frames.start(observation, count)

    def reset(key: Key) -> EnvState:
        state = environment.reset(key)
        return EnvState(state.inner, stacked(state.observation))

    def step(key: Key, state: EnvState, action: Array) -> tuple[EnvState, Step]:
        frame = frames.newest(state.observation, spec.observation)
        after, step = environment.step(key, EnvState(state.inner, frame), action)
        successor = frames.push(state.observation, step.next_observation)
        restart = step.terminated | step.truncated
        if restart_at_life_loss and step.life_lost is not None:
            restart |= step.life_lost
        observation = jax.tree.map(
            lambda new, old: jnp.where(restart, new, old),
            stacked(after.observation),
            successor,
        )
        step = step._replace(observation=state.observation, next_observation=successor)
        return EnvState(after.inner, observation), step

    bind: Callable[[Mapping[str, Array]], Environment] | None = None
    if environment.bind is not None:
        inner = environment.bind

        def bind_stacked(values: Mapping[str, Array]) -> Environment:
            return stack_frames(inner(values), count, restart_at_life_loss)

        bind = bind_stacked
    return environment._replace(
        spec=_stacked_spec(spec, count), reset=reset, step=step, bind=bind
    )


def _stacked_spec(spec: EnvSpec, count: int) -> EnvSpec:
    """The specification of stacks; their states are not numbered."""
    observation = jax.eval_shape(lambda x: frames.start(x, count), spec.observation)
    valid = spec.valid_actions
    if valid is not None and unmasked(observation) is observation:
        frame, of_frame = spec.observation, valid

        def valid(stack: PyTree) -> Array:
            return of_frame(frames.newest(stack, frame))

    return spec._replace(
        observation=observation,
        frame=spec.observation,
        num_states=None,
        state_index=None,
        valid_actions=valid,
    )
