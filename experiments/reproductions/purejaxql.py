"""PQN as in the authors' notebook: their network, and their lambda-returns.

Both differ from jaxq's. Inputs are divided by 255 although they are 0 or 1, layers
have He's initialisation, and layer normalisation adds 1e-6 to the variance, which
matters for inputs as small as these. The second-to-last step of a rollout bootstraps
from the last observation instead of from its own successor.

Source: Gallici et al., arXiv:2407.04811, and their pqn_demo.ipynb.
"""

import jax.numpy as jnp
from flax import linen as nn

from jaxq.agents import rollout_agent
from jaxq.config.config import Config
from jaxq.networks import from_flax
from jaxq.rl import heads, losses, returns
from jaxq.types import Agent, Array, EnvSpec, Network, PyTree, Step
from jaxq.xla import loops, ops


class PureJaxQLNetwork(nn.Module):
    """16 filters of 3 x 3, then 128 units, each with layer normalisation."""

    num_actions: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels] -> [A, 1]."""
        he = nn.initializers.he_normal()
        x = nn.Dense(16, kernel_init=he)(ops.patches(x / 255.0, 3))
        x = nn.relu(nn.LayerNorm()(x)).reshape(-1)
        x = nn.Dense(128, kernel_init=he)(x)
        x = nn.relu(nn.LayerNorm()(x))
        return nn.Dense(self.num_actions)(x)[:, None]


def shifted_lambda_returns(
    policy: Network, params: PyTree, steps: Step, config: Config
) -> Array:
    """Lambda-returns in which step T - 2 bootstraps from the value of step T - 1.

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
    value = jnp.where(steps.terminated, 0.0, value)
    return returns.lambda_returns(
        steps.reward,
        config.discount * (1.0 - steps.terminated),
        steps.truncated,
        value.at[-2].set(value[-1]),
        config.trace_decay,
    )


def pqn(config: Config, spec: EnvSpec) -> Agent:
    """PQN with the network and the returns of the notebook."""
    network = from_flax.from_module(
        PureJaxQLNetwork(spec.num_actions), spec, heads.scalar("squared", 1.0, False)
    )
    loss = losses.regression_loss(network)
    return rollout_agent.rollout_agent(
        network, network, loss, config, shifted_lambda_returns
    )
