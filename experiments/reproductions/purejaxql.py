"""PQN as in the authors' notebook: their network, and their lambda-returns.

Both differ from jaxq's. Inputs are divided by 255 although they are 0 or 1, layers
have He's initialisation, and layer normalisation adds 1e-6 to the variance, which
matters for inputs as small as these. The second-to-last step of a rollout bootstraps
from the last observation instead of from its own successor.

Source: Gallici et al., arXiv:2407.04811, and their pqn_demo.ipynb.
"""

from flax import linen as nn

from experiments.reproductions import lambda_returns
from jaxq.agents import rollout_agent
from jaxq.config.config import Config
from jaxq.networks import from_flax
from jaxq.rl import heads, losses
from jaxq.types import Agent, Array, EnvSpec
from jaxq.xla import ops


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


def pqn(config: Config, spec: EnvSpec) -> Agent:
    """PQN with the network and the returns of the notebook."""
    network = from_flax.from_module(
        PureJaxQLNetwork(spec.num_actions), spec, heads.scalar("squared", 1.0, False)
    )
    loss = losses.regression_loss(network)
    return rollout_agent.rollout_agent(
        network, network, loss, config, lambda_returns.shifted
    )
