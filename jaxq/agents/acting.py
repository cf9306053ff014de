"""Acting by a policy network, shared by all agents."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.rl import exploration
from jaxq.types import Agent, Array, Key, Network, PyTree, Step


class Exploring(NamedTuple):
    """The memory of an agent whose behaviour policy has a memory of its own."""

    network: PyTree  # the memory of the network
    repetition: exploration.Repetition


def network_memory(memory: PyTree) -> PyTree:
    """The network's part of an agent's memory, which is all that is learned from."""
    return memory.network if isinstance(memory, Exploring) else memory


def assemble(
    policy: Network, config: Config, init: Callable, observe: Callable, update: Callable
) -> Agent:
    """An agent that acts by a policy network.

    During exploration the network receives a key for its noise. During evaluation it
    has no noise, and the policy is epsilon-greedy.

    Args:
        policy: network of the agent's parameters.
        config: exploration.
        init, observe, update: functions of the agent; see `types.Agent`.
    """

    def values(
        key: Key | None, state: PyTree, memory: PyTree, observation: Array
    ) -> tuple[Array, PyTree]:
        params = state.learner.params
        output, memory = policy.step(key, params, memory, observation)
        return policy.head.q_values(output), memory

    def act(
        key: Key,
        state: PyTree,
        memory: PyTree,
        observation: Array,
        epsilon: Array,
        explore: bool,
    ) -> tuple[Array, PyTree]:
        network_key, action_key = jax.random.split(key)
        q_values, memory = values(
            network_key if explore else None, state, memory, observation
        )
        if explore and config.exploration == "boltzmann":
            action = exploration.boltzmann(
                action_key, q_values, config.temperature, epsilon
            )
        else:
            action = exploration.epsilon_greedy(action_key, q_values, epsilon)
        return action, memory

    def q_values(state: PyTree, memory: PyTree, observation: Array) -> Array:
        return values(None, state, network_memory(memory), observation)[0]

    def activations(
        state: PyTree, memory: PyTree, observation: Array
    ) -> dict[str, Array]:
        assert policy.activations is not None
        return policy.activations(
            state.learner.params, network_memory(memory), observation
        )

    agent = Agent(
        init,
        policy.initial_memory,
        act,
        observe,
        update,
        q_values,
        activations if policy.activations else None,
    )
    if config.exploration == "epsilon_z_greedy":
        return _repeating(agent, values, config)
    return agent


def _repeating(agent: Agent, values: Callable, config: Config) -> Agent:
    """An agent that repeats its random actions.

    It remembers the action next to the memory of the network. Neither the network nor
    the store of experience receives that part of the memory.

    Args:
        agent: the same without repetition.
        values: (key, state, memory, observation) -> (q_values[A], memory).
        config: distribution of the durations.
    """
    durations = exploration.zeta(config.zeta_exponent, config.max_repeat)
    cumulative = jnp.cumsum(durations)

    def initial_memory(key: Key) -> Exploring:
        return Exploring(agent.initial_memory(key), exploration.no_repetition())

    def act(
        key: Key,
        state: PyTree,
        memory: Exploring,
        observation: Array,
        epsilon: Array,
        explore: bool,
    ) -> tuple[Array, Exploring]:
        network, repetition = memory
        if explore:
            network_key, action_key = jax.random.split(key)
            q_values, network = values(network_key, state, network, observation)
            action, repetition = exploration.epsilon_z_greedy(
                action_key, q_values, epsilon, repetition, cumulative
            )
        else:
            action, network = agent.act(
                key, state, network, observation, epsilon, False
            )
        return action, Exploring(network, repetition)

    def observe(key: Key, state: PyTree, rollout: Step) -> PyTree:
        rollout = rollout._replace(memory=network_memory(rollout.memory))
        return agent.observe(key, state, rollout)

    return agent._replace(initial_memory=initial_memory, act=act, observe=observe)
