"""Tuned lookups change no value, and are compiled as they are meant to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq.xla import indexing


@pytest.mark.parametrize("shape", [(7, 1), (5, 4), (3, 6), (5, 7), (4,), (2, 3, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, bool])
def test_by_number_is_the_identity(shape, dtype, rng):
    x = rng.integers(0, 2, (3, *shape)).astype(dtype)
    found = jax.jit(jax.vmap(indexing.column_major_rows))(x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, x)


def test_short_vectors_are_gathered_number_by_number():
    def gathering(numbers):
        def draw(table, rows):
            chosen = table.at[rows].get(mode="promise_in_bounds")
            return jax.lax.optimization_barrier(indexing.column_major_rows(chosen))

        shapes = jnp.zeros((3, 100, numbers)), jnp.zeros((3, 32), jnp.int32)
        program = jax.jit(jax.vmap(draw)).lower(*shapes).compile().as_text()
        (body,) = [body for body in program.split("\n\n") if " gather(" in body]
        return body.splitlines()[-2]  # ROOT

    assert "f32[3,4,32]" in gathering(4)
    assert "f32[3,32,7]" in gathering(7)
