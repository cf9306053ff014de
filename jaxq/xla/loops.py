"""Loops and maps whose form XLA handles well on the platform at hand."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.types import Array, PyTree
from jaxq.xla import switch

# Evaluations per chunk on a CPU, so that their activations stay in its caches.
CHUNK_SIZE = 256


def _fori_loop(
    times: int, step: Callable[[Array, PyTree], PyTree], carry: PyTree, clock: Array
) -> PyTree:
    del clock
    return jax.lax.fori_loop(0, times, step, carry)


@switch.tunes(_fori_loop)
def fori_loop(
    times: int, step: Callable[[Array, PyTree], PyTree], carry: PyTree, clock: Array
) -> PyTree:
    """jax.lax.fori_loop(0, times, step, carry); on a CPU, of a length unknown to XLA.

    XLA's CPU compiler dissolves a loop of known length one and then fuses the write of
    a rollout with the reads of the next minibatch, which copies the replay ring. A GPU
    would wait for the host in every pass of a loop of unknown length.
    Makes an iteration 3.7 times as fast; see results/performance.md#opaque-loops.

    Args:
        times: number of passes.
        step: (index, carry) -> carry.
        carry: initial value.
        clock: [] int32, not negative, whose value XLA does not know.
    """

    def opaque(carry: PyTree, clock: Array) -> PyTree:
        return jax.lax.fori_loop(0, times + jnp.minimum(clock, 0), step, carry)

    def known(carry: PyTree, clock: Array) -> PyTree:
        return _fori_loop(times, step, carry, clock)

    return jax.lax.platform_dependent(carry, clock, cpu=opaque, default=known)


@switch.tunes(lambda function, lanes: jax.vmap(function))
def chunked_vmap(
    function: Callable[[PyTree], PyTree], lanes: int
) -> Callable[[PyTree], PyTree]:
    """vmap(function); on a CPU, over `CHUNK_SIZE` evaluations at a time.

    Saves up to 12 % of an iteration; see results/performance.md#chunks.

    Args:
        function: of one element.
        lanes: evaluations per element, which the caller's `vmap` adds.
    """

    def mapped(xs: PyTree) -> PyTree:
        length = jax.tree.leaves(xs)[0].shape[0]
        batch_size = max(1, min(length, CHUNK_SIZE // lanes))
        return jax.lax.platform_dependent(
            xs,
            cpu=functools.partial(jax.lax.map, function, batch_size=batch_size),
            default=jax.vmap(function),
        )

    return mapped


def _vmap(
    function: Callable[..., PyTree], in_axes: PyTree, out_axes: PyTree, size: int
) -> Callable[..., PyTree]:
    return jax.vmap(function, in_axes, out_axes, axis_size=size)


@switch.tunes(_vmap)
def vmap_members(
    function: Callable[..., PyTree], in_axes: PyTree, out_axes: PyTree, size: int
) -> Callable[..., PyTree]:
    """vmap(function, in_axes, out_axes), without an axis where there is one member.

    XLA drops an axis of length one only after it has laid out the gradients of matrix
    products for it, transposed and read with a stride.
    Makes an iteration 2.0 times as fast; see results/performance.md#lone-members.

    Args:
        function: of one member.
        in_axes, out_axes: prefix trees of 0 or None.
        size: number of members.
    """
    if size > 1:
        return jax.vmap(function, in_axes, out_axes)

    def alone(*arguments: PyTree) -> PyTree:
        result = function(*_map_axes(lambda leaf: leaf[0], in_axes, arguments))
        return _map_axes(lambda leaf: leaf[None], out_axes, result)

    return alone


def _map_axes(change: Callable[[Array], Array], axes: PyTree, tree: PyTree) -> Any:
    """Apply `change` to the leaves that have an axis."""
    return jax.tree.map(
        lambda axis, part: part if axis is None else jax.tree.map(change, part),
        axes,
        tree,
        is_leaf=lambda axis: axis is None,
    )
