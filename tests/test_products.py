"""Gradients whose products are rewritten are those that were not."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxq import layers, products

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


# The first is transposed in the first and last case, the second in the others.
@pytest.mark.parametrize(
    "shape", [(32, 2, 64), (32, 64, 2), (32, 64, 64), (1, 3, 5), (2048, 16, 36)]
)
@pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap])
def test_a_sum_of_outer_products(rng, shape, how):
    size, rows, columns = shape
    left = rng.normal(size=(3, size, rows)).astype(np.float32)
    right = rng.normal(size=(3, size, columns)).astype(np.float32)
    expected = np.zeros((3, rows, columns))
    for seed in range(3):
        for k in range(size):
            expected[seed] += np.outer(left[seed, k], right[seed, k])
    product = how(products.sum_of_outer_products)
    found = (
        product(left, right)
        if how is jax.vmap
        else np.stack([product(*pair) for pair in zip(left, right, strict=True)])
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


class Recurrent(nn.Module):
    """A cell over a sequence [T, I]: its products stand in a scan."""

    @nn.compact
    def __call__(self, x):
        return nn.RNN(nn.GRUCell(8))(x)


MODULES = {
    "dense": (layers.MLP((16, 8)), (5,)),
    "normalised": (layers.MLP((16, 8), layers.Style(normalization="layer")), (5,)),
    "convolution": (layers.MinAtarTorso(4, 8), (10, 10, 3)),
    "recurrent": (Recurrent(), (6, 5)),
}


def loss_of(module):
    def loss(params, x):
        y = jax.jit(jax.vmap(lambda x: module.apply(params, x)))(x)
        return jnp.mean(jnp.sin(y)), {"outputs": y}

    return loss


@pytest.mark.parametrize("members", [0, 3], ids=["alone", "ensemble"])
@pytest.mark.parametrize("name", MODULES)
def test_the_gradient_is_the_same(rng, name, members):
    module, shape = MODULES[name]
    x = rng.normal(size=(32, *shape)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), max(members, 1))
    params = jax.vmap(lambda key: module.init(key, x[0]))(keys)
    loss = loss_of(module)
    if members:  # their axis is one of the products' batch dimensions

        def total(params, x):
            values, aux = jax.vmap(loss, in_axes=(0, None))(params, x)
            return jnp.sum(values), aux
    else:
        params, total = jax.tree.map(lambda leaf: leaf[0], params), loss
    descent = jax.value_and_grad(total, has_aux=True)
    ordered = products.in_order(descent)
    expected, found = jax.jit(descent)(params, x), jax.jit(ordered)(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE),
                 found, expected)  # fmt: skip
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert rewritten(ordered, params, x) > 0 == rewritten(descent, params, x)


def rewritten(function, *arguments):
    """How many products are computed with a factor transposed."""
    return str(jax.make_jaxpr(function)(*arguments)).count("name=product")


def gradients(wrap):
    """Gradients of four seeds, and arguments for them."""
    module, x = layers.MLP((64, 64)), jnp.ones((4, 32, 4))
    params = jax.vmap(module.init)(jax.random.split(jax.random.key(0), 4), x[:, 0])
    return jax.jit(jax.vmap(wrap(jax.grad(loss_of(module), has_aux=True)))), params, x


def test_no_product_is_left_whose_factors_have_the_summed_axis_first():
    """Those are what XLA's CPU compiler multiplies slowly."""

    def slow(wrap):
        function, *arguments = gradients(wrap)
        text = function.lower(*arguments).compile().as_text()
        found = re.findall(r"dot\([^\n]*lhs_contracting_dims={(\d)}[^\n]*"
                           r"rhs_contracting_dims={(\d)}", text)  # fmt: skip
        assert found
        return found.count(("1", "1"))

    assert slow(lambda function: function) == 2
    assert slow(products.in_order) == 0


def test_an_accelerator_computes_what_it_did():
    def lowered(platform):
        function, *arguments = gradients(products.in_order)
        trace = function.trace(*arguments)
        return trace.lower(lowering_platforms=(platform,)).as_text()

    for name in ("reduce_window", "optimization_barrier"):
        assert name in lowered("cpu") and name not in lowered("cuda")


def test_constants_are_closed_over_and_keys_consumed_once(strict):
    scale = jnp.arange(1.0, 4.0)

    def loss(w, x, key):
        noise = jax.random.normal(key, (7, 3))
        return jnp.sum((x @ w) * jnp.broadcast_to(scale, noise.shape) * noise)

    w, x = jnp.ones((2, 3)), jnp.ones((7, 2))
    found, expected = (
        function(w, x, jax.random.key(3))
        for function in (products.in_order(jax.grad(loss)), jax.grad(loss))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
