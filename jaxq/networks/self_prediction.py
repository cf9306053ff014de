"""The networks by which features predict later features."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.networks import layers
from jaxq.rl import self_prediction
from jaxq.types import Array

NAME = "self_prediction"  # of the model among the parameters of an agent


class Transition(nn.Module):
    """The features after an action.

    h(z, a) = unit_range(W_2 relu(W_1 [z, one_hot(a)] + b_1) + b_2)

    Reference: Schwarzer et al., arXiv:2007.05929, section 2.2, with dense layers in
    place of convolutions. The last one has no rectifier: its output is scaled to the
    unit range anyway, and an output of zeros would pass on no gradient.
    """

    num_actions: int
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, z: Array, action: Array) -> Array:
        """[D], [] -> [D]."""
        x = jnp.concatenate([z, jax.nn.one_hot(action, self.num_actions)])
        x = layers.Hidden(z.size, self.style)(x)
        return self_prediction.unit_range(layers.Dense(z.size, self.style)(x))


class SelfPrediction(nn.Module):
    """A transition model h, a projection g and a predictor q.

    z_0 = f(o_0), z_k = h(z_{k-1}, a_{k-1});  prediction_k = q(g(z_k)).

    Reference: Schwarzer et al., arXiv:2007.05929, section 2.2.
    """

    num_actions: int
    size: int  # of the features, and of their projections
    style: layers.LayerConfig = layers.LayerConfig()

    def setup(self) -> None:
        """Declare the three networks."""
        self.transition = Transition(self.num_actions, self.style)
        self.projection = layers.Dense(self.size, self.style)
        self.predictor = layers.Dense(self.size, self.style)

    def __call__(self, features: Array, action: Sequence[Array] | Array) -> Array:
        """Predictions after K actions: [D], [K] -> [K, D]."""
        z, after = self_prediction.unit_range(features), []
        for a in action:
            z = self.transition(z, a)
            after.append(z)
        return self.predictor(self.projection(jnp.stack(after)))

    def target(self, features: Array) -> Array:
        """Projections, which are predicted: [..., D] -> [..., D]."""
        return self.projection(self_prediction.unit_range(features))
