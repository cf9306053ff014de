"""Initializers of weights and biases."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.types import Array, Key
from jaxq.xla import ops

# U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for weights.
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias(fan_in: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for biases."""
    bound = fan_in**-0.5

    def init(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def orthogonal(scale: float | Array = 1.0) -> nn.initializers.Initializer:
    """`scale` times a random matrix; its rows or columns, the fewer, are orthonormal.

    Reference: Saxe et al., arXiv:1312.6120.
    """

    def init(key: Key, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32) -> Array:
        return ops.orthogonal(key, shape, dtype, scale)

    return init


def sparse(sparsity: float) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), with a fraction of zeros for every output.

    Args:
        sparsity: fraction of the inputs of an output whose weights are zero.

    Reference: Elsayed et al., arXiv:2410.14606, algorithm 1.
    """

    def init(key: Key, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32) -> Array:
        weight_key, order_key = jax.random.split(key)
        order = jnp.argsort(jax.random.uniform(order_key, shape), axis=0)
        zeros = math.ceil(sparsity * shape[0])
        return jnp.where(order < zeros, 0.0, torch_kernel(weight_key, shape, dtype))

    return init
