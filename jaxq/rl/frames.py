"""Stacks of the last k frames of an episode, the oldest first.

A frame [height, width] or a number gets a new last axis, of length k. Frames of other
shapes are joined along their last axis: [height, width, C] to [height, width, k C], and
a vector [D] to [k D]. An episode starts with k copies of its first frame.
"""

import jax
import jax.numpy as jnp

from jaxq.types import Array, MaskedObservation, PyTree


def join(frames: PyTree) -> PyTree:
    """A stack from its frames; leaves [k, ...]. A mask is that of the newest frame."""
    if isinstance(frames, MaskedObservation):
        newest_mask = frames.action_mask[-1]
        return MaskedObservation(join(frames.observation), newest_mask)

    def join_array(x: Array) -> Array:
        last_axis = x.ndim - 1
        if _has_own_axis(x.shape[1:]):
            return jnp.moveaxis(x, 0, last_axis)
        x = jnp.moveaxis(x, 0, last_axis - 1)
        return x.reshape(*x.shape[:-2], -1)

    return jax.tree.map(join_array, frames)


def split(stack: PyTree, frame: PyTree) -> PyTree:
    """The frames of a stack, with a leading axis [k]; the inverse of `join`.

    Args:
        stack: a stack.
        frame: a frame, or its shapes and dtypes.
    """
    if isinstance(stack, MaskedObservation):
        frames = split(stack.observation, frame.observation)
        count = jax.tree.leaves(frames)[0].shape[0]
        masks = jnp.broadcast_to(stack.action_mask, (count, *frame.action_mask.shape))
        return MaskedObservation(frames, masks)

    def split_array(x: Array, like: Array | jax.ShapeDtypeStruct) -> Array:
        if _has_own_axis(like.shape):
            return jnp.moveaxis(x, -1, 0)
        x = x.reshape(*like.shape[:-1], -1, like.shape[-1])
        return jnp.moveaxis(x, -2, 0)

    return jax.tree.map(split_array, stack, frame)


def newest(stack: PyTree, frame: PyTree) -> PyTree:
    """The newest frame of a stack; arguments as in `split`."""
    return jax.tree.map(lambda leaf: leaf[-1], split(stack, frame))


def start(frame: PyTree, count: int) -> PyTree:
    """The stack at the start of an episode: `count` copies of its first frame."""
    repeat = lambda x: jnp.broadcast_to(x, (count, *x.shape))  # noqa: E731
    return join(jax.tree.map(repeat, frame))


def push(stack: PyTree, frame: PyTree) -> PyTree:
    """A stack without its oldest frame, and with a new one."""
    frames = split(stack, frame)
    pushed = jax.tree.map(
        lambda old, new: jnp.concatenate([old[1:], new[None]]), frames, frame
    )
    return join(pushed)


def _has_own_axis(shape: tuple[int, ...]) -> bool:
    """Whether frames of a shape are stacked along a new axis."""
    return len(shape) in (0, 2)
