"""Products of few terms and biases of few channels, in forms that a CPU vectorises."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives as jaxpr_primitives

from jaxq.types import Array
from jaxq.xla import primitives


def adds_bias(equation: core.JaxprEqn, made: set[int]) -> bool:
    """Whether it adds [1, ..., 1, C] to a product [B, ..., C] of several positions."""
    if (
        equation.primitive is not jaxpr_primitives.add_p
        or id(equation.invars[0]) not in made
    ):
        return False
    operands: list[Any] = [variable.aval for variable in equation.invars]
    x, bias = (aval.shape for aval in operands)
    positions, channels = x[1:-1], x[-1:]
    repeated = bias == (1,) * (len(x) - 1) + channels and np.prod(positions) > 1
    return bool(repeated and np.prod(x))


@jax.jit
def add_bias(x: Array, bias: Array) -> Array:
    """X + bias, with the bias repeated for a whole row of positions on a CPU.

    XLA vectorises what follows only along runs longer than the channels.
    4 % of an update; see results/performance.md#small-products.

    Args:
        x: [B, ..., C].
        bias: [1, ..., 1, C].
    """
    return jax.lax.platform_dependent(x, bias, cpu=_add_rows, default=jax.lax.add)


def _add_rows(x: Array, bias: Array) -> Array:
    rows = x.reshape(x.shape[0], -1)
    repeated = jnp.tile(bias.reshape(-1), rows.shape[1] // bias.size)
    return (rows + primitives.materialise(repeated)[None]).reshape(x.shape)


def sum_of_few(left: Array, right: Array, numbers: Any, result: Any) -> Array:
    """A product of few terms, written out, so that XLA fuses it with what follows.

    4 % of an update; see results/performance.md#small-products.
    """

    def terms(x: Array, summed: Sequence[int], batched: Sequence[int]) -> Array:
        """[terms, batch..., free...]."""
        free = [axis for axis in range(x.ndim) if axis not in (*summed, *batched)]
        x = x.transpose(*summed, *batched, *free)
        return x.reshape(-1, *x.shape[len(summed) :])

    def outer(x: Array, y: Array) -> Array:
        return x.reshape(*x.shape, *[1] * y.ndim) * y.reshape(*[1] * x.ndim, *y.shape)

    summed, batched = numbers
    x, y = map(terms, (left, right), summed, batched)
    for _ in batched[0]:
        outer = jax.vmap(outer)
    total = outer(x[0], y[0])
    for k in range(1, x.shape[0]):
        total += outer(x[k], y[k])
    return total.astype(result or total.dtype)
