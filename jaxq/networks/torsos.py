"""Torsos: flax modules from the features of one observation to a vector."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.networks import layers
from jaxq.types import Array, PyTree
from jaxq.xla import ops

SMALL, LARGE = 24, 36  # sides of an image


def for_shape(shape: tuple[int, ...]) -> str:
    """The torso that an array of that shape is given unless a torso is named.

    Images are [height, width, channels], or [height, width] from 24 x 24 on. Up to 24 x
    24 they are given MinAtar's network, whose one layer sees 3 x 3 cells; from 36 x 36
    on the Nature network, which needs at least that; otherwise IMPALA's, which takes
    any size. Other arrays, among them small boards without channels, are flattened.

    Returns:
        "mlp", "minatar", "nature" or "impala".
    """
    if len(shape) not in (2, 3) or (len(shape) == 2 and min(shape) < SMALL):
        return "mlp"
    sides = shape[:2]
    if min(sides) < 3:
        return "mlp"
    if max(sides) <= SMALL:
        return "minatar"
    return "nature" if min(sides) >= LARGE else "impala"


def concatenate(arrays: Sequence[Array]) -> Array:
    """All numbers of several arrays in one vector."""
    flat = [array.reshape(-1) for array in arrays]
    return flat[0] if len(flat) == 1 else jnp.concatenate(flat)


class MLP(nn.Module):
    """Fully connected layers, each with an activation."""

    hidden_sizes: Sequence[int]
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: PyTree) -> Array:
        """[...], an array or a pytree of arrays -> [hidden_sizes[-1]]."""
        x = concatenate(jax.tree.leaves(x))
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
    binary: bool = False  # whether pixels are 0 or 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels] -> [dense_size]."""
        filters = layers.Hidden(self.channels, self.style._replace(noisy_sigma=None))
        x = filters(ops.patches(x, 3, self.binary))
        return layers.Hidden(self.dense_size, self.style)(x.reshape(-1))


def strided_patches(x: Array, size: int, stride: int) -> Array:
    """Every stride-th window of size x size, as a strided convolution sees them.

    The windows are cut from blocks of stride x stride, so that there are
    (size / stride)^2 cuts instead of size^2.

    Args:
        x: [height, width, C].
        size: side of a window; a multiple of the stride.
        stride: distance between windows.

    Returns:
        [(height - size) // stride + 1, (width - size) // stride + 1, size * size * C];
        the last axis runs over the blocks of the window, then over rows, columns and
        channels of the block.
    """
    height, width = (n // stride * stride for n in x.shape[:2])
    blocks = x[:height, :width].reshape(
        height // stride, stride, width // stride, stride, x.shape[2]
    )
    blocks = jnp.swapaxes(blocks, 1, 2)
    return ops.patches(blocks.reshape(*blocks.shape[:2], -1), size // stride)


class NatureTorso(nn.Module):
    """The network of DQN on Atari: three convolutions, then 512 units.

    Reference: Mnih et al. (2015), doi:10.1038/nature14236, methods (84 x 84 x 4).
    """

    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels], from 36 x 36 on -> [512]."""
        plain = self.style._replace(noisy_sigma=None)
        x = layers.Hidden(32, plain)(strided_patches(x, 8, 4))
        x = layers.Hidden(64, plain)(strided_patches(x, 4, 2))
        x = layers.Hidden(64, plain)(ops.patches(x, 3))
        return layers.Hidden(512, self.style)(x.reshape(-1))


CONSECUTIVE = MLP, MinAtarTorso, NatureTorso  # each layer reads the one before it


class ImpalaTorso(nn.Module):
    """The residual network of IMPALA: 15 convolutions, then 256 units or a pooling.

    Reference: Espeholt et al., arXiv:1802.01561, figure 3 (right); Clark et al.,
    arXiv:2411.03820 (the scale, and adaptive max-pooling in place of the dense layer).
    """

    scale: int = 1
    pool: int | None = None
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels] -> [256], or [pool * pool * 32 * scale]."""
        plain = self.style._replace(noisy_sigma=None)
        for channels in (16 * self.scale, 32 * self.scale, 32 * self.scale):
            x = _convolution(x, channels, plain)
            x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
            for _ in range(2):
                y = _convolution(layers.activate(x, plain), channels, plain)
                x += _convolution(layers.activate(y, plain), channels, plain)
        x = layers.activate(x, plain)
        if self.pool is not None:
            return adaptive_max_pool(x, self.pool).reshape(-1)
        return layers.Hidden(256, self.style)(x.reshape(-1))


def adaptive_max_pool(x: Array, size: int) -> Array:
    """Maxima over size x size windows that cover an image of any size.

    Window i of n cells spans the cells from floor(i n / size) to
    ceil((i + 1) n / size); windows overlap if size does not divide n.

    Args:
        x: [height, width, C].
        size: number of windows per side.

    Returns:
        [size, size, C].
    """
    for axis in (0, 1):
        cells = x.shape[axis]
        windows = [
            jax.lax.slice_in_dim(
                x, i * cells // size, -(-(i + 1) * cells // size), axis=axis
            )
            for i in range(size)
        ]
        x = jnp.stack([jnp.max(window, axis=axis) for window in windows], axis=axis)
    return x


def _convolution(x: Array, channels: int, style: layers.LayerConfig) -> Array:
    """A 3 x 3 convolution that keeps the size; inside a compact module."""
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    return layers.Dense(channels, style)(ops.patches(padded, 3))


class Parts(nn.Module):
    """An observation of several arrays: images are encoded, others flattened.

    The parts are concatenated, and followed by an MLP.
    """

    encoders: Sequence[nn.Module | None]  # one per array; None flattens it
    mlp: MLP

    def __call__(self, x: PyTree) -> Array:
        """Pytree of arrays -> [D]."""
        parts = [
            array if encoder is None else encoder(array)
            for encoder, array in zip(self.encoders, jax.tree.leaves(x), strict=True)
        ]
        return self.mlp(concatenate(parts))


class WithChannel(nn.Module):
    """Gives an image [height, width] the axis of its one channel."""

    torso: nn.Module

    def __call__(self, x: Array) -> Array:
        """[height, width] -> [D]."""
        return self.torso(x[..., None])
