import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import linen as nn

from jaxq.networks import layers, torsos, weight_norms
from jaxq.networks.layers import (
    ActionValues,
    Dense,
    Hidden,
    LayerConfig,
)

NOISY = LayerConfig(noisy_sigma=0.5)


@functools.partial(jax.jit, static_argnums=0)
def init(module, x):
    return module.init(jax.random.key(0), x)["params"]


@functools.partial(jax.jit, static_argnums=0)
def apply(module, params, x, key=None):
    rngs = {} if key is None else {"noise": key}
    return module.apply({"params": params}, x, rngs=rngs)


def randomised(module, x, rng):
    """Random parameters, so that no two leaves are alike."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)


def affine(params, x):
    return x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]


# -- initial weights -------------------------------------------------------------------


@pytest.mark.parametrize(
    "style", [LayerConfig("torch"), NOISY, LayerConfig("lecun", "none", 0.5)]
)
def test_torch_and_noisy_weights_are_uniform_within_their_bound(style):
    params = init(Dense(400, style), jnp.zeros(25))
    for leaf in params["Dense_0"].values():
        scaled = (np.asarray(leaf).reshape(-1) * 5 + 1) / 2
        assert scipy.stats.kstest(scaled, "uniform").pvalue > 1e-4
    if style.noisy_sigma is not None:
        np.testing.assert_allclose(params["sigma_kernel"], 0.1, rtol=1e-6)
        np.testing.assert_allclose(params["sigma_bias"], 0.1, rtol=1e-6)


def test_lecun_weights():
    params = init(Dense(400, LayerConfig("lecun")), jnp.zeros(25))["Dense_0"]
    kernel = np.asarray(params["kernel"])
    np.testing.assert_allclose(kernel.std(), 0.2, rtol=0.03)
    assert not params["bias"].any()


@pytest.mark.parametrize("shape", [(30, 10), (10, 30)])
def test_orthogonal_weights(shape):
    params = init(Dense(shape[1], LayerConfig("orthogonal")), jnp.zeros(shape[0]))[
        "Dense_0"
    ]
    kernel = np.asarray(params["kernel"])
    gram = kernel.T @ kernel if shape[0] > shape[1] else kernel @ kernel.T
    np.testing.assert_allclose(gram, 2 * np.eye(10), atol=1e-5)
    assert not params["bias"].any()


# -- noise -----------------------------------------------------------------------------


def test_noise_is_factorised_and_added_to_the_weights(rng):
    layer, key = Dense(5, NOISY), jax.random.key(3)
    params = randomised(layer, jnp.zeros(4), rng)
    # The noise of this key, measured with a layer that outputs only noise.
    probe = {
        "Dense_0": {"kernel": np.zeros((4, 5)), "bias": np.zeros(5)},
        "sigma_kernel": np.ones((4, 5)), "sigma_bias": np.ones(5),
    }  # fmt: skip
    on_bias = np.asarray(apply(layer, probe, np.zeros(4), key))
    on_kernel = np.stack([apply(layer, probe, x, key) - on_bias for x in np.eye(4)])
    e_in = on_kernel[:, 0] / on_bias[0]
    np.testing.assert_allclose(on_kernel, np.outer(e_in, on_bias), atol=1e-5)
    x = rng.normal(size=4).astype(np.float32)
    kernel = params["Dense_0"]["kernel"] + params["sigma_kernel"] * on_kernel
    bias = params["Dense_0"]["bias"] + params["sigma_bias"] * on_bias
    actual = apply(layer, params, x, key)
    np.testing.assert_allclose(actual, x @ kernel + bias, rtol=1e-4, atol=1e-5)


def over_keys(layer, params, x, count):
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.vmap(apply, (None, None, None, 0))(layer, params, x, keys))


def test_noise_is_the_signed_root_of_a_normal():
    layer = Dense(8, NOISY)
    params = randomised(layer, jnp.zeros(8), np.random.default_rng(0))
    noisy = over_keys(layer, params, np.zeros(8, np.float32), 4000)
    e_out = (noisy - params["Dense_0"]["bias"]) / params["sigma_bias"]
    assert scipy.stats.kstest((e_out * np.abs(e_out))[:, 0], "norm").pvalue > 1e-4
    correlation = np.corrcoef(e_out.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.08  # five standard deviations


def test_mean_and_variance_over_noise(rng):
    layer = Dense(3, NOISY)
    params = randomised(layer, jnp.zeros(6), rng)
    x = rng.normal(size=6).astype(np.float32)
    actual = over_keys(layer, params, x, 40_000)
    mean = np.asarray(apply(layer, params, x))
    c = np.sqrt(2 / np.pi)  # E f(e)^2 = E |e|
    kernel, bias = params["sigma_kernel"], params["sigma_bias"]
    variance = c * (c * np.sum((kernel * x[:, None]) ** 2, 0) + bias**2)
    np.testing.assert_allclose(
        actual.mean(0), mean, atol=5 * variance.max() ** 0.5 / 200
    )
    np.testing.assert_allclose(actual.var(0), variance, rtol=0.1)


def test_without_a_key_there_is_no_noise(rng):
    layer = Dense(3, NOISY)
    params = randomised(layer, jnp.zeros(4), rng)
    x = rng.normal(size=4).astype(np.float32)
    expected = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    np.testing.assert_allclose(apply(layer, params, x), expected, rtol=1e-5)


def test_each_layer_has_its_own_noise():
    torso = torsos.MLP((4, 4), NOISY)
    # Two layers that add 100, one with noise; the output is that noise.
    layer = {
        "Dense_0": {"kernel": np.eye(4), "bias": np.full(4, 100.0)},
        "sigma_kernel": np.zeros((4, 4)), "sigma_bias": np.zeros(4),
    }  # fmt: skip
    noisy = layer | {"sigma_bias": np.ones(4)}
    first, second = (
        apply(
            torso, {"Hidden_0": {"Dense_0": one}, "Hidden_1": {"Dense_0": two}},
            np.zeros(4), jax.random.key(0),
        ) - 200
        for one, two in ((noisy, layer), (layer, noisy))
    )  # fmt: skip
    assert np.abs(first - second).min() > 1e-3
    assert np.abs(first).min() > 1e-3 and np.abs(second).min() > 1e-3


def test_the_convolution_of_minatar_has_no_noise():
    torso = torsos.MinAtarTorso(4, 8, NOISY)
    params = jax.eval_shape(torso.init, jax.random.key(0), jnp.zeros((10, 10, 2)))
    params = params["params"]
    assert set(params["Hidden_0"]["Dense_0"]) == {"Dense_0"}
    assert set(params["Hidden_1"]["Dense_0"]) == {
        "Dense_0", "sigma_kernel", "sigma_bias",
    }  # fmt: skip


# -- streams and normalisation ---------------------------------------------------------


def test_dueling_streams(rng):
    values = ActionValues(3, 2, dueling=True)
    params = randomised(values, jnp.zeros(5), rng)
    x = rng.normal(size=5).astype(np.float32)
    actual = np.asarray(apply(values, params, x))
    advantage = affine(params["Dense_0"], x).reshape(3, 2)
    value = affine(params["Dense_1"], x).reshape(1, 2)
    expected = value + advantage - advantage.mean(0)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    # The advantages have no sum, so the mean over actions is the value.
    np.testing.assert_allclose(actual.mean(0), value[0], rtol=1e-4, atol=1e-5)
    # A constant added to all advantages changes nothing.
    bias = params["Dense_0"]["Dense_0"]["bias"]
    params["Dense_0"]["Dense_0"]["bias"] = bias + np.tile(np.float32([7, -4]), 3)
    np.testing.assert_allclose(apply(values, params, x), actual, atol=1e-4)


def test_streams_have_their_own_hidden_layers(rng):
    values = ActionValues(3, 1, dueling=True, stream_sizes=(7,))
    params = randomised(values, jnp.zeros(5), rng)
    shapes = {name: jax.tree.leaves(params[name])[1].shape for name in params}
    assert shapes == {
        "Hidden_0": (5, 7), "Dense_0": (7, 3), "Hidden_1": (5, 7), "Dense_1": (7, 1),
    }  # fmt: skip
    x = rng.normal(size=5).astype(np.float32)
    streams = [
        affine(params[out], np.maximum(affine(params[hidden]["Dense_0"], x), 0))
        for hidden, out in (("Hidden_0", "Dense_0"), ("Hidden_1", "Dense_1"))
    ]
    expected = streams[1] + streams[0] - streams[0].mean()
    actual = apply(values, params, x)[:, 0]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_layer_normalisation_comes_before_the_relu(rng):
    hidden = Hidden(6, LayerConfig(normalization="layer"))
    params = randomised(hidden, jnp.zeros(4), rng)
    x = rng.normal(size=4).astype(np.float32)
    y = affine(params["Dense_0"], x)
    normal = (y - y.mean()) / np.sqrt(y.var() + 1e-5)
    norm = params["LayerNorm_0"]
    expected = np.maximum(normal * norm["scale"] + norm["bias"], 0)
    actual = apply(hidden, params, x)
    assert (np.asarray(actual) == 0).any()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_layer_normalisation_has_flaxs_values_and_gradient(rng):
    x, weight = rng.normal(3, 2, (2, 5, 8)).astype(np.float32)
    norm, reference = layers.LayerNorm(), nn.LayerNorm(epsilon=1e-5)
    params = randomised(norm, x, rng)

    def loss(module):
        return lambda params, x: jnp.sum(weight * apply(module, params, x))

    pairs = [(apply(module, params, x) for module in (norm, reference))]
    slopes = [jax.grad(loss(module), (0, 1))(params, x) for module in (norm, reference)]
    pairs += zip(*map(jax.tree.leaves, slopes), strict=True)
    for actual, expected in pairs:
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


PLAIN_ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x * scipy.stats.norm.cdf(x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "crelu": lambda x: np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)]),
}


@pytest.mark.parametrize("name", layers.ACTIVATIONS)
def test_every_activation_is_its_formula(name, rng):
    hidden = Hidden(6, LayerConfig(activation=name))
    params = randomised(hidden, jnp.zeros(4), rng)
    x = rng.normal(size=4).astype(np.float32)
    expected = PLAIN_ACTIVATIONS[name](affine(params["Dense_0"], x))
    actual = apply(hidden, params, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_weight_normalisation_separates_length_and_direction(rng):
    hidden = Hidden(6, LayerConfig(weight_norm="weight", activation="tanh"))
    params = init(hidden, jnp.zeros(4))["Dense_0"]["NormalizedDense_0"]
    lengths = np.linalg.norm(params["kernel"], axis=0)
    np.testing.assert_allclose(params["scale"], lengths, rtol=1e-5)
    params = randomised(hidden, jnp.zeros(4), rng)
    inner = params["Dense_0"]["NormalizedDense_0"]
    x = rng.normal(size=4).astype(np.float32)
    expected = np.array(inner["bias"], float)
    for j in range(6):
        v = np.asarray(inner["kernel"])[:, j]
        expected[j] += inner["scale"][j] * (x @ v) / np.sqrt((v**2).sum())
    np.testing.assert_allclose(
        apply(hidden, params, x), np.tanh(expected), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(4, 6), (40, 25), (25, 40)])
def test_the_spectral_norm_is_the_largest_singular_value(shape, rng):
    kernel = rng.normal(size=shape).astype(np.float32)
    kernel += 3 * np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1]))
    left, values, right = np.linalg.svd(kernel)
    norm, slope = jax.value_and_grad(weight_norms.spectral_norm)(jnp.array(kernel))
    np.testing.assert_allclose(norm, values[0], rtol=1e-3)
    # d sigma / d W = u v'
    np.testing.assert_allclose(slope, np.outer(left[:, 0], right[0]), atol=0.02)


def test_a_spectrally_normalised_layer_stretches_nothing(rng):
    hidden = Hidden(32, LayerConfig(weight_norm="spectral", activation="tanh"))
    params = randomised(hidden, jnp.zeros(16), rng)
    inner = params["Dense_0"]["NormalizedDense_0"]
    largest = np.linalg.norm(inner["kernel"], ord=2)
    x = rng.normal(size=16).astype(np.float32)
    expected = np.tanh(x @ (np.asarray(inner["kernel"]) / largest) + inner["bias"])
    np.testing.assert_allclose(apply(hidden, params, x), expected, atol=0.1)
    zero = jax.tree.map(jnp.zeros_like, params)
    assert np.isfinite(apply(hidden, zero, x)).all()


def test_output_layers_are_not_normalised():
    style = LayerConfig(weight_norm="spectral")
    params = init(ActionValues(3, 1, stream_sizes=(16,), style=style), jnp.zeros(8))
    assert set(params["Hidden_0"]["Dense_0"]) == {"NormalizedDense_0"}
    assert set(params["Dense_0"]) == {"Dense_0"}


def test_the_last_layer_has_its_own_scale():
    style = LayerConfig(weight_init="orthogonal", output_scale=0.1)
    values = ActionValues(3, 1, stream_sizes=(16,), style=style)
    params = values.init(jax.random.key(0), jnp.zeros(8))["params"]
    hidden = np.asarray(params["Hidden_0"]["Dense_0"]["Dense_0"]["kernel"])
    last = np.asarray(params["Dense_0"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(hidden @ hidden.T, 2 * np.eye(8), atol=1e-5)
    np.testing.assert_allclose(last.T @ last, 0.01 * np.eye(3), atol=1e-6)
