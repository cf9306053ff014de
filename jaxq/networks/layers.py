"""Layers and torsos, as flax modules for one observation."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.types import Array, Key
from jaxq.xla import primitives

# U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for weights and biases.
_torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def orthogonal(
    key: Key,
    shape: tuple[int, int],
    dtype: jnp.dtype = jnp.float32,
    scale: float | Array = 1.0,
) -> Array:
    """A uniformly random matrix whose rows or columns, the fewer, are orthonormal.

    Gram and Schmidt's process on Gaussian vectors, twice each against rounding, in the
    place of flax's initializer: its QR factorizations, batched over seeds, wait for one
    another for ever when XLA starts several at a time on a CPU of two cores (jax
    0.10.2, five seeds, a GRU of 64 units).

    Reference: Saxe et al., arXiv:1312.6120; Mezzadri, arXiv:math-ph/0609050.
    """
    few, many = sorted(shape)
    gaussian = jax.random.normal(key, (few, many), dtype)

    def add(basis: Array, i: Array) -> tuple[Array, None]:
        vector = gaussian[i]
        for _ in range(2):
            vector -= (basis @ vector) @ basis
        return basis.at[i].set(vector / jnp.linalg.norm(vector)), None

    basis, _ = jax.lax.scan(add, jnp.zeros_like(gaussian), jnp.arange(few))
    return scale * (basis if shape[0] == few else basis.T)


class LayerConfig(NamedTuple):
    """How every layer of a network is made."""

    weight_init: str = "lecun"  # torch, lecun or orthogonal
    normalization: str = "none"  # none, layer or batch
    noisy_sigma: float | Array | None = None  # None: no noise
    training: bool = False  # batch: normalise by the minibatch, not by its history
    activation: str = "relu"  # or tanh
    output_scale: float | Array = 2.0**0.5  # orthogonal: of the last layer


class Dense(nn.Module):
    """An affine layer, perhaps with factorised Gaussian noise on its weights.

    y = W x + b + f(e_out) * (S_W (f(e_in) * x) + S_b),  f(e) = sign(e) sqrt(|e|)

    The products of the noise are never formed: two matrix products serve a minibatch in
    which every example has noise of its own. Without a "noise" key there is no noise.

    Reference: Fortunato et al., arXiv:1706.10295, equations 9 to 11; W and b start
    within 1/sqrt(fan_in), S at noisy_sigma / sqrt(fan_in).
    """

    features: int
    style: LayerConfig = LayerConfig()
    scale: float | Array = 2.0**0.5  # of orthogonal weights

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., I] -> [..., features]."""
        fan_in = x.shape[-1]
        bound = fan_in**-0.5

        def uniform(key: Key, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        noisy = self.style.noisy_sigma is not None
        kernel_init = nn.linear.default_kernel_init
        bias_init = nn.initializers.zeros_init()
        if noisy or self.style.weight_init == "torch":
            kernel_init, bias_init = _torch_kernel, uniform
        elif self.style.weight_init == "orthogonal":
            kernel_init = functools.partial(orthogonal, scale=self.scale)
        y = nn.Dense(self.features, kernel_init=kernel_init, bias_init=bias_init)(x)
        if not noisy:
            return y

        def sigma(key: Key, shape: tuple[int, ...]) -> Array:
            del key
            return jnp.full(shape, jnp.float32(self.style.noisy_sigma) * bound)

        weight = self.param("sigma_kernel", sigma, (fan_in, self.features))
        bias = self.param("sigma_bias", sigma, (self.features,))
        if not self.has_rng("noise"):
            return y
        into, out = jax.random.split(self.make_rng("noise"))
        e_in = _squashed_normal(into, fan_in)
        e_out = _squashed_normal(out, self.features)
        spread = jnp.broadcast_to(e_in, x.shape) * x @ weight + _like(bias, y)
        return y + _like(e_out, y) * spread


def _like(x: Array, y: Array) -> Array:
    return jnp.broadcast_to(x, y.shape)


def _squashed_normal(key: Key, size: int) -> Array:
    noise = jax.random.normal(key, (size,))
    return jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))


class Hidden(nn.Module):
    """A dense layer, its normalisation and its activation."""

    features: int
    style: LayerConfig = LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., I] -> [..., features]."""
        x = Dense(self.features, self.style)(x)
        if self.style.normalization == "layer":
            x = LayerNorm()(x)
        elif self.style.normalization == "batch":
            # One example; the minibatch is the axis that `vmap` adds and names.
            x = nn.BatchNorm(
                use_running_average=not self.style.training,
                axis_name=BATCH if self.style.training else None,
                epsilon=1e-5,
            )(x)
        return nn.tanh(x) if self.style.activation == "tanh" else nn.relu(x)


class LayerNorm(nn.Module):
    """y = (x - mean) / sqrt(variance + 1e-5) * scale + bias, over the last axis.

    In the place of flax's, which multiplies scale and 1 / sqrt first: in its gradient a
    CPU writes both out as whole arrays. Milliseconds of an iteration on one core of an
    AMD EPYC, jax 0.10.2, with flax's and with this: Rejax's PQN on CartPole, two seeds,
    15.8 and 14.6; PQN on Breakout-MinAtar, 212 and 209.

    Reference: Ba et al., arXiv:1607.06450, equation 4.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., D] -> [..., D]."""
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(variance + 1e-5)
        return normal * _like(scale, x) + _like(bias, x)


BATCH = "batch"  # name of the axis over the examples of a minibatch


class MLP(nn.Module):
    """Fully connected layers with an activation after each."""

    hidden_sizes: Sequence[int]
    style: LayerConfig = LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[...] -> [hidden_sizes[-1]]."""
        x = x.reshape(-1)
        for size in self.hidden_sizes:
            x = Hidden(size, self.style)(x)
        return x


class MinAtarTorso(nn.Module):
    """The network of Young and Tian (2019): 16 filters of 3 x 3, then 128 units.

    The convolution is written as patches times a matrix. With parameters of its own for
    every seed, `nn.Conv` becomes a grouped convolution, which is slow on every backend:
    941 against 225 us an iteration (H100, 32 seeds, batch 32).

    Reference: arXiv:1903.03176, section 3.
    """

    channels: int = 16
    dense_size: int = 128
    style: LayerConfig = LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels] -> [dense_size]."""
        x = Hidden(self.channels, self.style._replace(noisy_sigma=None))(patches(x, 3))
        return Hidden(self.dense_size, self.style)(x.reshape(-1))


def patches(x: Array, size: int) -> Array:
    """All windows of size x size, as a convolution without padding sees them.

    Args:
        x: [height, width, C].
        size: side of a window.

    Returns:
        [height - size + 1, width - size + 1, size * size * C]; the last axis runs over
        rows, columns and channels of the window.
    """
    # Whole lines are put beside one another first, then cut into windows: runs of
    # size * C numbers, for 71 us in place of 257 by windows of single pixels (CPU, 128
    # MinAtar observations).
    height, width, channels = x.shape
    rows, columns = height - size + 1, width - size + 1
    # A CPU materialises the lines, or XLA converts bits to numbers, and gathers them
    # from the rollout, once for every window: 255 and 98 us for 128 observations.
    lines = primitives.on_cpu(
        primitives.materialise, x.reshape(height, width * channels)
    )
    bands = jnp.concatenate([lines[i : i + rows] for i in range(size)], axis=-1)
    bands = bands.reshape(rows, size, width * channels)
    cuts = [bands[:, :, i * channels : (i + size) * channels] for i in range(columns)]
    return jnp.stack(cuts, axis=1).reshape(rows, columns, size * size * channels)


class ActionValues(nn.Module):
    """The last layers: K outputs for every action, in one stream or two.

    dueling: V + A(a) - mean_a' A(a')

    Reference: Wang et al., arXiv:1511.06581, equation 9 (dueling).
    """

    num_actions: int
    num_outputs: int
    dueling: bool = False
    stream_sizes: Sequence[int] = ()
    style: LayerConfig = LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., D] -> [..., A, K]."""
        advantage = self._stream(x, self.num_actions)
        if not self.dueling:
            return advantage
        value = self._stream(x, 1)
        return value + advantage - jnp.mean(advantage, axis=-2, keepdims=True)

    def _stream(self, x: Array, rows: int) -> Array:
        for size in self.stream_sizes:
            x = Hidden(size, self.style)(x)
        outputs = rows * self.num_outputs
        x = Dense(outputs, self.style, self.style.output_scale)(x)
        return x.reshape(*x.shape[:-1], rows, self.num_outputs)


class QNetwork(nn.Module):
    """A torso and K outputs for every action."""

    torso: nn.Module
    values: ActionValues

    def __call__(self, x: Array) -> Array:
        """[...] -> [A, K]."""
        return self.values(self.torso(x))


class RecurrentQNetwork(nn.Module):
    """A torso, a recurrent cell, and K outputs for every action."""

    torso: nn.Module
    cell: nn.RNNCellBase
    values: ActionValues

    def __call__(self, memory: Array, x: Array) -> tuple[Array, Array]:
        """[M...], [...] -> [M...], [A, K]."""
        memory, x = self.cell(memory, self.torso(x))
        return memory, self.values(x)
