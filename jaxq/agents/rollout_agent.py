"""Agents that learn from their newest rollout, by Q(lambda) returns."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.agents import acting, average_reward, learner, optimizers, q_lambda
from jaxq.config.config import Config
from jaxq.replay import horizons, ring
from jaxq.rl import recall, value_decomposition
from jaxq.types import (
    Agent,
    Array,
    Counter,
    Key,
    LearnerState,
    LossFunction,
    Network,
    PyTree,
    Regression,
    Sequence,
    Step,
    UpdateMetrics,
    counter,
)
from jaxq.xla import indexing, ops


class RolloutAgentState(NamedTuple):
    """State of an agent that learns from the newest rollout only."""

    learner: LearnerState
    examples: PyTree  # [N, ...], from the rollout
    order: Array  # [epochs, N] int32: their order in each pass
    updates: Counter  # gradient steps done


def rollout_agent(
    network: Network,
    policy: Network,
    loss: LossFunction,
    config: Config,
    make_returns: q_lambda.Returns = q_lambda.q_lambda_returns,
    team_size: int | None = None,
) -> Agent:
    """An agent that regresses to the Q(lambda) returns of its newest rollout.

    The returns are computed once, before the first of num_epochs passes over the
    rollout; a pass is shuffled and cut into num_minibatches. With a recurrent network,
    whole sequences are shuffled, one for each environment.

    Args:
        network: the network whose parameters are learned.
        policy: acts, and evaluates successors, with the same parameters.
        loss: the loss of one Regression, or of one Sequence for a recurrent network.
        config: exploration, returns and optimizer.
        make_returns: the returns [T] of one environment's rollout.
        team_size: number N of agents whose estimates and returns are summed; `loss` is
            then one of `rl.value_decomposition`. None: each agent learns alone.
    """
    optimizer = optimizers.make_optimizer(config)
    length, recurrent = config.rollout_length, config.recurrent != "none"
    batches, epochs = config.num_minibatches, config.num_epochs
    per_epoch = config.num_envs // (team_size or 1) * (1 if recurrent else length)

    def make_examples(state: LearnerState, rollout: Step, updates: Array) -> PyTree:
        """Regression[T E], or Sequence[E] of T steps; of teams, E / N of them."""
        rollout = average_reward.centred(state, rollout)
        discount = horizons.discount(config, updates)
        target = jax.vmap(
            lambda steps: make_returns(policy, state.params, steps, config, discount),
            in_axes=1,
            out_axes=1,
        )(rollout)
        examples = (as_sequences if recurrent else as_regressions)(rollout, target)
        return as_teams(examples, team_size) if team_size else examples

    def init(key: Key, example: Step) -> RolloutAgentState:
        memory = acting.initial_memory(policy, config)(jax.random.key(0))
        example = example._replace(memory=memory)
        visible = recall.seen(memory, example.observation)
        state = learner.init_learner(
            key, network, optimizer, visible,
            keep_initial=config.l2_init_penalty is not None,
            average=average_reward.init(config),
        )  # fmt: skip
        rollout = ring.zeros(example, length, config.num_envs)
        shapes = jax.eval_shape(make_examples, state, rollout, jnp.int32(0))
        return RolloutAgentState(
            learner=state,
            examples=jax.tree.map(jnp.zeros_like, shapes),
            order=jnp.zeros((epochs, per_epoch), jnp.int32),
            updates=counter(),
        )

    def observe(key: Key, state: RolloutAgentState, rollout: Step) -> RolloutAgentState:
        examples = make_examples(state.learner, rollout, state.updates.value)
        keys = jax.random.split(key, epochs)
        order = jax.vmap(lambda key: ops.permutation(key, per_epoch))(keys)
        return state._replace(examples=examples, order=order)

    def update(
        key: Key, state: RolloutAgentState, epsilon: Array
    ) -> tuple[RolloutAgentState, UpdateMetrics]:
        del epsilon
        done = state.updates.value
        size = per_epoch // batches
        start = done % (epochs * batches) * size
        examples = minibatch(state.examples, state.order, start, size)
        learner_state, _, metrics = learner.gradient_step(
            key, state.learner, examples, jnp.ones(size), done,
            config=config, loss=loss, optimizer=optimizer, network=network,
        )  # fmt: skip
        state = state._replace(learner=learner_state, updates=Counter(done + 1))
        return state, metrics

    return acting.assemble(policy, config, init, observe, update)


def minibatch(examples: PyTree, order: Array, start: Array, size: int) -> PyTree:
    """The minibatch that starts at a position in the passes; leading axis [size].

    Args:
        examples: leading axis [N].
        order: [epochs, N] int32, order of the examples in each pass.
        start: [] int32, position in the passes, one after another.
        size: examples in a minibatch.
    """
    rows = jax.lax.dynamic_slice_in_dim(order.reshape(-1), start, size)
    rows = indexing.fence(rows)
    return jax.tree.map(lambda leaf: indexing.column_major_rows(leaf[rows]), examples)


def as_regressions(rollout: Step, target: Array) -> Regression:
    """The steps of a rollout as separate examples; leading axis [T E].

    Args:
        rollout: Step[T, E].
        target: [T, E] returns to regress to.
    """
    examples = Regression(rollout.observation, rollout.action, target)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), examples)


def as_sequences(rollout: Step, target: Array) -> Sequence:
    """The rollout as one sequence per environment; leading axis [E].

    Args:
        rollout: Step[T, E].
        target: [T, E] returns to regress to.
    """
    by_env = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rollout)
    return Sequence(
        memory=jax.tree.map(lambda x: x[:, 0], recall.of_network(by_env.memory)),
        observation=recall.seen(by_env.memory, by_env.observation),
        action=by_env.action,
        reward=target.T,
        terminated=by_env.terminated,
        truncated=by_env.truncated,
    )


def as_teams(examples: Regression | Sequence, size: int) -> Regression | Sequence:
    """Examples of single agents as examples of their teams.

    Args:
        examples: leading axis [M], the agents of a team one after another.
        size: N.

    Returns:
        Leading axes [M / N, N], but for the summed returns, [M / N].
    """
    teams = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), examples)
    if isinstance(examples, Sequence):
        total = value_decomposition.team_returns(examples.reward, size)
        return teams._replace(reward=total)
    total = value_decomposition.team_returns(examples.target_return, size)
    return teams._replace(target_return=total)
