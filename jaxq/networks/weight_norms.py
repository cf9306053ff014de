"""Affine layers whose weights are divided by a norm."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.types import Array

_TINY = 1e-12  # keeps divisions by a norm finite


class NormalizedDense(nn.Module):
    """An affine layer whose weights are divided by a norm.

    weight: W = g v / |v| for every output, with g learned, and |v| at first.
    spectral: W = V / sigma(V), with sigma the largest singular value.

    Reference: Salimans and Kingma, arXiv:1602.07868 (weight); Miyato et al.,
    arXiv:1802.05957, and Gogianu et al., arXiv:2105.05246 (spectral).
    """

    features: int
    kernel_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer
    kind: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., I] -> [..., features]."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", self.bias_init, (self.features,))
        if self.kind == "weight":
            norm = jnp.linalg.norm(kernel, axis=0)
            scale = self.param("scale", lambda key: norm)
            kernel = kernel * (scale / jnp.maximum(norm, _TINY))[None]
        else:
            kernel = kernel / jnp.maximum(spectral_norm(kernel), _TINY)
        y = x @ kernel
        return y + jnp.broadcast_to(bias, y.shape)


def spectral_norm(kernel: Array, iterations: int = 10) -> Array:
    """The largest singular value, by power iteration from a fixed start.

    sigma = u' W v, whose gradient takes the singular vectors u and v as constants.
    Differs from Miyato et al., who keep u and make one iteration per step.

    Args:
        kernel: [I, O].
        iterations: number of iterations; an underestimate otherwise.

    Returns:
        [].
    """
    matrix = jax.lax.stop_gradient(kernel)
    right = jnp.ones(kernel.shape[1])
    for _ in range(iterations):
        left = _unit(matrix @ right)
        right = _unit(left @ matrix)
    return left @ kernel @ right


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x), _TINY)
