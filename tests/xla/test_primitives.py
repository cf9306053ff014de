"""Building blocks for a CPU's compiler change no value, and have their effect."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.xla import primitives


def test_materialise_is_the_identity(rng):
    for shape in ((1,), (5,), (2, 3), (2, 1, 4)):
        x = rng.integers(0, 2**32, shape, dtype=np.uint32)
        np.testing.assert_array_equal(primitives.materialise(x), x)


def test_materialise_has_a_gradient(rng):
    x = rng.normal(size=(3, 4)).astype(np.float32)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(primitives.materialise(x) ** 2)))(x)
    np.testing.assert_allclose(slope, 2 * x, rtol=1e-6)
