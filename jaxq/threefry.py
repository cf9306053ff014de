"""Threefry keys, hashed in one piece.

They give the bits of jax's own keys; the program differs. On a CPU jax's is a loop of
five passes over a hundred small steps, up to a third of the time of an iteration of a
small network. Here the rounds are written out. XLA would then fuse them into whatever
reads the bits, and compute them anew for every element of a broadcast or a gather; so
on a CPU a draw of several words stands in a loop of one pass, whose length XLA cannot
see. (On a GPU an `optimization_barrier` at the reader does it.)

Microseconds of an iteration of 4 seeds on one core of an AMD EPYC, jax 0.10.2, with
jax's keys and with these: CartPole with a minibatch of 32, 239 and 157; of 128, 557 and
443; Rejax's PQN, 69,000 and 50,000; NoisyNet with 8 environments, 637 and 520 (711
without the loop). A condition in place of the loop was no better.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

from jaxq.types import Array, Key

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(key: tuple[Array, Array], counts: tuple[Array, Array]) -> Array:
    """Threefry-2x32 with 20 rounds, of any shapes that go together.

    Reference: Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3.
    """
    schedule = (*key, key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    x, y = (count + word for count, word in zip(counts, key, strict=True))
    for i in range(5):
        for distance in _ROTATIONS[i % 2]:
            x = x + y
            y = (y << distance | y >> (32 - distance)) ^ x
        x = x + schedule[(i + 1) % 3]
        y = y + schedule[(i + 2) % 3] + jnp.uint32(i + 1)
    return jnp.stack([x, y], axis=-1)


@functools.cache
def _hash(count: int, fence: bool = False) -> Callable[[Array, Array], Array]:
    """(words [..., 2], first [...]) -> hashes of `count` counters, [..., count, 2]."""

    def rounds(words: Array, first: Array) -> Array:
        shape = (*first.shape, count)
        counts = first[..., None] + jax.lax.broadcasted_iota(
            jnp.uint32, shape, first.ndim
        )
        key = (words[..., :1], words[..., 1:])
        return threefry2x32(key, (jnp.zeros_like(counts), counts))

    def fenced(words: Array, first: Array) -> Array:
        word = words.reshape(-1)[0]
        square = (word * word).astype(jnp.int32)  # 0 or 1, modulo 4
        empty = jnp.zeros((*first.shape, count, 2), jnp.uint32)
        # i is 0; without it, the body would be hoisted out of the loop.
        step = lambda i, _: rounds(words, first + i.astype(jnp.uint32))  # noqa: E731
        return jax.lax.fori_loop(0, 1 + (square & 2), step, empty)

    @jax.custom_batching.custom_vmap
    def hashed(words: Array, first: Array) -> Array:
        if not fence:
            return rounds(words, first)
        return jax.lax.platform_dependent(words, first, cpu=fenced, default=rounds)

    @hashed.def_vmap
    def batched(
        size: int, is_batched: list[bool], words: Array, first: Array
    ) -> tuple[Array, bool]:
        words, first = (
            x if is_mapped else jnp.broadcast_to(x, (size, *x.shape))
            for x, is_mapped in zip((words, first), is_batched, strict=True)
        )
        return hashed(words, first), True

    return hashed


def _seed(seed: Array) -> Array:
    return jnp.stack([jnp.uint32(0), seed.astype(jnp.uint32)])


def _split(words: Array, shape: tuple[int, ...]) -> Array:
    return _hash(math.prod(shape))(words, jnp.uint32(0)).reshape(*shape, 2)


def _fold_in(words: Array, data: Array | int) -> Array:
    return _hash(1)(words, jnp.asarray(data, jnp.uint32))[0]


def _random_bits(words: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    if bit_width > 32:  # would need x64
        raise NotImplementedError(f"{bit_width} bits at once: take 32 or fewer.")
    count = math.prod(shape)
    pair = _hash(count, count >= 8)(words, jnp.uint32(0))
    bits = (pair[..., 0] ^ pair[..., 1]).reshape(shape)
    return bits.astype({8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[bit_width])


_THREEFRY = define_prng_impl(
    key_shape=(2,), seed=_seed, split=_split, random_bits=_random_bits,
    fold_in=_fold_in, name="jaxq_threefry", tag="jaxq",
)  # fmt: skip


def key(seed: Array | int) -> Key:
    """The key of a seed below 2**32; its bits are those of `jax.random.key(seed)`."""
    return jax.random.key(seed, impl=_THREEFRY)
