"""Agents: a network and a loss, with a way of using experience."""

from typing import NamedTuple

import jax

from jaxq import config as configs
from jaxq import exploration, learner, replay
from jaxq.types import (
    Agent,
    Array,
    Counter,
    EnvSpec,
    Key,
    LearnerState,
    LossFunction,
    Network,
    Step,
    UpdateMetrics,
    counter,
)


class ReplayAgentState(NamedTuple):
    """State of an agent that learns from replayed transitions."""

    learner: LearnerState
    replay: replay.ReplayState
    updates: Counter  # gradient steps done


def replay_agent(
    network: Network, loss: LossFunction, config: configs.Config, spec: EnvSpec
) -> Agent:
    """An agent that acts epsilon-greedily and learns from uniform replay.

    Args:
        network: estimates the values.
        loss: of one transition.
        config: replay, optimizer and target refresh.
        spec: what is observed and how many actions there are.
    """
    optimizer = learner.make_optimizer(config)
    rows = configs.plan(config).buffer_rows

    def init(key: Key, example: Step) -> ReplayAgentState:
        return ReplayAgentState(
            learner=learner.init_learner(key, network, optimizer, example.observation),
            replay=replay.init(example, rows, config.num_envs, spec.num_actions),
            updates=counter(),
        )

    def act(
        key: Key, state: ReplayAgentState, observation: Array, epsilon: Array
    ) -> Array:
        def choose(key: Key, observation: Array, epsilon: Array) -> Array:
            network_key, action_key = jax.random.split(key)
            output = network.apply(network_key, state.learner.params, observation)
            q_values = network.head.q_values(output)
            return exploration.epsilon_greedy(action_key, q_values, epsilon)

        keys = jax.random.split(key, epsilon.size)
        return jax.vmap(choose)(keys, observation, epsilon)

    def observe(state: ReplayAgentState, rollout: Step) -> ReplayAgentState:
        return state._replace(replay=replay.add(state.replay, rollout))

    def update(
        key: Key, state: ReplayAgentState
    ) -> tuple[ReplayAgentState, UpdateMetrics]:
        sample_key, loss_key = jax.random.split(key)
        sample = replay.sample_uniform(
            sample_key,
            state.replay,
            spec.observation,
            config.batch_size,
            config.n_step,
            config.discount,
        )
        stepped, _, metrics = learner.gradient_step(
            loss_key,
            state.learner,
            sample.transition,
            sample.weight,
            state.updates.value,
            config=config,
            loss=loss,
            optimizer=optimizer,
        )
        updates = Counter(state.updates.value + 1)
        return state._replace(learner=stepped, updates=updates), metrics

    return Agent(init, act, observe, update)
