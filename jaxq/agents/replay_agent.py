"""Agents that learn from a store of experience."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.agents import learner, optimizers
from jaxq.config.config import Config
from jaxq.replay import stores
from jaxq.rl import exploration
from jaxq.types import (
    Agent,
    Array,
    Counter,
    Key,
    LearnerState,
    LossFunction,
    Network,
    PyTree,
    Step,
    Transition,
    UpdateMetrics,
    counter,
)


class ReplayAgentState(NamedTuple):
    """State of an agent that learns from a store of experience."""

    learner: LearnerState
    store: PyTree
    updates: Counter  # gradient steps done


def replay_agent(
    network: Network,
    policy: Network,
    loss: LossFunction,
    store: stores.Store,
    config: Config,
) -> Agent:
    """An agent that learns from examples sampled from a store.

    Args:
        network: whose parameters are learned.
        policy: acts, with the same parameters.
        loss: of one example.
        store: of experience.
        config: exploration, optimizer and target refresh.
    """
    optimizer = optimizers.make_optimizer(config)

    def init(key: Key, example: Step) -> ReplayAgentState:
        example = example._replace(memory=policy.initial_memory(jax.random.key(0)))
        return ReplayAgentState(
            learner=learner.init_learner(key, network, optimizer, example.observation),
            store=store.init(example),
            updates=counter(),
        )

    def observe(key: Key, state: ReplayAgentState, rollout: Step) -> ReplayAgentState:
        del key
        return state._replace(store=store.add(state.store, rollout))

    def update(
        key: Key, state: ReplayAgentState, epsilon: Array
    ) -> tuple[ReplayAgentState, UpdateMetrics]:
        sample_key, loss_key = jax.random.split(key)
        sample = store.sample(sample_key, state.store, state.updates.value)
        example = sample.example
        if isinstance(example, Transition):
            example = example._replace(epsilon=jnp.full(sample.weight.shape, epsilon))
        learned, priority, metrics = learner.gradient_step(
            loss_key,
            state.learner,
            example,
            sample.weight,
            state.updates.value,
            config=config,
            loss=loss,
            optimizer=optimizer,
            update_batch_stats=network.update_batch_stats,
        )
        experience = store.update_priorities(state.store, sample, priority)
        updates = Counter(state.updates.value + 1)
        return ReplayAgentState(learned, experience, updates), metrics

    return assemble(policy, config, init, observe, update)


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
        return values(None, state, memory, observation)[0]

    return Agent(init, policy.initial_memory, act, observe, update, q_values)
