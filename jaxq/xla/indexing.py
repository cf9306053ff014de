"""Indices and lookups that XLA computes once and in place."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.types import Array, PyTree
from jaxq.xla import primitives, switch


@switch.tunes(lambda tree: tree)
def fence(tree: PyTree) -> PyTree:
    """The identity, across which the GPU compiler does not fuse.

    Random indices that are fused into a gather are recomputed for each element read.
    Makes an iteration 3.6 times as fast; see results/performance.md#fences.
    """
    return jax.lax.optimization_barrier(tree)


@switch.tunes(lambda read, *index: jax.vmap(read)(*index))
def gather(read: Callable[..., PyTree], *index: Array) -> PyTree:
    """vmap(read)(*index), with a fence before and after.

    Args:
        read: (index, ...) -> pytree, for one element.
        index: [B] each.

    Makes an iteration 3.6 times as fast; see results/performance.md#fences.
    """
    gathered = jax.vmap(read)(*fence(index))
    return fence(jax.tree.map(column_major_rows, gathered))


@switch.tunes(lambda x: x)
def column_major_rows(x: Array) -> Array:
    """The identity of short vectors x[B, D], stored as [D, B] on a CPU.

    5 % of an iteration; see results/performance.md#column-major-rows.
    """
    if x.ndim != 2 or x.shape[1] > primitives.FEW or x.dtype != np.float32:
        return x
    return primitives.on_cpu(lambda x: primitives.materialise(x.T).T, x)


def _divmod(index: Array, columns: int) -> tuple[Array, Array]:
    row, column = jnp.divmod(index, columns)
    return row, column


@switch.tunes(_divmod)
def row_and_column(index: Array, columns: int) -> tuple[Array, Array]:
    """divmod(index, columns) of indices that are not negative; int32.

    Unsigned division needs no correction for negative numbers, which a CPU would
    compute for each element gathered; see results/performance.md#unsigned-indices.
    """
    row, column = jnp.divmod(index.astype(jnp.uint32), columns)
    return row.astype(jnp.int32), column.astype(jnp.int32)


@switch.tunes(lambda x, row, column: x[row % x.shape[0], column])
def ring_get(x: Array, row: Array, column: Array) -> Array:
    """x[row mod R, column] for x[R, C, ...] and indices that are not negative.

    Unsigned like `row_and_column`, and without a check of the bounds; see
    results/performance.md#unsigned-indices.
    """
    row, column = row.astype(jnp.uint32), column.astype(jnp.uint32)
    return x.at[row % x.shape[0], column].get(mode="promise_in_bounds")


def _set_largest(x: Array, index: Array, value: Array) -> Array:
    return x.at[index].set(0.0).at[index].max(value)


@switch.tunes(_set_largest)
def set_largest(x: Array, index: Array, value: Array) -> Array:
    """Set x[index] to `value`; where an index repeats, to its largest value.

    The zero written first is computed from `value`. The write thereby depends on
    whatever `value` was computed from, so XLA orders it after those reads and updates x
    in place instead of copying it; see results/performance.md#in-place-writes.

    Args:
        x: [N].
        index: [B] int32, within bounds.
        value: [B], not negative.
    """
    zero = jnp.minimum(value, 0.0)
    cleared = x.at[index].set(zero, mode="promise_in_bounds")
    return cleared.at[index].max(value, mode="promise_in_bounds")
