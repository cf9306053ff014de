"""Our keys give jax's bits, through every transformation, and are fenced on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq.xla import prng

DRAWS = {
    "bits": lambda key: jax.random.bits(key, (5, 3)),
    "a bit pattern": jax.random.bits,
    "bytes": lambda key: jax.random.bits(key, (9,), jnp.uint8),
    "uniform": lambda key: jax.random.uniform(key, (7,)),
    "normal": lambda key: jax.random.normal(key, (2, 20)),
    "integers": lambda key: jax.random.randint(key, (9,), 0, 13),
    "permutation": lambda key: jax.random.permutation(key, 100),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (2, 3))),
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, 77)),
    "folded, split, drawn": lambda key: jax.random.uniform(
        jax.random.split(jax.random.fold_in(key, 2**31), 3)[1], (16,)
    ),
}


@pytest.mark.parametrize("name", DRAWS)
def test_bits_are_those_of_jax(name):
    draw = DRAWS[name]
    for seed in (0, 1, 12_345, 2**32 - 1):
        theirs = jax.random.key(np.uint32(seed))
        ours = prng.key(np.uint32(seed))
        expected = draw(theirs)
        assert draw(ours).dtype == expected.dtype
        np.testing.assert_array_equal(draw(ours), expected)
        np.testing.assert_array_equal(jax.jit(draw)(ours), expected)
    twice = jax.jit(jax.vmap(jax.vmap(draw)))
    np.testing.assert_array_equal(
        twice(jax.random.split(ours, (2, 3))), twice(jax.random.split(theirs, (2, 3)))
    )


def test_a_key_is_not_consumed_twice(strict):
    key = prng.key(0)
    jax.random.uniform(key)
    with pytest.raises(Exception, match="consumed"):
        jax.random.uniform(key)


def test_words_of_64_bits_raise():
    with pytest.raises(NotImplementedError, match="64 bits"):
        prng._random_bits(jnp.zeros(2, jnp.uint32), 64, (3,))


def test_bits_are_computed_once_on_a_cpu():
    """They are not recomputed for every element of the table that they index."""

    def draw(key, table):
        rows = jax.random.randint(jax.random.split(key, 3)[1], (64,), 0, 100)
        return table[rows] + 1.0

    keys = jax.vmap(prng.key)(np.arange(3, dtype=np.uint32))
    table = jnp.zeros((3, 100, 7))
    program = jax.jit(jax.vmap(draw)).lower(keys, table).compile().as_text()
    fusions = program.split("\n\n")
    gathering = [body for body in fusions if " gather(" in body]
    hashing = [body for body in fusions if body.count("shift-right-logical(") > 10]
    assert gathering and hashing
    assert not set(gathering) & set(hashing)
    assert " while(" not in program
