"""Ranks of the features of a network, on the host."""

import numpy as np


def singular_values(features: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Singular values of the features of weighted observations, in descending order.

    Args:
        features: [..., N, D].
        weight: [..., N].

    Returns:
        [..., min(N, D)].
    """
    scaled = np.sqrt(weight)[..., None] * features.astype(np.float64)
    return np.linalg.svd(scaled, compute_uv=False)


def effective_rank(values: np.ndarray, delta: float = 0.01) -> np.ndarray:
    """The least k whose k largest singular values are 1 - delta of their sum; srank.

    Args:
        values: [..., D] in descending order.
        delta: share that is left out.

    Returns:
        [...]; 0 if all values are 0.

    Reference: Kumar et al., arXiv:2010.14498, definition 1.
    """
    total = values.sum(axis=-1, keepdims=True)
    below = np.cumsum(values, axis=-1) < (1.0 - delta) * total
    return below.sum(axis=-1) + (total[..., 0] > 0)


def stable_rank(values: np.ndarray) -> np.ndarray:
    """sum(sigma^2) / sigma_1^2: a rank that small singular values hardly change.

    Args:
        values: [..., D] in descending order.

    Returns:
        [...]; 0 if all values are 0.

    Reference: Rudelson and Vershynin, arXiv:math/0503442.
    """
    largest = values[..., 0] ** 2
    total = np.sum(values**2, axis=-1)
    return np.divide(total, largest, out=np.zeros_like(total), where=largest > 0)
