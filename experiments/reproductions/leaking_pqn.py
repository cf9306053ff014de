"""PQN as CleanRL's file has it: lambda-returns run on through the end of an episode.

The value of the next state is left out at the end of an episode, but the return of the
next step, which belongs to another episode, is not.
"""

import jax.numpy as jnp

from jaxq.agents import algorithms, factory, rollout_agent
from jaxq.config.config import Config
from jaxq.rl import returns
from jaxq.types import Agent, Array, EnvSpec, Network, PyTree, Step
from jaxq.xla import loops


def leaking_lambda_returns(
    policy: Network, params: PyTree, steps: Step, config: Config
) -> Array:
    """Returns of cleanrl/pqn.py, at fe8d8a0.

    G_t = r_t + gamma ((1 - lambda) (1 - done_t) max_a Q(s_{t+1}, a) + lambda G_{t+1})

    Args:
        policy: evaluates the successors.
        params: its parameters.
        steps: Step[T] of one environment.
        config: discount and trace_decay.

    Returns:
        [T].
    """

    def evaluate(step: Step) -> Array:
        output = policy.apply(None, params, step.next_observation)
        return jnp.max(policy.head.q_values(output))

    value = loops.chunked_vmap(evaluate, config.num_envs)(steps)
    return returns.lambda_returns(
        steps.reward,
        jnp.full(steps.reward.shape, config.discount),
        jnp.zeros_like(steps.truncated),
        jnp.where(steps.terminated | steps.truncated, 0.0, value),
        config.trace_decay,
    )


def pqn(config: Config, spec: EnvSpec) -> Agent:
    """PQN with these returns."""
    networks = factory.make_networks(config, spec)
    loss = algorithms.make_regression_loss(config, networks.online)
    return rollout_agent.rollout_agent(
        networks.online, networks.policy, loss, config, leaking_lambda_returns
    )
