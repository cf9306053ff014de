"""Acting by a policy network, shared by all agents."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.rl import exploration, losses, recall
from jaxq.types import Agent, Array, Key, Network, PyTree


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

    def act(
        key: Key,
        state: PyTree,
        memory: PyTree,
        observation: Array,
        epsilon: Array,
        explore: bool,
    ) -> tuple[Array, PyTree]:
        return choose(key, state, memory, observation, epsilon, explore)[:2]

    def act_with_probability(
        key: Key, state: PyTree, memory: PyTree, observation: Array, epsilon: Array
    ) -> tuple[Array, PyTree, Array]:
        action, memory, probabilities = choose(
            key, state, memory, observation, epsilon, True
        )
        return action, memory, losses.select_action(probabilities, action)

    def q_values(state: PyTree, memory: PyTree, observation: Array) -> Array:
        return values(None, state, memory, observation)[0]

    def activations(
        state: PyTree, memory: PyTree, observation: Array
    ) -> dict[str, Array]:
        assert policy.activations is not None
        visible = recall.seen(memory, observation)
        memory = recall.of_network(memory)
        return policy.activations(state.learner.params, memory, visible)

    def remember(memory: PyTree, action: Array, reward: Array) -> PyTree:
        if config.reward_clip is not None:  # as `training.loop.as_learned` does
            reward = jnp.clip(reward, -config.reward_clip, config.reward_clip)
        return recall.after(memory, action, reward)

    return Agent(
        init,
        initial_memory(policy, config),
        act,
        observe,
        update,
        q_values,
        activations if policy.activations else None,
        act_with_probability if needs_probability else None,
        remember if recalls(config) else None,
    )


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
