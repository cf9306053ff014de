"""Gradients with rewritten products equal the original ones."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import equations
from flax import linen as nn

from jaxq.networks import layers, torsos
from jaxq.xla import matmul

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
    product = how(matmul.sum_of_outer_products)
    actual = (
        product(left, right)
        if how is jax.vmap
        else np.stack([product(*pair) for pair in zip(left, right, strict=True)])
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


class Recurrent(nn.Module):
    """A cell over a sequence [T, I]: its products are inside a scan."""

    @nn.compact
    def __call__(self, x):
        return nn.RNN(nn.GRUCell(8))(x)


MODULES = {
    "dense": (torsos.MLP((16, 8)), (5,)),
    "normalised": (
        torsos.MLP((16, 8), layers.LayerConfig(normalization="layer")),
        (5,),
    ),
    "convolution": (torsos.MinAtarTorso(4, 8), (10, 10, 3)),
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
    tuned = matmul.rewrite_products(descent)
    expected, actual = jax.jit(descent)(params, x), jax.jit(tuned)(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE),
                 actual, expected)  # fmt: skip
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    assert rewritten(tuned, params, x) > 0
    assert rewritten(descent, params, x) == 0


def rewritten(function, *arguments, name="_product"):
    """Number of rewritten products, or of calls of another function `name`."""
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    names = [equation.params.get("name") for equation in equations(jaxpr)]
    return names.count(name)


def num_biases(function, *arguments):
    return rewritten(function, *arguments, name="add_bias")


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_the_bias_of_a_convolution_is_added_to_rows(rng, normalization):
    module = torsos.MinAtarTorso(4, 8, layers.LayerConfig(normalization=normalization))
    x = rng.normal(size=(32, 10, 10, 3)).astype(np.float32)
    params = module.init(jax.random.key(0), x[0])
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases start at zero
    descent = jax.value_and_grad(loss_of(module), has_aux=True)
    tuned = matmul.rewrite_products(descent)
    assert num_biases(tuned, params, x) == 1
    expected, actual = jax.jit(descent)(params, x), jax.jit(tuned)(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE),
                 actual, expected)  # fmt: skip


@pytest.mark.parametrize(
    "x, bias, count",
    [
        ((32, 8, 8, 5), (1, 1, 1, 16), 1),
        ((5, 7, 5), (1, 1, 16), 1),
        ((32, 5), (1, 16), 0),  # a row is one position
        ((32, 1, 5), (1, 1, 16), 0),
        ((32, 3, 5), (32, 1, 16), 0),
        ((32, 3, 5), (1, 3, 16), 0),
        ((32, 3, 5), (1, 1, 1), 0),
    ],
)
def test_which_sums_are_num_biases(rng, x, bias, count):
    shapes = x, (5, 16), bias
    x, kernel, bias = (rng.normal(size=shape).astype(np.float32) for shape in shapes)

    def affine(x, kernel, bias):
        return jax.lax.add(x @ kernel, bias)

    tuned = matmul.rewrite_products(affine)
    assert num_biases(tuned, x, kernel, bias) == count
    assert num_biases(matmul.rewrite_products(jax.lax.add), x @ kernel, bias) == 0
    expected = affine(x, kernel, bias)
    np.testing.assert_allclose(tuned(x, kernel, bias), expected, **TOLERANCE)


def product_over(summed, batched=()):
    """A product of two arrays over the same axes of both."""
    numbers = (summed, summed), (batched, batched)
    return lambda a, b: jax.lax.dot_general(a, b, numbers)


@pytest.mark.parametrize(
    ("summed", "batched", "left", "right"),
    [
        ((0,), (), (7, 3), (7, 5)),
        ((0, 1), (), (2, 7, 3, 2), (2, 7, 5)),
        ((2, 3), (0, 1), (2, 3, 4, 5, 6), (2, 3, 4, 5, 7, 2)),
    ],
)
def test_any_sum_of_outer_products_is_rewritten(rng, summed, batched, left, right):
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in (left, right))
    plain = product_over(summed, batched)
    tuned = matmul.rewrite_products(plain)
    assert rewritten(tuned, x, y) == 1
    np.testing.assert_allclose(tuned(x, y), plain(x, y), **TOLERANCE)
    # And has a gradient, with respect to both.

    def total(product):
        return jax.jit(jax.grad(lambda x, y: jnp.sum(jnp.sin(product(x, y))), (0, 1)))

    for actual, expected in zip(total(tuned)(x, y), total(plain)(x, y), strict=True):
        np.testing.assert_allclose(actual, expected, **TOLERANCE)


@pytest.mark.parametrize(
    ("left", "right", "numbers"),
    [
        ((32, 4), (4, 64), (((1,), (0,)), ((), ()))),
        ((32, 2), (64, 2), (((1,), (1,)), ((), ()))),
        ((2, 3, 32, 4), (3, 4, 64, 2), (((3,), (1,)), ((0, 1), (3, 0)))),
        ((5, 3, 2, 7), (2, 8, 3), (((2, 1), (0, 2)), ((), ()))),
        ((3, 7, 6), (9, 6), (((2,), (1,)), ((), ()))),
        ((1, 3), (1, 5), (((0,), (0,)), ((), ()))),
    ],
)
def test_a_product_of_few_terms_is_written_out(rng, left, right, numbers):
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in (left, right))

    def plain(x, y):
        return jax.lax.dot_general(x, y, numbers)

    tuned = jax.jit(matmul.rewrite_products(plain))
    found, expected = tuned(x, y), plain(x, y)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, **TOLERANCE)
    if jax.default_backend() == "cpu":
        text = tuned.lower(x, y).compile().as_text()
        assert not re.search(r" dot\(|__ynn_fusion", text)
    for found, expected in zip(
        *(
            jax.grad(lambda x, y, f=f: jnp.sum(jnp.sin(f(x, y))), (0, 1))(x, y)
            for f in (tuned, plain)
        ),
        strict=True,
    ):
        # Sums of 64 terms of order 1, whose order differs.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize(
    ("summed", "batched", "left", "right", "dtype"),
    [
        ((1,), (0,), (3, 7), (3, 7, 5), np.float32),  # a vector for each of a batch
        ((0,), (), (7,), (7,), np.float32),
        ((), (), (7, 2), (7, 3), np.float32),
        ((1,), (), (3, 7), (5, 7), np.float32),
        ((1, 0), (), (2, 7, 3), (2, 7, 5), np.float32),
        ((0,), (), (0, 3), (0, 5), np.float32),
        ((0,), (), (7, 3), (7, 5), bool),
        ((0,), (), (7, 3), (7, 5), np.int32),
        ((1,), (), (3, 2), (5, 2), np.int32),
        ((1,), (0,), (3, 2), (3, 2, 5), np.float32),
    ],
)
def test_other_products_are_left_unchanged(summed, batched, left, right, dtype):
    x, y = np.ones(left, dtype), np.ones(right, dtype)
    plain = product_over(summed, batched)
    tuned = matmul.rewrite_products(plain)
    assert rewritten(tuned, x, y) == 0
    np.testing.assert_array_equal(tuned(x, y), plain(x, y))


def test_without_jit_the_function_is_called_as_it_is():
    x, y = jnp.ones((7, 3)), jnp.ones((7, 5))
    with jax.disable_jit():
        np.testing.assert_array_equal(
            matmul.rewrite_products(product_over((0,)))(x, y), 7.0
        )


def test_a_function_called_twice_is_rewritten_once():
    part = jax.jit(lambda x, y: jnp.sin(product_over((0,))(x, y)))
    x = jnp.ones((7, 7))

    def function(x):
        return part(part(part(x, x), x), x)

    jaxpr = jax.make_jaxpr(matmul.rewrite_products(function))(x).jaxpr
    bodies = [equation.params["jaxpr"] for equation in jaxpr.eqns]
    assert len(bodies) == 3 and len(set(map(id, bodies))) == 1
    assert rewritten(matmul.rewrite_products(function), x) == 3


def gradients(wrap):
    """Gradients of four seeds, and arguments for them."""
    module, x = torsos.MLP((128, 64)), jnp.ones((4, 32, 4))
    params = jax.vmap(module.init)(jax.random.split(jax.random.key(0), 4), x[:, 0])
    return jax.jit(jax.vmap(wrap(jax.grad(loss_of(module), has_aux=True)))), params, x


def test_no_product_is_left_whose_factors_have_the_summed_axis_first():
    """Those are the products that XLA's CPU compiler computes slowly."""

    def slow(wrap):
        function, *arguments = gradients(wrap)
        text = function.lower(*arguments).compile().as_text()
        axes = re.findall(r"dot\([^\n]*lhs_contracting_dims={(\d)}[^\n]*"
                          r"rhs_contracting_dims={(\d)}", text)  # fmt: skip
        assert axes
        return axes.count(("1", "1"))

    if slow(lambda function: function) == 0:
        pytest.skip("this version of XLA already orders them well")
    assert slow(matmul.rewrite_products) == 0


@pytest.mark.parametrize(("x", "w"), [((4, 3, 2), (2, 0)), ((0, 3, 2), (2, 5))])
def test_products_without_numbers_take_a_bias(x, w):
    def affine(x, w, bias):
        return x @ w + bias[None, None]

    arguments = jnp.ones(x), jnp.ones(w), jnp.ones(w[-1:])
    assert matmul.rewrite_products(affine)(*arguments).shape == (*x[:-1], w[-1])


def test_an_accelerator_computes_what_it_did():
    def lowered(platform, wrap):
        function, *arguments = gradients(wrap)
        text = function.trace(*arguments).lower(lowering_platforms=(platform,))
        return [
            re.sub(r"%\w+", "%", line.strip())
            for line in text.as_text().splitlines()
            if re.search(r"dot_general|reduce_window|optimization_barrier", line)
        ]

    before = lowered("cuda", lambda function: function)
    assert sorted(before) == sorted(lowered("cuda", matmul.rewrite_products))
    assert len(before) == 5
    on_cpu = " ".join(lowered("cpu", matmul.rewrite_products))
    assert "reduce_window" in on_cpu and "optimization_barrier" in on_cpu


def test_constants_are_closed_over_and_keys_consumed_once(strict):
    scale = jnp.arange(1.0, 4.0)

    def loss(w, x, key):
        noise = jax.random.normal(key, (7, 3))
        return jnp.sum((x @ w) * jnp.broadcast_to(scale, noise.shape) * noise)

    w, x = jnp.ones((2, 3)), jnp.ones((7, 2))
    actual, expected = (
        function(w, x, jax.random.key(3))
        for function in (matmul.rewrite_products(jax.grad(loss)), jax.grad(loss))
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
