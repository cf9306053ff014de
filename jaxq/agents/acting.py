"""Acting by a policy network, shared by all agents."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.rl import exploration, losses, recall
from jaxq.types import Agent, Array, Key, Network, PyTree, Step


class Exploring(NamedTuple):
    """The memory of an agent whose behaviour policy has a memory of its own."""

    network: PyTree  # the memory of the network
    repetition: exploration.Repetition


def network_memory(memory: PyTree) -> PyTree:
    """The network's part of an agent's memory, the only part that learning uses."""
    return memory.network if isinstance(memory, Exploring) else memory


def assemble(
    policy: Network,
    config: Config,
    init: Callable,
    observe: Callable,
    update: Callable,
    *,
    needs_probability: bool = False,
) -> Agent:
    """An agent that acts by a policy network.

    During exploration the network receives a key for its noise. During evaluation it
    has no noise, and the policy is epsilon-greedy.

    Args:
        policy: network of the agent's parameters.
        config: exploration.
        init, observe, update: functions of the agent; see `types.Agent`.
        needs_probability: whether steps must have `action_probability`. With noisy
            layers, it is the probability given the noise with which the agent acted.
    """

    def values(
        key: Key | None, state: PyTree, memory: PyTree, observation: Array
    ) -> tuple[Array, PyTree]:
        params = state.learner.params
        output, memory = recall.step(policy, key, params, memory, observation)
        return policy.head.q_values(output), memory

    def choose(
        key: Key,
        state: PyTree,
        memory: PyTree,
        observation: Array,
        epsilon: Array,
        explore: bool,
    ) -> tuple[Array, PyTree, Array]:
        """An action, the next memory, and the probabilities [A] of all actions."""
        network_key, action_key = jax.random.split(key)
        q_values, memory = values(
            network_key if explore else None, state, memory, observation
        )
        probabilities = behaviour_policy(config, q_values, epsilon, explore)
        return exploration.draw(action_key, probabilities), memory, probabilities

    def act(*arguments: Any) -> tuple[Array, PyTree]:
        return choose(*arguments)[:2]

    def act_with_probability(
        key: Key, state: PyTree, memory: PyTree, observation: Array, epsilon: Array
    ) -> tuple[Array, PyTree, Array]:
        action, memory, probabilities = choose(
            key, state, memory, observation, epsilon, True
        )
        return action, memory, losses.select_action(probabilities, action)

    def q_values(state: PyTree, memory: PyTree, observation: Array) -> Array:
        return values(None, state, network_memory(memory), observation)[0]

    agent = Agent(
        init,
        initial_memory(policy, config),
        act,
        observe,
        update,
        q_values,
        activations(policy) if policy.activations else None,
        act_with_probability if needs_probability else None,
        functools.partial(remember, config) if recalls(config) else None,
    )
    if config.exploration == "epsilon_z_greedy":
        return _repeating(agent, values, config)
    return agent


def behaviour_policy(
    config: Config, q_values: Array, epsilon: Array, explore: bool
) -> Array:
    """Probabilities [A] with which an agent acts, given its estimates [A]."""
    if explore and config.exploration == "boltzmann":
        return exploration.epsilon_boltzmann_policy(
            q_values, config.temperature, epsilon
        )
    return exploration.epsilon_greedy_policy(q_values, epsilon)


def recalls(config: Config) -> bool:
    """Whether the network sees the last action and reward."""
    return config.recurrent != "none" and config.recurrent_inputs == "action_reward"


def initial_memory(policy: Network, config: Config) -> Callable[[Key], PyTree]:
    """The function from a key to an agent's memory at the start of an episode."""
    if recalls(config):
        return functools.partial(recall.initial_memory, policy)
    return policy.initial_memory


def activations(policy: Network) -> Callable[..., dict[str, Array]]:
    """Activations of a policy network, for the state and the memory of an agent."""

    def read(state: PyTree, memory: PyTree, observation: Array) -> dict[str, Array]:
        assert policy.activations is not None
        memory = network_memory(memory)
        visible = recall.seen(memory, observation)
        memory = recall.of_network(memory)
        return policy.activations(state.learner.params, memory, visible)

    return read


def remember(config: Config, memory: PyTree, action: Array, reward: Array) -> PyTree:
    """The memory after a step, whose reward is clipped as `learned_steps` clips it."""
    if config.reward_clip is not None:
        reward = jnp.clip(reward, -config.reward_clip, config.reward_clip)
    return recall.after(memory, action, reward)


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

    def remember(memory: Exploring, action: Array, reward: Array) -> Exploring:
        assert agent.remember is not None
        return memory._replace(network=agent.remember(memory.network, action, reward))

    return agent._replace(
        initial_memory=initial_memory,
        act=act,
        observe=observe,
        remember=remember if agent.remember else None,
    )
