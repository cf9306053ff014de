"""Agents that learn from a store of experience."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.agents import acting, average_reward, corrections, learner, optimizers
from jaxq.config.config import Config
from jaxq.replay import stores
from jaxq.rl import off_policy, recall
from jaxq.types import (
    Agent,
    Array,
    Counter,
    Key,
    LearnerState,
    LossFunction,
    Network,
    PyTree,
    Sequence,
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
        network: the network whose parameters are learned.
        policy: acts, with the same parameters.
        loss: the loss of one example.
        store: the store of experience.
        config: exploration, optimizer and target refresh.
    """
    optimizer = optimizers.make_optimizer(config)
    needs_probability = corrections.needs_probability(config)

    def init(key: Key, example: Step) -> ReplayAgentState:
        memory = acting.initial_memory(policy, config)(jax.random.key(0))
        example = example._replace(
            memory=memory,
            action_probability=jnp.zeros(()) if needs_probability else None,
        )
        visible = recall.seen(memory, example.observation)
        return ReplayAgentState(
            learner=learner.init_learner(
                key,
                network,
                optimizer,
                visible,
                keep_initial=config.l2_init_penalty is not None,
                averaged_targets=config.averaged_targets,
                average=average_reward.init(config),
                shared_target=config.iterated_heads is not None,
            ),
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
        of_policy = isinstance(example, Sequence) and config.next_value != "max"
        if of_policy or isinstance(example, Transition | off_policy.Window):
            example = example._replace(epsilon=jnp.full(sample.weight.shape, epsilon))
        learner_state, priority, metrics = learner.gradient_step(
            loss_key,
            state.learner,
            average_reward.centred(state.learner, example),
            sample.weight,
            state.updates.value,
            config=config,
            loss=loss,
            optimizer=optimizer,
            network=network,
        )
        experience = store.update_priorities(state.store, sample, priority)
        updates = Counter(state.updates.value + 1)
        return ReplayAgentState(learner_state, experience, updates), metrics

    return acting.assemble(
        policy, config, init, observe, update, needs_probability=needs_probability
    )
