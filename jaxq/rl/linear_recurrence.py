"""Linear recurrences along a sequence of episodes, by an associative scan."""

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array


def resettable_scan(
    decay: Array, drive: Array, ended: Array, memory: Array, initial: Array
) -> tuple[Array, Array]:
    """States of a diagonal linear recurrence that starts anew after each episode.

    h_t = a_t m_t + b_t,  m_0 = memory,  m_t = initial if ended_{t-1}, else h_{t-1}

    Step t is the affine map h -> a_t h + b_t. Affine maps compose associatively,

    (c, d) after (a, b) = (c a, c b + d),

    so a scan of depth O(log T) composes them. A step whose m_t is known is the constant
    map (0, a_t m_t + b_t), through which nothing earlier passes.

    Args:
        decay: a, [T, ...], real or complex.
        drive: b, [T, ...].
        ended: [T] bool: whether the episode ends with this step.
        memory: [...] before the first step.
        initial: [...] at the start of an episode.

    Returns:
        The states h, [T, ...], and the memory [...] after the last step.

    Reference: Blelloch (1990), "Prefix Sums and Their Applications"; Lu et al.,
    arXiv:2303.03982 (resets).
    """
    chex.assert_equal_shape([decay, drive])
    chex.assert_shape([memory, initial], drive.shape[1:])
    chex.assert_shape(ended, drive.shape[:1])
    first = jnp.arange(ended.size) == 0
    known = _like(first | jnp.roll(ended, 1), drive)
    given = jnp.where(_like(first, drive), memory[None], initial[None])
    offset = jnp.where(known, decay * given + drive, drive)
    factor = jnp.where(known, jnp.zeros_like(decay), decay)

    def after(
        earlier: tuple[Array, Array], later: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        (a, b), (c, d) = earlier, later
        return c * a, c * b + d

    _, states = jax.lax.associative_scan(after, (factor, offset))
    return states, jnp.where(ended[-1], initial, states[-1])


def _like(flag: Array, x: Array) -> Array:
    """[T] with as many axes as x[T, ...]."""
    return jnp.broadcast_to(flag.reshape(-1, *[1] * (x.ndim - 1)), x.shape)
