"""Running statistics, and networks whose inputs are normalised by them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import Config, ConfigError
from jaxq.agents import factory
from jaxq.networks import initializers, running_statistics
from jaxq.types import EnvSpec, MaskedObservation

VECTOR = EnvSpec("Vector", jax.ShapeDtypeStruct((3,), jnp.float32), 2)
GRID = EnvSpec("Grid", jax.ShapeDtypeStruct((4, 4, 2), bool), 2)
CATEGORIES = EnvSpec("Categories", jax.ShapeDtypeStruct((), jnp.int32), 2, 5)
PLAIN = Config(defaults="plain", hidden_sizes=(6,), channels=3, dense_size=5)
CONFIG = dataclasses.replace(PLAIN, normalize_observations=True)


@pytest.mark.parametrize("size", [1, 4])
def test_statistics_equal_those_of_all_arrays_at_once(rng, size):
    data = rng.normal(loc=50.0, scale=[1.0, 5.0, 0.1], size=(100, 3))
    statistics = running_statistics.empty((3,))
    np.testing.assert_array_equal(running_statistics.variance(statistics), 1.0)
    add = jax.jit(running_statistics.add)
    for i in range(0, 100, size):
        statistics = add(statistics, jnp.float32(data[i : i + size]))
    np.testing.assert_allclose(statistics.mean, data.mean(axis=0), rtol=1e-5)
    expected = data.var(axis=0, ddof=1)
    np.testing.assert_allclose(
        running_statistics.variance(statistics), expected, rtol=1e-3
    )
    x = jnp.float32(data[7])
    np.testing.assert_allclose(
        running_statistics.normalize(statistics, x),
        (data[7] - data.mean(axis=0)) / np.sqrt(expected + 1e-8),
        rtol=2e-3,
        atol=2e-3,
    )


def test_the_variance_of_one_array_is_taken_to_be_one():
    statistics = running_statistics.add(running_statistics.empty(), jnp.ones(1))
    assert float(running_statistics.variance(statistics)) == 1.0


def observed(spec, rng, size):
    shape = (size, *spec.observation.shape)
    if spec.num_categories:
        return jnp.asarray(rng.integers(0, 5, size))
    values = rng.normal(loc=3.0, size=shape)
    return jnp.asarray(values > 3 if spec.observation.dtype == bool else values)


@pytest.mark.parametrize("spec", [VECTOR, GRID, CATEGORIES], ids=lambda s: s.name)
@pytest.mark.parametrize("fields", [{}, {"ensemble_size": 2}, {"recurrent": "gru"}])
def test_a_network_sees_normalised_inputs(spec, fields, rng):
    config = dataclasses.replace(CONFIG, **fields)
    network = factory.make_networks(config, spec).online
    batch = observed(spec, rng, 20)
    batch = batch.astype(spec.observation.dtype)
    params = network.init(jax.random.key(1), batch[0])
    plain_spec = spec
    inputs = np.asarray(batch, np.float64)
    if spec.num_categories:
        inputs = np.eye(5)[np.asarray(batch)]
    plain_spec = EnvSpec(
        spec.name, jax.ShapeDtypeStruct(inputs.shape[1:], jnp.float32), 2
    )
    plain = factory.make_networks(
        dataclasses.replace(config, normalize_observations=False), plain_spec
    ).online
    own = {k: v for k, v in params.items() if k != running_statistics.STATISTICS}
    assert network.update_batch_stats is not None
    params = network.update_batch_stats(params, batch)
    mean, variance = inputs.mean(axis=0), inputs.var(axis=0, ddof=1)
    expected = (inputs[3] - mean) / np.sqrt(variance + 1e-8)
    assert jax.tree.leaves(params[running_statistics.STATISTICS])[0] == 20
    # Inputs that never vary are zero, up to rounding over the root of 1e-8.
    constant = variance < 1e-12
    expected[constant] = 0.0
    memory = network.initial_memory(jax.random.key(0))
    left, _ = network.step(None, params, memory, batch[3])
    right, _ = plain.step(None, own, memory, jnp.float32(expected))
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3)


def test_statistics_receive_no_gradient(rng):
    network = factory.make_networks(CONFIG, VECTOR).online
    params = network.init(jax.random.key(1), jnp.ones(3))
    params = network.update_batch_stats(params, jnp.float32(rng.normal(size=(9, 3))))
    gradient = jax.grad(lambda p: network.apply(None, p, jnp.ones(3)).sum())(params)
    statistics = gradient.pop(running_statistics.STATISTICS)
    assert all(not leaf.any() for leaf in jax.tree.leaves(statistics))
    assert any(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_a_mask_beside_the_observation_is_kept():
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    mask = jax.ShapeDtypeStruct((2,), bool)
    spec = EnvSpec(
        "Masked",
        MaskedObservation(shape, mask),
        2,
        valid_actions=lambda observation: observation.action_mask,
    )
    network = factory.make_networks(CONFIG, spec).online
    observation = MaskedObservation(jnp.ones(3), jnp.array([True, False]))
    params = network.init(jax.random.key(0), observation)
    q_values = network.head.q_values(network.apply(None, params, observation))
    assert np.isfinite(q_values[0]) and q_values[1] == -np.inf


def test_a_mask_computed_from_the_observation_is_refused():
    spec = VECTOR._replace(valid_actions=lambda observation: observation[:2] > 0)
    with pytest.raises(ConfigError, match="computed from its observations"):
        factory.make_networks(CONFIG, spec)


def test_sparse_weights():
    weights = np.asarray(initializers.sparse(0.9)(jax.random.key(3), (25, 40)))
    assert ((weights == 0).sum(axis=0) == 23).all()  # ceil(0.9 * 25)
    rest = weights[weights != 0]
    assert np.abs(rest).max() <= 0.2 and 0.1 < rest.std() / (0.2 / np.sqrt(3)) < 1.3
    assert len({tuple(column) for column in (weights != 0).T}) > 20
    other = initializers.sparse(0.9)(jax.random.key(4), (25, 40))
    assert not np.array_equal(weights, other)
