"""Threefry keys, each hashed in one piece.

They give the bits of jax's own keys; the program differs. On a CPU jax's is a loop of
five passes over a hundred small steps, up to a third of the time of an iteration of a
small network. Here the rounds are written out. XLA would then fuse them into whatever
reads the bits, compute them anew for every element of a broadcast or a gather, and need
minutes to compile a chain of keys (jax 0.11.2). So on a CPU they are materialised. (On
a GPU an `optimization_barrier` at the reader does it.)

Microseconds of an iteration of 4 seeds on one core of an AMD EPYC, jax 0.10.2, with
jax's keys and with these: CartPole with a minibatch of 32, 239 and 176; of 128, 557 and
427; Breakout-MinAtar, 3,116 and 2,726; Rejax's PQN, 69,000 and 51,000. As fences, a
condition or a loop of one pass in place of the sum cost 5 us each.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

from jaxq.types import Array, Key
from jaxq.xla import primitives

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(
    key: tuple[Array, Array], counts: tuple[Array, Array]
) -> tuple[Array, Array]:
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
    return x, y


def _hash(words: Array, first: Array, count: int) -> Array:
    """Hashes of `count` counters from `first`, with the key words [2]; [count, 2]."""
    counts = first + jax.lax.iota(jnp.uint32, count)
    x, y = threefry2x32((words[0], words[1]), (jnp.zeros_like(counts), counts))
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
        raise NotImplementedError(f"{bit_width} bits at once: take 32 or fewer.")
    pair = _hash(words, jnp.uint32(0), math.prod(shape))
    bits = (pair[..., 0] ^ pair[..., 1]).reshape(shape)
    return bits.astype({8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[bit_width])


_THREEFRY = define_prng_impl(
    key_shape=(2,), seed=_seed, split=_split, random_bits=_random_bits,
    fold_in=_fold_in, name="jaxq_threefry", tag="jaxq",
)  # fmt: skip


def key(seed: Array | int) -> Key:
    """The key of a seed below 2**32; its bits are those of `jax.random.key(seed)`."""
    return jax.random.key(seed, impl=_THREEFRY)
