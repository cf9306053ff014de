"""Layers and output streams, as flax modules for one observation."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.networks import initializers, weight_norms
from jaxq.types import Array, Key
from jaxq.xla import ops

BATCH = "batch"  # name of the `vmap` axis over the examples of a minibatch
RECORDS = "intermediates"  # flax's collection of what modules sow
FEATURES = "features"  # the input of the output layers, among the records


class LayerConfig(NamedTuple):
    """Settings shared by the layers of a network."""

    weight_init: str = "lecun"  # torch, lecun, orthogonal or sparse
    normalization: str = "none"  # none, layer or batch
    noisy_sigma: float | Array | None = None  # None: no noise
    training: bool = False  # batch: normalise by the minibatch, not by running averages
    activation: str = "relu"  # a name in ACTIVATIONS
    output_scale: float | Array = 2.0**0.5  # orthogonal: scale of the last layer
    weight_norm: str = "none"  # none, weight or spectral; of hidden layers
    sparsity: float = 0.9  # sparse: fraction of zeros among the weights of an output


class Dense(nn.Module):
    """An affine layer, optionally with factorised Gaussian noise on its weights.

    y = W x + b + f(e_out) * (S_W (f(e_in) * x) + S_b),  f(e) = sign(e) sqrt(|e|)

    The noise matrix is never formed, so that a minibatch in which every example has its
    own noise still takes two matrix products. Without a "noise" key there is no noise.

    Reference: Fortunato et al., arXiv:1706.10295, equations 9 to 11; W and b are
    initialised within 1/sqrt(fan_in), S at noisy_sigma / sqrt(fan_in).
    """

    features: int
    style: LayerConfig = LayerConfig()
    scale: float | Array = 2.0**0.5  # of orthogonal weights

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., I] -> [..., features]."""
        kernel_init, bias_init = self._initializers(x.shape[-1])
        dense: Callable[..., nn.Module] = nn.Dense
        if self.style.weight_norm != "none" and self.style.noisy_sigma is None:
            dense = functools.partial(
                weight_norms.NormalizedDense, kind=self.style.weight_norm
            )
        y = dense(self.features, kernel_init=kernel_init, bias_init=bias_init)(x)
        if self.style.noisy_sigma is None:
            return y
        return self._add_noise(x, y)

    def _initializers(
        self, fan_in: int
    ) -> tuple[nn.initializers.Initializer, nn.initializers.Initializer]:
        """Initializers of the weights and of the biases."""
        noisy = self.style.noisy_sigma is not None
        if noisy or self.style.weight_init == "torch":
            return initializers.torch_kernel, initializers.torch_bias(fan_in)
        if self.style.weight_init == "orthogonal":
            kernel_init = initializers.orthogonal(self.scale)
        elif self.style.weight_init == "sparse":
            kernel_init = initializers.sparse(self.style.sparsity)
        else:
            kernel_init = nn.initializers.lecun_normal()
        return kernel_init, nn.initializers.zeros_init()

    def _add_noise(self, x: Array, y: Array) -> Array:
        fan_in = x.shape[-1]

        def sigma(key: Key, shape: tuple[int, ...]) -> Array:
            del key
            return jnp.full(shape, jnp.float32(self.style.noisy_sigma) * fan_in**-0.5)

        weight = self.param("sigma_kernel", sigma, (fan_in, self.features))
        bias = self.param("sigma_bias", sigma, (self.features,))
        if not self.has_rng("noise"):
            return y
        in_key, out_key = jax.random.split(self.make_rng("noise"))
        e_in = jnp.broadcast_to(_squashed_normal(in_key, fan_in), x.shape)
        e_out = jnp.broadcast_to(_squashed_normal(out_key, self.features), y.shape)
        spread = e_in * x @ weight + jnp.broadcast_to(bias, y.shape)
        return y + e_out * spread


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
        return activate(Dense(self.features, self.style)(x), self.style)


def activate(x: Array, style: LayerConfig) -> Array:
    """The normalisation and the activation of a layer; inside a compact module."""
    if style.normalization == "layer":
        x = LayerNorm()(x)
    elif style.normalization == "batch":
        # x is one example; the axis of the minibatch is the one named BATCH.
        x = nn.BatchNorm(
            use_running_average=not style.training,
            axis_name=BATCH if style.training else None,
            epsilon=1e-5,
        )(x)
    return Record()(ACTIVATIONS[style.activation](x))


class Record(nn.Module):
    """Passes an activation through; `from_flax.activations` reads it here."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., units] -> the same."""
        self.sow(RECORDS, "activation", x)
        return x


def crelu(x: Array) -> Array:
    """relu(x) and relu(-x), concatenated along the last axis.

    Reference: Shang et al., arXiv:1603.05201; Abbas et al., arXiv:2303.07507.
    """
    return jnp.concatenate([nn.relu(x), nn.relu(-x)], axis=-1)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": nn.relu,
    "tanh": nn.tanh,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "silu": nn.silu,
    "leaky_relu": nn.leaky_relu,
    "crelu": crelu,
}


class LayerNorm(nn.Module):
    """y = (x - mean) / sqrt(variance + 1e-5) * scale + bias, over the last axis.

    Reference: Ba et al., arXiv:1607.06450, equation 4.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., D] -> [..., D]."""
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
        return ops.layer_norm(x, scale, bias)


class ActionValues(nn.Module):
    """The output layers: K outputs for every action, in one stream or two.

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
        last = self.style._replace(weight_norm="none")
        x = Dense(outputs, last, self.style.output_scale)(x)
        return x.reshape(*x.shape[:-1], rows, self.num_outputs)


class QNetwork(nn.Module):
    """A torso and K outputs for every action."""

    torso: nn.Module
    values: ActionValues

    def __call__(self, x: Array) -> Array:
        """[...] -> [A, K]."""
        x = self.torso(x)
        self.sow(RECORDS, FEATURES, x)
        return self.values(x)
