"""What XLA's CPU compiler is told and an accelerator's is not."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxq.types import Array


def on_cpu(f: Callable[[Any], Any], x: Any) -> Any:
    """f(x) on a CPU, x on an accelerator."""
    return jax.lax.platform_dependent(x, cpu=f, default=lambda x: x)


def materialise(x: Array) -> Array:
    """x, which XLA's CPU compiler computes once and does not fuse into what reads it.

    A sum over windows of one element and a zero: it fuses no such sum.
    """
    ones = (1,) * (x.ndim - 1)
    return jax.lax.reduce_window(
        x, np.zeros((), x.dtype), jax.lax.add, (*ones, 2), (*ones, 2),
        [(0, 0)] * len(ones) + [(0, 1)], base_dilation=(*ones, 2),
    )  # fmt: skip
