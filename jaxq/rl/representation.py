"""Dormant units of a network."""

import jax.numpy as jnp

from jaxq.types import Array

_TINY = 1e-12  # keeps divisions finite


def unit_scores(activation: Array, weight: Array) -> Array:
    """The mean absolute activation of every unit, over that of the layer.

    s_i = E|h_i| / mean_k E|h_k|; a unit is tau-dormant if s_i <= tau. All units of a
    layer that is zero everywhere have score 0.

    Args:
        activation: [N, ..., F] of F units, or of F filters at several positions.
        weight: [N] weights of the observations.

    Returns:
        [F].

    Reference: Sokar et al., arXiv:2302.12902, definition 3.1.
    """
    positions = jnp.abs(activation).reshape(
        activation.shape[0], -1, activation.shape[-1]
    )
    mean = weight @ jnp.mean(positions, axis=1)
    return mean / jnp.maximum(jnp.mean(mean), _TINY)
