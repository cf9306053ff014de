"""Q(lambda) returns of a rollout."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxq.agents import acting
from jaxq.config.config import Config
from jaxq.rl import recall, returns
from jaxq.types import Array, Network, PyTree, Step
from jaxq.xla import loops

# Of a policy, its parameters, Step[T], a configuration and the discount factor: [T].
Returns = Callable[[Network, PyTree, Step, Config, Array | float], Array]


def q_lambda_returns(
    policy: Network,
    params: PyTree,
    steps: Step,
    config: Config,
    discount: Array | float,
) -> Array:
    """Q(lambda) returns of one environment's rollout, for fixed parameters.

    With an average reward the task is continuing: a terminated step leads to the next
    episode, whose first observation is its successor.

    Args:
        policy: evaluates the true successors.
        params: its parameters.
        steps: Step[T], with the memory before each step.
        config: trace_decay, and trace_cut for Watkins's traces.
        discount: [] gamma.

    Returns:
        [T].

    Reference: Peng and Williams (1996); Watkins (1989) with `trace_cut`.
    """
    continuing = config.average_reward != "none"
    ends = jnp.zeros_like(steps.terminated) if continuing else steps.terminated

    def evaluate(step: Step) -> tuple[Array, Array]:
        output, memory = recall.step(
            policy, None, params, step.memory, step.observation
        )
        memory = recall.after(memory, step.action, step.reward)
        if continuing:  # the next episode starts without a memory of this one
            fresh = acting.initial_memory(policy, config)(jax.random.key(0))
            memory = jax.tree.map(
                lambda new, old: jnp.where(step.terminated, new, old), fresh, memory
            )
        next_output, _ = recall.step(
            policy, None, params, memory, step.next_observation
        )
        return policy.head.q_values(output), jnp.max(policy.head.q_values(next_output))

    q_values, next_value = loops.chunked_vmap(evaluate, config.num_envs)(steps)
    # A terminal state may have no valid action; 0 * -inf would be NaN.
    next_value = jnp.where(ends, 0.0, next_value)
    trace = jnp.full(next_value.shape, config.trace_decay)
    if config.trace_cut:
        trace *= is_next_greedy(q_values, steps.action)
    return returns.lambda_returns(
        steps.reward,
        discount * (1.0 - ends),
        steps.truncated,
        next_value,
        trace,
    )


def is_next_greedy(q_values: Array, action: Array) -> Array:
    """Whether the action of the next step is greedy, as 0.0 or 1.0; 1.0 for the last.

    Args:
        q_values: [T, A].
        action: [T].
    """
    best = jnp.max(q_values, axis=1)
    value = jnp.take_along_axis(q_values, action[:, None], axis=1)[:, 0]
    greedy = (value == best).astype(jnp.float32)
    return jnp.concatenate([greedy[1:], jnp.ones(1)])
