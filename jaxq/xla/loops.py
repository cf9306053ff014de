"""Loops and maps whose form XLA handles well on the platform at hand."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.types import Array, PyTree
from jaxq.xla import platforms, switch

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


@switch.tunes(lambda steps, layers: steps)
def unroll_of_platform(
    steps: Callable[..., PyTree], layers: Callable[..., PyTree]
) -> Callable[..., PyTree]:
    """`steps` on a CPU, `layers` on an accelerator.

    On a GPU every kernel in the body of a loop is launched once per step, and reads the
    parameters again.
    A third of R2D2's launches remain; see results/performance.md#sequences.

    Args:
        steps: all layers of a recurrent network, step by step.
        layers: the same function, its layers before and after the cell over all steps
            at once.
    """
    return platforms.by_platform(cpu=steps, default=layers)


# (weights, carry, x [...], further inputs) -> (carry, output)
Step = Callable[[PyTree, PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]


def _scan(
    step: Step, weights: PyTree, carry: PyTree, xs: PyTree, extra: PyTree
) -> tuple[PyTree, PyTree]:
    return jax.lax.scan(lambda carry, x: step(weights, carry, *x), carry, (xs, extra))


@switch.tunes(_scan)
def scan_with_weights(
    step: Step, weights: PyTree, carry: PyTree, xs: PyTree, extra: PyTree
) -> tuple[PyTree, PyTree]:
    """jax.lax.scan, with a gradient for accelerators.

    The loop of the backward pass computes the gradient of the carry alone. The gradient
    of the weights is then one product over all steps instead of a sum of one product
    per step, for which each step is computed a second time.
    Half of R2D2's launches; see results/performance.md#sequences.

    Args:
        step: (weights, carry, x, extra) -> (carry, output); closes over no arrays.
        weights: of the step.
        carry: initial value.
        xs: [T, ...], differentiable.
        extra: [T, ...], not differentiable.

    Returns:
        The last carry, and the outputs [T, ...].
    """
    return _scan_with_weights(step, weights, carry, xs, extra)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan_with_weights(
    step: Step, weights: PyTree, carry: PyTree, xs: PyTree, extra: PyTree
) -> tuple[PyTree, PyTree]:
    return _scan(step, weights, carry, xs, extra)


def _scan_forward(
    step: Step, weights: PyTree, carry: PyTree, xs: PyTree, extra: PyTree
) -> tuple[PyTree, PyTree]:
    def body(carry: PyTree, x: PyTree) -> tuple[PyTree, PyTree]:
        after, output = step(weights, carry, *x)
        return after, (carry, output)

    last, (carries, outputs) = jax.lax.scan(body, carry, (xs, extra))
    return (last, outputs), (weights, carries, xs, extra)


def _scan_backward(step: Step, residuals: PyTree, cotangents: PyTree) -> PyTree:
    weights, carries, xs, extra = residuals
    last_bar, outputs_bar = cotangents

    def body(carry_bar: PyTree, inputs: PyTree) -> tuple[PyTree, PyTree]:
        carry, x, output_bar = inputs
        _, pull = jax.vjp(lambda carry: step(weights, carry, *x), carry)
        return pull((carry_bar, output_bar))[0], carry_bar

    inputs = carries, (xs, extra), outputs_bar
    first_bar, carries_bar = jax.lax.scan(body, last_bar, inputs, reverse=True)

    def steps(weights: PyTree, xs: PyTree) -> PyTree:
        return jax.vmap(step, in_axes=(None, 0, 0, 0))(weights, carries, xs, extra)

    _, pull = jax.vjp(steps, weights, xs)
    weights_bar, xs_bar = pull((carries_bar, outputs_bar))
    return weights_bar, first_bar, xs_bar, None


_scan_with_weights.defvjp(_scan_forward, _scan_backward)


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
