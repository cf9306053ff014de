"""Building blocks that control how XLA fuses operations."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxq.types import Array

# Longest vector, and most terms of a product, that are cheaper to unroll on a CPU than
# to pass to a kernel. At 8 terms the two are equally fast.
FEW = 6


def on_cpu(f: Callable[[Any], Any], x: Any) -> Any:
    """f(x) on a CPU, x on an accelerator."""
    return jax.lax.platform_dependent(x, cpu=f, default=lambda x: x)


def materialise(x: Array) -> Array:
    """The identity, as an operation that XLA's CPU compiler does not fuse.

    x is computed once and written to memory, however many operations read it. Each
    element is summed with a zero in a window of two, which XLA never fuses; an
    `optimization_barrier` is removed before fusion on a CPU.
    """
    ones = (1,) * (x.ndim - 1)
    return jax.lax.reduce_window(
        x,
        np.zeros((), x.dtype),
        jax.lax.add,
        window_dimensions=(*ones, 2),
        window_strides=(*ones, 2),
        padding=[(0, 0)] * len(ones) + [(0, 1)],
        base_dilation=(*ones, 2),
    )


@jax.custom_vjp
def materialise_cotangent(x: Array) -> Array:
    """The identity, whose cotangent is written to memory once.

    XLA's GPU compiler otherwise computes a concatenated cotangent anew inside every
    product that reads it.
    """
    return x


materialise_cotangent.defvjp(
    lambda x: (x, None), lambda _, bar: (jax.lax.optimization_barrier(bar),)
)
