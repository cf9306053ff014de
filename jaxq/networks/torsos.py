"""Torsos: flax modules from the features of one observation to a vector."""

from collections.abc import Sequence

from flax import linen as nn

from jaxq.networks import layers
from jaxq.types import Array
from jaxq.xla import ops


class MLP(nn.Module):
    """Fully connected layers, each with an activation."""

    hidden_sizes: Sequence[int]
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[...] -> [hidden_sizes[-1]]."""
        x = x.reshape(-1)
        for size in self.hidden_sizes:
            x = layers.Hidden(size, self.style)(x)
        return x


class MinAtarTorso(nn.Module):
    """The network of Young and Tian (2019): 16 filters of 3 x 3, then 128 units.

    The convolution is written as a product of patches and a matrix: with separate
    weights per seed, `nn.Conv` would be a grouped convolution, 4 times as slow; see
    results/performance.md#patches.

    Reference: arXiv:1903.03176, section 3.
    """

    channels: int = 16
    dense_size: int = 128
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels] -> [dense_size]."""
        filters = layers.Hidden(self.channels, self.style._replace(noisy_sigma=None))
        x = filters(ops.patches(x, 3))
        return layers.Hidden(self.dense_size, self.style)(x.reshape(-1))
