"""Torsos of images, and their choice by the shape of an observation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxq.agents import factory, field_effects, torso_factory
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.networks import from_flax, torsos
from jaxq.training import checks
from jaxq.types import EnvSpec

CONFIG = Config(defaults="plain", hidden_sizes=(8,))


def spec(shape, dtype=jnp.float32):
    return EnvSpec("images", jax.ShapeDtypeStruct(shape, dtype), 3)


@pytest.mark.parametrize(
    ("shape", "torso"),
    [
        ((), "mlp"),
        ((7,), "mlp"),
        ((10, 5), "mlp"),
        ((2, 9, 4), "mlp"),
        ((2, 3, 4, 5), "mlp"),
        ((10, 10, 4), "minatar"),
        ((24, 5, 3), "minatar"),
        ((24, 24), "minatar"),
        ((84, 84, 4), "nature"),
        ((84, 84), "nature"),
        ((36, 40, 3), "nature"),
        ((64, 32, 4), "impala"),
        ((35, 60, 3), "impala"),
    ],
)
def test_the_torso_follows_from_the_shape(shape, torso):
    assert torsos.for_shape(shape) == torso
    network = factory.make_networks(CONFIG, spec(shape)).online
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(shape))
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    width = {"mlp": 8, "minatar": 128, "nature": 512, "impala": 256}[torso]
    assert (width, 3) in kernels


@pytest.mark.parametrize(("size", "stride"), [(8, 4), (4, 2), (3, 1), (6, 2)])
@pytest.mark.parametrize("shape", [(16, 20, 3), (17, 22, 2)])
def test_strided_patches_and_a_matrix_equal_a_convolution(size, stride, shape, rng):
    x = rng.normal(size=shape).astype(np.float32)
    channels = shape[2]
    kernel = rng.normal(size=(size, size, channels, 5)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x[None], kernel, (stride, stride), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0]  # fmt: skip
    blocks = size // stride
    matrix = kernel.reshape(blocks, stride, blocks, stride, channels, 5)
    matrix = matrix.transpose(0, 2, 1, 3, 4, 5).reshape(-1, 5)
    actual = torsos.strided_patches(jnp.asarray(x), size, stride) @ matrix
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def parameters(torso, shape):
    params = jax.eval_shape(torso.init, jax.random.key(0), jnp.zeros(shape))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_nature_network_has_the_layers_of_the_paper():
    convolutions = 8 * 8 * 4 * 32 + 4 * 4 * 32 * 64 + 3 * 3 * 64 * 64
    weights = convolutions + 7 * 7 * 64 * 512
    assert parameters(torsos.NatureTorso(), (84, 84, 4)) == weights + 32 + 64 + 64 + 512


def test_the_impala_network_has_the_layers_of_the_paper():
    count = 0
    for inputs, outputs in ((4, 16), (16, 32), (32, 32)):
        count += 9 * inputs * outputs + outputs + 4 * (9 * outputs**2 + outputs)
    count += 11 * 11 * 32 * 256 + 256
    assert parameters(torsos.ImpalaTorso(), (84, 84, 4)) == count


class PlainImpala(nn.Module):
    """The same network with flax's convolutions, whose parameters are passed in."""

    @nn.compact
    def __call__(self, x):
        for channels in (16, 32, 32):
            x = nn.Conv(channels, (3, 3))(x)
            x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
            for _ in range(2):
                y = nn.Conv(channels, (3, 3))(nn.relu(x))
                x = x + nn.Conv(channels, (3, 3))(nn.relu(y))
        return nn.relu(nn.Dense(256)(nn.relu(x).reshape(-1)))


@pytest.mark.slow
@pytest.mark.conformance
def test_the_impala_network_equals_one_of_convolutions(rng):
    x = rng.normal(size=(13, 30, 2)).astype(np.float32)
    torso, plain = torsos.ImpalaTorso(), PlainImpala()
    params = torso.init(jax.random.key(0), x)["params"]
    theirs = {"Dense_0": params["Hidden_0"]["Dense_0"]["Dense_0"]}
    for number in range(15):
        dense = params[f"Dense_{number}"]["Dense_0"]
        kernel = dense["kernel"].reshape(3, 3, -1, dense["kernel"].shape[1])
        theirs[f"Conv_{number}"] = {"kernel": kernel, "bias": dense["bias"]}
    expected = plain.apply({"params": theirs}, x)
    actual = torso.apply({"params": params}, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_pixels_are_scaled_and_other_bytes_are_not():
    pixels = jnp.full((4, 4, 1), 51, jnp.uint8)
    convert = from_flax.features(spec((4, 4, 1), jnp.uint8))
    np.testing.assert_allclose(convert(pixels), 0.2, rtol=1e-6)
    convert = from_flax.features(spec((4,), jnp.uint8))
    np.testing.assert_array_equal(convert(jnp.full(4, 51, jnp.uint8)), 51.0)
    convert = from_flax.features(spec((4, 4), jnp.int32))
    np.testing.assert_array_equal(convert(jnp.full((4, 4), 51)), 51.0)


@pytest.mark.parametrize(
    ("shapes", "network", "message"),
    [
        (
            [(4,)],
            "impala",
            r"needs an image .* 3 x 3, but images observes \(4",
        ),
        ([(35, 84, 3)], "nature", "at least 36 x 36.*or impala"),
        ([(9, 9, 3), (4,)], "minatar", "needs a single image.*network = 'auto'"),
    ],
)
def test_a_torso_that_does_not_fit_is_rejected(shapes, network, message):
    observation = tuple(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)
    if len(observation) == 1:
        (observation,) = observation
    several = EnvSpec("images", observation, 3)
    with pytest.raises(ConfigError, match=message):
        checks.check_agent(dataclasses.replace(CONFIG, network=network), several)


@pytest.mark.parametrize(
    ("shape", "network", "notes"),
    [
        ((4,), "auto", []),
        ((84, 84, 4), "auto", ["network: nature, for observations of 84 x 84 x 4"]),
        (
            (10, 5),
            "auto",
            ["note: observations of 10 x 5 are flattened (netw"],
        ),
        ((9, 9, 2), "mlp", ["note: observations of 9 x 9 x 2 are flattened (netw"]),
        ((9, 9, 2), "impala", []),
    ],
)
def test_a_run_says_how_it_reads_an_image(shape, network, notes):
    config = dataclasses.replace(CONFIG, network=network)
    lines = torso_factory.notes(config, spec(shape))
    assert len(lines) == len(notes)
    assert all(line.startswith(note) for line, note in zip(lines, notes, strict=True))


def test_a_container_of_one_image_is_that_image():
    image = jax.ShapeDtypeStruct((10, 10, 4), jnp.float32)
    for observation in ({"image": image}, (image,)):
        network = factory.make_networks(CONFIG, EnvSpec("one", observation, 3)).online
        example = jax.tree.map(lambda x: jnp.zeros(x.shape), observation)
        params = jax.eval_shape(network.init, jax.random.key(0), example)
        assert params["torso"]["Hidden_1"]["Dense_0"]["Dense_0"]["bias"].shape == (128,)


def test_the_mlp_after_several_images_reads_hidden_sizes():
    shapes = {"x": (10, 10, 4), "y": (8, 8, 2)}
    observation = {k: jax.ShapeDtypeStruct(v, jnp.float32) for k, v in shapes.items()}
    several = EnvSpec("two", observation, 3)
    assert "hidden_sizes" not in field_effects.without_effect(CONFIG, several)
    one = EnvSpec("one", observation["x"], 3)
    assert "hidden_sizes" in field_effects.without_effect(CONFIG, one)


@pytest.mark.parametrize("shape", [(11, 11, 2), (6, 9, 2), (3, 4, 2), (12, 6, 2)])
def test_adaptive_max_pooling_in_numpy(shape, rng):
    x = rng.normal(size=shape).astype(np.float32)
    expected = np.zeros((6, 6, 2))
    height, width = shape[:2]
    for i in range(6):
        for j in range(6):
            rows = slice(i * height // 6, int(np.ceil((i + 1) * height / 6)))
            columns = slice(j * width // 6, int(np.ceil((j + 1) * width / 6)))
            expected[i, j] = x[rows, columns].max(axis=(0, 1))
    np.testing.assert_array_equal(torsos.adaptive_max_pool(jnp.asarray(x), 6), expected)


def test_the_scale_and_the_pooling_of_impala():
    config = dataclasses.replace(
        CONFIG, network="impala", impala_scale=2, impala_pool=6, weight_norm="spectral"
    )
    for shape in ((84, 84, 4), (40, 64, 4)):
        network = factory.make_networks(config, spec(shape)).online
        params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(shape))
        kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
        # 15 convolutions, and the output layer, which reads 6 x 6 x 64 numbers.
        assert len(kernels) == 16 and (6 * 6 * 64, 3) in kernels
        assert (4 * 9, 32) in kernels and (64 * 9, 64) in kernels


def test_weights_without_noise_are_normalised_beside_noisy_ones():
    config = dataclasses.replace(
        CONFIG, network="minatar", noisy=True, weight_norm="spectral"
    )
    network = factory.make_networks(config, spec((10, 10, 4))).online
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((10, 10, 4)))
    torso = params["torso"]
    assert list(torso["Hidden_0"]["Dense_0"]) == ["NormalizedDense_0"]
    assert "sigma_kernel" in torso["Hidden_1"]["Dense_0"]
    assert "NormalizedDense_0" not in torso["Hidden_1"]["Dense_0"]
    assert torso_factory.notes(config, spec((10, 10, 4))) == []
    (note,) = torso_factory.notes(
        dataclasses.replace(config, network="auto"), spec((7,))
    )
    assert note.startswith("note: weight_norm = spectral has no effect")
