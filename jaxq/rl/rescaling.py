"""Compression of large returns."""

import jax.numpy as jnp

from jaxq.types import Array

RESCALING = 1e-3  # c, the slope of `rescale` far from zero


def rescale(x: Array) -> Array:
    """Compress large returns, elementwise: h(x) = sign(x) (sqrt(|x| + 1) - 1) + c x.

    Reference: Pohlen et al., arXiv:1805.11593, proposition A.2; c is that of
    Kapturowski et al. (2019), R2D2.
    """
    # The first term is x / (sqrt(|x| + 1) + 1), which neither cancels near zero nor
    # loses its slope there.
    return x / (jnp.sqrt(jnp.abs(x) + 1.0) + 1.0) + RESCALING * x


def unrescale(y: Array) -> Array:
    """The inverse of `rescale`; minus infinity, an invalid action, is kept."""
    b, c = 1.0 + 2.0 * RESCALING, RESCALING
    finite = jnp.where(jnp.isfinite(y), y, 0.0)
    # Solves c u^2 + u - (1 + c + |y|) = 0 for u = sqrt(|x| + 1); u - 1 = |root|.
    root = 2.0 * finite / (b + jnp.sqrt(b**2 + 4.0 * c * jnp.abs(finite)))
    return jnp.where(jnp.isfinite(y), root * (jnp.abs(root) + 2.0), y)
