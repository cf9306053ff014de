"""Policy evaluation in fresh environments."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.envs import lanes
from jaxq.envs.adapter import Environment, EnvState
from jaxq.types import Agent, Array, Key, PyTree, Step


class Evaluation(NamedTuple):
    """The first episode of every environment; leading axis [K]."""

    episode_return: Array  # [K] float32
    episode_length: Array  # [K] int32
    finished: Array  # [K] bool: False if the episode was cut off at max_steps


class _Play(NamedTuple):
    """State of an evaluation."""

    time: Array  # [] int32
    env: EnvState  # leading axis [K]
    memory: PyTree  # the agent's, leading axis [K]
    result: Evaluation


def evaluate(
    key: Key,
    agent: Agent,
    agent_state: object,
    env: Environment,
    num_episodes: int,
    epsilon: Array | float,
    max_steps: int,
) -> Evaluation:
    """Play one episode in each of K fresh environments.

    Only the first episode of each environment counts: averaging all episodes that
    finish within a number of steps would favour short ones.

    Args:
        key: for resets, transitions, exploration and ties.
        agent: supplies the policy.
        agent_state: of the agent.
        env: the environment.
        num_episodes: K.
        epsilon: [] probability of a random action; 0 is the greedy policy.
        max_steps: length at which an episode is cut off.

    Returns:
        Returns and lengths of the episodes, [K].
    """
    reset_key, play_key, memory_key = jax.random.split(key, 3)

    def act(key: Key, memory: PyTree, observation: Array) -> tuple[Array, PyTree]:
        return agent.act(
            key, agent_state, memory, observation, jnp.asarray(epsilon), False
        )

    def unfinished(play: _Play) -> Array:
        return (play.time < max_steps) & ~jnp.all(play.result.finished)

    def advance(play: _Play) -> _Play:
        act_key, env_key = jax.random.split(jax.random.fold_in(play_key, play.time))
        act_keys = jax.random.split(act_key, num_episodes)
        action, memory = jax.vmap(act)(act_keys, play.memory, play.env.observation)
        env_keys = jax.random.split(env_key, num_episodes)
        state, step = lanes.step(env, env_keys, play.env, action)
        if agent.remember is not None:
            memory = jax.vmap(agent.remember)(memory, action, step.reward)
        return _Play(play.time + 1, state, memory, _record(play.result, step))

    start = _Play(
        time=jnp.int32(0),
        env=lanes.reset(env, jax.random.split(reset_key, num_episodes)),
        memory=jax.vmap(agent.initial_memory)(
            jax.random.split(memory_key, num_episodes)
        ),
        result=_no_steps(num_episodes),
    )
    return jax.lax.while_loop(unfinished, advance, start).result


def _no_steps(num_episodes: int) -> Evaluation:
    """Episodes that have just begun."""
    return Evaluation(
        episode_return=jnp.zeros(num_episodes),
        episode_length=jnp.zeros(num_episodes, jnp.int32),
        finished=jnp.zeros(num_episodes, bool),
    )


def _record(result: Evaluation, step: Step) -> Evaluation:
    """Add one step of every environment whose first episode is unfinished; Step[K]."""
    unfinished = ~result.finished
    return Evaluation(
        result.episode_return + jnp.where(unfinished, step.reward, 0.0),
        result.episode_length + unfinished,
        result.finished | step.terminated | step.truncated,
    )
