"""A user-defined network: any flax module that returns a vector is a torso."""

import jax.numpy as jnp
from flax import linen as nn


class FourierFeatures(nn.Module):
    """Sines and cosines of learned projections."""

    size: int = 32

    @nn.compact
    def __call__(self, x):
        angles = nn.Dense(self.size)(x.reshape(-1))
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
