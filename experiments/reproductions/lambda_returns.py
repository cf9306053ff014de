"""Lambda-returns of published programs that differ from the definition."""

import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.rl import returns
from jaxq.types import Array, Network, PyTree, Step
from jaxq.xla import loops


def shifted(
    policy: Network,
    params: PyTree,
    steps: Step,
    config: Config,
    discount: Array | float,
) -> Array:
    """Returns of purejaxql: step T - 2 bootstraps from the value of step T - 1.

    Args:
        policy: evaluates the successors.
        params: its parameters.
        steps: Step[T] of one environment.
        config: trace_decay.
        discount: [] gamma.

    Returns:
        [T].
    """
    value = successor_values(policy, params, steps, config)
    return returns.lambda_returns(
        steps.reward,
        discount * (1.0 - steps.terminated),
        steps.truncated,
        value.at[-2].set(value[-1]),
        config.trace_decay,
    )


def leaking(
    policy: Network,
    params: PyTree,
    steps: Step,
    config: Config,
    discount: Array | float,
) -> Array:
    """Returns of cleanrl/pqn.py at fe8d8a0, which run on through the end of an episode.

    G_t = r_t + gamma ((1 - lambda) (1 - done_t) max_a Q(s_{t+1}, a) + lambda G_{t+1})

    The value of the next state is left out at the end of an episode, but the return of
    the next step, which belongs to another episode, is not.

    Args:
        policy, params, steps, config, discount: as in `shifted`.

    Returns:
        [T].
    """
    return returns.lambda_returns(
        steps.reward,
        jnp.full(steps.reward.shape, discount),
        jnp.zeros_like(steps.truncated),
        successor_values(policy, params, steps, config),
        config.trace_decay,
    )


def successor_values(
    policy: Network, params: PyTree, steps: Step, config: Config
) -> Array:
    """Largest estimates of all successors; 0 at the end of an episode; [T]."""

    def evaluate(step: Step) -> Array:
        output = policy.apply(None, params, step.next_observation)
        return jnp.max(policy.head.q_values(output))

    values = loops.chunked_vmap(evaluate, config.num_envs)(steps)
    return jnp.where(steps.terminated | steps.truncated, 0.0, values)
