"""Operations of jax and flax, written so that XLA computes them fast."""

import functools
from typing import cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxq.types import Array, Key, PyTree
from jaxq.xla import primitives, switch


@switch.tunes(lambda key, count, bound: jax.random.randint(key, (count,), 0, bound))
def randint(key: Key, count: int, bound: Array) -> Array:
    """Uniform integers in [0, bound): floor(bits * bound / 2^32), exactly.

    Same distribution as `jax.random.randint`, but other integers. One hash per integer
    instead of two, a split and two remainders; frequencies deviate by at most
    bound / 2^32, 0.02 % at 10^6. See results/performance.md#integers.

    Args:
        key: consumed.
        count: B.
        bound: [] int32, at least 1.

    Returns:
        [B] int32.
    """
    bits = jax.random.bits(key, (count,), jnp.uint32)
    high, low = bits >> 16, bits & 0xFFFF
    bound = bound.astype(jnp.uint32)
    bound_high, bound_low = bound >> 16, bound & 0xFFFF
    first, second = high * bound_low, low * bound_high
    carry = (first & 0xFFFF) + (second & 0xFFFF) + (low * bound_low >> 16)
    whole = high * bound_high + (first >> 16) + (second >> 16) + (carry >> 16)
    return whole.astype(jnp.int32)


@switch.tunes(jax.random.permutation)
def permutation(key: Key, count: int) -> Array:
    """The integers below `count` in random order; [count] int32.

    Same distribution as `jax.random.permutation`, but another permutation. Sorts words
    whose high bits are random and whose low bits are the integer. Integers with equal
    random bits keep their order, at most 1 pair in 2^16; more than 2^16 integers are
    permuted by jax. 8 times as fast; see results/performance.md#permutation.
    """
    width = (count - 1).bit_length()
    if width > 16:
        return jax.random.permutation(key, count)
    low = jnp.uint32((1 << width) - 1)
    bits = jax.random.bits(key, (count,), jnp.uint32)
    words = (bits & ~low) | jnp.arange(count, dtype=jnp.uint32)
    return (jnp.sort(words) & low).astype(jnp.int32)


@switch.tunes(lambda t, count: jnp.cos(jnp.pi * t * jnp.arange(count)))
def cos_multiples(t: Array, count: int) -> Array:
    """cos(pi i t) for i = 0 ... count - 1 and t in [0, 1]; [] -> [count].

    Equals `jnp.cos` up to rounding. The angle is reduced to a turn, where the series
    of the cosine to the 20th power is exact to rounding; `jnp.cos` reduces angles of
    any size. 13 times as fast; see results/performance.md#cosines.
    """
    turns = t * jnp.arange(count) / 2.0
    turns -= jnp.round(turns)
    square = (2.0 * jnp.pi * turns) ** 2
    value = jnp.ones(count)
    for k in range(10, 0, -1):
        value = 1.0 - square / ((2 * k - 1) * (2 * k)) * value
    return value


def _flax_layer_norm(x: Array, scale: Array, bias: Array) -> Array:
    params = {"params": {"scale": scale, "bias": bias}}
    return cast(Array, nn.LayerNorm(epsilon=1e-5).apply(params, x))


@switch.tunes(_flax_layer_norm)
def layer_norm(x: Array, scale: Array, bias: Array) -> Array:
    """(x - mean) / sqrt(variance + 1e-5) * scale + bias, over the last axis.

    Equals flax's LayerNorm up to rounding. flax multiplies scale and 1 / sqrt first; a
    CPU then writes both to memory in the backward pass.
    Saves up to 8 % of an iteration; see results/performance.md#layer-norm.

    Args:
        x: [..., D].
        scale, bias: [D].

    Reference: Ba et al., arXiv:1607.06450, equation 4.
    """
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    normal = centred * jax.lax.rsqrt(variance + 1e-5)
    scale, bias = (jnp.broadcast_to(leaf, x.shape) for leaf in (scale, bias))
    return normal * scale + bias


@switch.tunes(optax.tree.norm)
def global_norm(tree: PyTree) -> Array:
    """Euclidean norm of all leaves together.

    2 % of an update; see results/performance.md#norms.
    """
    return optax.tree.norm(primitives.on_cpu(jax.lax.optimization_barrier, tree))


def _windows(x: Array, size: int, binary: bool = False) -> Array:
    del binary  # the same windows
    rows, columns = x.shape[0] - size + 1, x.shape[1] - size + 1
    cuts = [x[i : i + rows, j : j + columns] for i in range(size) for j in range(size)]
    return jnp.concatenate(cuts, axis=-1)


@switch.tunes(_windows)
def patches(x: Array, size: int, binary: bool = False) -> Array:
    """All windows of size x size, as a convolution without padding sees them.

    A CPU cuts them from bands of whole rows, in runs of size * C numbers; on a GPU the
    bands would pass through memory a second time. There, windows of zeros and ones
    pass through memory as bytes, and become numbers in the product that reads them.
    3.6 times as fast; see results/performance.md#patches.

    Args:
        x: [height, width, C].
        size: side of a window.
        binary: whether x has no other values than 0 and 1.

    Returns:
        [height - size + 1, width - size + 1, size * size * C]; the last axis runs over
        rows, columns and channels of the window.
    """
    return jax.lax.platform_dependent(
        x,
        cpu=functools.partial(_windows_of_bands, size=size),
        default=functools.partial(_windows_of_bits if binary else _windows, size=size),
    )


def _windows_of_bits(x: Array, size: int) -> Array:
    bits = jax.lax.optimization_barrier(_windows(x != 0, size))
    return bits.astype(x.dtype)


def _windows_of_bands(x: Array, size: int) -> Array:
    height, width, channels = x.shape
    rows, columns = height - size + 1, width - size + 1
    # Otherwise bits are unpacked and converted again for every window.
    lines = primitives.materialise(x.reshape(height, width * channels))
    bands = jnp.concatenate([lines[i : i + rows] for i in range(size)], axis=-1)
    bands = bands.reshape(rows, size, width * channels)
    cuts = [bands[:, :, i * channels : (i + size) * channels] for i in range(columns)]
    return jnp.stack(cuts, axis=1).reshape(rows, columns, size * size * channels)


def _qr_orthogonal(
    key: Key,
    shape: tuple[int, int],
    dtype: jnp.dtype = jnp.float32,
    scale: float | Array = 1.0,
) -> Array:
    return jax.nn.initializers.orthogonal(scale)(key, shape, dtype)


@switch.tunes(_qr_orthogonal)
def orthogonal(
    key: Key,
    shape: tuple[int, int],
    dtype: jnp.dtype = jnp.float32,
    scale: float | Array = 1.0,
) -> Array:
    """A uniformly random matrix whose rows or columns, the fewer, are orthonormal.

    Same distribution as `jax.nn.initializers.orthogonal`, but another matrix.
    Gram-Schmidt on Gaussian vectors, repeated once against rounding, because QR
    factorizations batched over seeds can deadlock on a CPU; see
    results/performance.md#orthogonal.

    Reference: Saxe et al., arXiv:1312.6120; Mezzadri, arXiv:math-ph/0609050.
    """
    few, many = sorted(shape)
    gaussian = jax.random.normal(key, (few, many), dtype)

    def add(basis: Array, i: Array) -> tuple[Array, None]:
        vector = gaussian[i]
        for _ in range(2):
            vector -= (basis @ vector) @ basis
        return basis.at[i].set(vector / jnp.linalg.norm(vector)), None

    basis, _ = jax.lax.scan(add, jnp.zeros_like(gaussian), jnp.arange(few))
    return scale * (basis if shape[0] == few else basis.T)
