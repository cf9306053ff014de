"""A choice by platform, alone and around a gradient."""

import threading

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.xla import matmul, platforms, primitives

double = platforms.by_platform(lambda x: jnp.sin(x), lambda x: jnp.cos(x))


def text(function, platform):
    traced = jax.jit(function).trace(jnp.ones(3))
    return traced.lower(lowering_platforms=(platform,)).as_text()


def test_each_platform_has_its_function():
    np.testing.assert_allclose(jax.jit(double)(jnp.ones(3)), np.sin(np.ones(3)))
    for function in (double, matmul.rewrite_products(double)):
        for platform, ours, other in (
            ("cpu", "sine", "cosine"),
            ("cuda", "cosine", "sine"),
        ):
            lowered = text(function, platform)
            assert f"stablehlo.{ours} " in lowered
            assert f"stablehlo.{other} " not in lowered


def test_the_program_of_a_gradient_is_that_of_the_function_alone():
    def loss(function):
        return matmul.value_and_grad(lambda x: jnp.sum(function(x) ** 2))

    def operations(function, platform):
        words = text(loss(function), platform).replace('"', "").split()
        wrapping = ("constant", "case", "return")  # of a choice by platform
        return [
            word.split("(")[0]
            for word in words
            if word.startswith("stablehlo.") and not word[10:].startswith(wrapping)
        ]

    assert operations(double, "cpu") == operations(jnp.sin, "cpu")
    assert operations(double, "cuda") == operations(jnp.cos, "cuda")
    value, slope = jax.jit(loss(double))(jnp.ones(3))
    np.testing.assert_allclose(value, 3 * np.sin(1.0) ** 2, rtol=1e-6)
    np.testing.assert_allclose(slope, np.full(3, np.sin(2.0)), rtol=1e-6)


def test_a_function_without_a_choice_is_traced_once():
    traces = []

    def loss(x):
        traces.append(x)
        return jnp.sum(x**2)

    jax.jit(matmul.value_and_grad(loss)).trace(jnp.ones(3))
    assert len(traces) == 1


def test_the_choice_of_a_context_is_its_threads_own_and_ends_with_it():
    x = jnp.ones(())
    with platforms.tracing("default") as chose:
        assert not chose()
        np.testing.assert_allclose(double(x), np.cos(1.0), rtol=1e-6)
        assert chose()
        with platforms.tracing("cpu") as inner:
            assert not inner()
            np.testing.assert_allclose(double(x), np.sin(1.0), rtol=1e-6)
        results = []
        thread = threading.Thread(target=lambda: results.append(double(x)))
        thread.start()
        thread.join()
        np.testing.assert_allclose(results, [np.sin(1.0)], rtol=1e-6)
        np.testing.assert_allclose(double(x), np.cos(1.0), rtol=1e-6)
    np.testing.assert_allclose(double(x), np.sin(1.0), rtol=1e-6)


def test_a_cotangent_is_written_once_and_passed_on(rng):
    x = jnp.asarray(rng.normal(size=5), jnp.float32)

    def loss(x):
        return jnp.sum(primitives.materialise_cotangent(x) ** 3)

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x), 3 * np.square(x), rtol=1e-6)
    assert "optimization_barrier" in text(jax.grad(loss), "cuda")
