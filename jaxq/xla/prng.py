"""Threefry keys that XLA compiles well: the bits of `jax.random.key`, faster.

On a CPU, jax's implementation is a loop of five passes over a hundred small operations.
Here the rounds are unrolled. XLA would then fuse them into every operation that reads
the bits, recompute them for each element of a broadcast or gather, and take minutes to
compile a chain of keys; so on a CPU the bits are materialised. On a GPU the reader's
`fence` serves the same purpose.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

from jaxq.types import Array, Key
from jaxq.xla import primitives, switch

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _threefry2x32(
    key: tuple[Array, Array], counts: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds, of arrays that broadcast together.

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
    return x, y


def _hash(words: Array, first: Array, count: int) -> Array:
    """Hashes of `count` counters from `first`, with the key words [2]; [count, 2]."""
    counts = first + jax.lax.iota(jnp.uint32, count)
    x, y = _threefry2x32((words[0], words[1]), (jnp.zeros_like(counts), counts))
    pair = jnp.stack([x, y], axis=-1)
    return primitives.on_cpu(primitives.materialise, pair)


def _seed(seed: Array) -> Array:
    return jnp.stack([jnp.uint32(0), seed.astype(jnp.uint32)])


def _split(words: Array, shape: tuple[int, ...]) -> Array:
    return _hash(words, jnp.uint32(0), math.prod(shape)).reshape(*shape, 2)


def _fold_in(words: Array, data: Array | int) -> Array:
    return _hash(words, jnp.asarray(data, jnp.uint32), 1)[0]


def _random_bits(words: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    if bit_width > 32:  # would need x64
        raise NotImplementedError(
            f"cannot draw words of {bit_width} bits; use 8, 16 or 32"
        )
    pair = _hash(words, jnp.uint32(0), math.prod(shape))
    bits = (pair[..., 0] ^ pair[..., 1]).reshape(shape)
    return bits.astype({8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[bit_width])


_THREEFRY = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="jaxq_threefry",
    tag="jaxq",
)


@switch.tunes(jax.random.key)
def key(seed: Array | int) -> Key:
    """Key of a seed below 2^32, with the bits of `jax.random.key(seed)`.

    Saves up to 26 % of an iteration; see results/performance.md#keys.
    """
    return jax.random.key(seed, impl=_THREEFRY)
