import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import heads, networks
from jaxq.types import EnvSpec

HEAD = heads.scalar()


def spec(shape, dtype=jnp.float32, **more):
    return EnvSpec("test", jax.ShapeDtypeStruct(shape, dtype), 3, **more)


def test_patches_equal_the_windows(rng):
    x = rng.normal(size=(10, 9, 4)).astype(np.float32)
    found = np.asarray(networks.patches(jnp.asarray(x), 3))
    assert found.shape == (8, 7, 36)
    for i in range(8):
        for j in range(7):
            window = x[i : i + 3, j : j + 3].reshape(-1)
            np.testing.assert_array_equal(found[i, j], window)


def test_patches_and_a_matrix_equal_a_convolution(rng):
    x = rng.normal(size=(10, 10, 4)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 4, 16)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    found = networks.patches(jnp.asarray(x), 3) @ kernel.reshape(36, 16)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("torch_init", [False, True])
def test_minatar_network_is_young_and_tians(torch_init):
    torso = networks.MinAtarTorso(torch_init=torch_init)
    network = networks.from_torso(torso, spec((10, 10, 4), bool), HEAD, torch_init)
    observation = jnp.ones((10, 10, 4), bool)
    params = network.init(jax.random.key(0), observation)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params))
    assert shapes == [(3,), (16,), (36, 16), (128,), (128, 3), (1024, 128)]
    output = network.apply(jax.random.key(0), params, observation)
    assert output.shape == (3, 1) and output.dtype == jnp.float32


def test_no_grouped_convolution_under_vmap():
    torso = networks.MinAtarTorso()
    network = networks.from_torso(torso, spec((10, 10, 4), bool), HEAD)
    observation = jnp.ones((10, 10, 4), bool)
    params = jax.vmap(network.init, (0, None))(
        jax.random.split(jax.random.key(0), 4), observation
    )
    lowered = jax.jit(jax.vmap(network.apply, (None, 0, None))).lower(
        jax.random.key(0), params, observation
    )
    assert "convolution" not in lowered.as_text()


def test_torch_initialisation_is_uniform_within_its_bound():
    network = networks.from_torso(
        networks.MLP((400,), torch_init=True), spec((25,)), HEAD, torch_init=True
    )
    params = network.init(jax.random.key(0), jnp.zeros(25))
    layers = [params["torso"]["Dense_0"]["Dense_0"], params["Dense_0"]["Dense_0"]]
    for layer, fan_in in zip(layers, (25, 400), strict=True):
        for leaf in layer.values():
            assert np.abs(leaf).max() <= fan_in**-0.5 + 1e-6
        kernel = np.asarray(layer["kernel"])
        np.testing.assert_allclose(kernel.std(), (3 * fan_in) ** -0.5, rtol=0.1)
        assert np.asarray(layer["bias"]).std() > 0


def test_a_scalar_observation_becomes_one_hot():
    convert = networks.features(spec((), jnp.int32, num_categories=5))
    np.testing.assert_array_equal(convert(jnp.int32(3)), [0, 0, 0, 1, 0])


def test_a_table_reads_its_row():
    known = spec((), jnp.int32, num_states=5, state_index=lambda o: o)
    network = networks.table(known, HEAD, 2.5)
    params = network.init(jax.random.key(0), jnp.int32(0))
    np.testing.assert_array_equal(params["table"], np.full((5, 3, 1), 2.5))
    params = {"table": jnp.arange(15.0).reshape(5, 3, 1)}
    output = network.apply(jax.random.key(0), params, jnp.int32(2))
    np.testing.assert_array_equal(output[:, 0], [6, 7, 8])


def test_a_table_needs_numbered_states():
    with pytest.raises(ValueError, match="no numbered states"):
        networks.table(spec((4,)), HEAD)
