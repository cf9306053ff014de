"""Evaluation of a policy on environments and keys of its own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.envs.adapter import Environment, EnvState
from jaxq.types import Agent, Array, Key, PyTree


class Evaluation(NamedTuple):
    """The first episode of every environment; leading axis [K]."""

    episode_return: Array  # [K] float32
    episode_length: Array  # [K] int32
    finished: Array  # [K] bool: False where the episode was cut off


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

    Only the first episode of an environment counts: to average all that finish within
    a number of steps would favour short ones.

    Args:
        key: resets, transitions and the ties of the policy.
        agent, agent_state: whose policy is played.
        env: the environment.
        num_episodes: K.
        epsilon: [] probability of a random action; 0 is the greedy policy.
        max_steps: steps after which an episode is cut off.
    """
    reset_key, play_key, begin_key = jax.random.split(key, 3)
    state = jax.vmap(env.reset)(jax.random.split(reset_key, num_episodes))
    memory = jax.vmap(agent.initial_memory)(jax.random.split(begin_key, num_episodes))
    Carry = tuple[Array, EnvState, PyTree, Evaluation]

    def act(key: Key, memory: PyTree, observation: Array) -> tuple[Array, PyTree]:
        chance = jnp.asarray(epsilon)
        return agent.act(key, agent_state, memory, observation, chance, False)

    def going(carry: Carry) -> Array:
        time, _, _, result = carry
        return (time < max_steps) & ~jnp.all(result.finished)

    def step(carry: Carry) -> Carry:
        time, state, memory, result = carry
        act_key, env_key = jax.random.split(jax.random.fold_in(play_key, time))
        act_keys = jax.random.split(act_key, num_episodes)
        action, memory = jax.vmap(act)(act_keys, memory, state.observation)
        env_keys = jax.random.split(env_key, num_episodes)
        state, said = jax.vmap(env.step)(env_keys, state, action)
        counts = ~result.finished
        result = Evaluation(
            result.episode_return + jnp.where(counts, said.reward, 0.0),
            result.episode_length + counts,
            result.finished | said.terminated | said.truncated,
        )
        return time + 1, state, memory, result

    nothing = Evaluation(
        jnp.zeros(num_episodes),
        jnp.zeros(num_episodes, jnp.int32),
        jnp.zeros(num_episodes, bool),
    )
    return jax.lax.while_loop(going, step, (jnp.int32(0), state, memory, nothing))[3]
