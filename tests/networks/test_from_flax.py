import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq.agents import factory
from jaxq.config.config import Config
from jaxq.networks import from_flax, layers, tables, torsos
from jaxq.rl import heads
from jaxq.types import EnvSpec

HEAD = heads.scalar()
KEY = jax.random.key(0)


def spec(shape, dtype=jnp.float32, **more):
    return EnvSpec("test", jax.ShapeDtypeStruct(shape, dtype), 3, **more)


def randomised(network, observation, rng):
    """Random numbers in the shapes of the parameters."""
    shapes = jax.eval_shape(network.init, KEY, observation)
    return jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape)), shapes)


def minatar(style=layers.LayerConfig()):  # noqa: B008
    torso = torsos.MinAtarTorso(style=style)
    return from_flax.from_torso(torso, spec((10, 10, 4), bool), HEAD, style)


@pytest.mark.parametrize("weight_init", ["torch", "lecun", "orthogonal"])
def test_the_minatar_network_is_that_of_young_and_tian(weight_init):
    network = minatar(layers.LayerConfig(weight_init))
    observation = jnp.ones((10, 10, 4), bool)
    params = jax.eval_shape(network.init, KEY, observation)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params))
    assert shapes == [(3,), (16,), (36, 16), (128,), (128, 3), (1024, 128)]
    output = jax.eval_shape(network.apply, KEY, params, observation)
    assert output.shape == (3, 1) and output.dtype == jnp.float32


def test_no_grouped_convolution_under_vmap():
    network, observation = minatar(), jnp.ones((10, 10, 4), bool)
    keys = jax.random.split(KEY, 4)
    params = jax.eval_shape(jax.vmap(network.init, (0, None)), keys, observation)
    lowered = jax.jit(jax.vmap(network.apply, (None, 0, None))).lower(
        KEY, params, observation
    )
    assert "convolution" not in lowered.as_text()


def test_an_mlp_is_affine_layers_with_relu_between_them(rng):
    network = from_flax.from_torso(torsos.MLP((7, 5)), spec((2, 2)), HEAD)
    x = rng.normal(size=(2, 2)).astype(np.float32)
    params = randomised(network, x, rng)
    y = x.reshape(-1)
    for name in ("Hidden_0", "Hidden_1"):
        dense = params["torso"][name]["Dense_0"]["Dense_0"]
        y = np.maximum(y @ dense["kernel"] + dense["bias"], 0)
    dense = params["values"]["Dense_0"]["Dense_0"]
    expected = y @ dense["kernel"] + dense["bias"]
    actual = jax.jit(network.apply)(None, params, x)
    np.testing.assert_allclose(actual[:, 0], expected, rtol=1e-4)


def test_a_scalar_observation_becomes_one_hot():
    convert = from_flax.features(spec((), jnp.int32, num_categories=5))
    np.testing.assert_array_equal(convert(jnp.int32(3)), [0, 0, 0, 1, 0])


def test_a_number_without_categories_stays_a_number():
    convert = from_flax.features(spec((), jnp.int32))
    assert convert(jnp.int32(3)) == 3 and convert(jnp.int32(3)).dtype == jnp.float32


# -- noise -----------------------------------------------------------------------------


def test_every_environment_has_its_own_noise(rng, strict):
    nets = factory.make_networks(
        Config(defaults="plain", noisy=True, hidden_sizes=(8,)), spec((4,))
    )
    x = np.ones(4, np.float32)
    params = randomised(nets.policy, x, rng)
    keys, apply = jax.random.split(KEY, 16), jax.jit(nets.policy.apply)
    outputs = jax.vmap(apply, (0, None, None))(keys, params, x)
    assert len({row.tobytes() for row in np.asarray(outputs)}) == 16
    silent = apply(None, params, x)
    assert np.abs(np.asarray(outputs) - np.asarray(silent)).max((1, 2)).min() > 0


def test_dueling_values_under_noise_still_have_advantages_without_a_sum(rng):
    config = Config(defaults="plain", noisy=True, dueling=True, hidden_sizes=(8,))
    network = factory.make_networks(config, spec((4,))).online
    x = rng.normal(size=4).astype(np.float32)
    params = randomised(network, x, rng)
    other = jax.tree.map(np.copy, params)
    other["values"]["Dense_0"]["Dense_0"]["bias"] += 5.0  # of all advantages
    apply = jax.jit(network.apply)
    np.testing.assert_allclose(apply(KEY, params, x), apply(KEY, other, x), atol=1e-5)


# -- tables ----------------------------------------------------------------------------


def test_a_table_reads_its_row():
    known = spec((), jnp.int32, num_states=5, state_index=lambda o: o)
    network = tables.table(known, HEAD, 2.5)
    params = network.init(KEY, jnp.int32(0))
    np.testing.assert_array_equal(params["table"], np.full((5, 3, 1), 2.5))
    params = {"table": jnp.arange(15.0).reshape(5, 3, 1)}
    output = network.apply(KEY, params, jnp.int32(2))
    np.testing.assert_array_equal(output[:, 0], [6, 7, 8])


def test_a_table_of_several_outputs():
    known = spec((2,), num_states=4, state_index=lambda o: o[1].astype(jnp.int32))
    network = tables.table(known, heads.quantile(7))
    params = {"table": jnp.arange(84.0).reshape(4, 3, 7)}
    output = network.apply(None, params, jnp.array([0.0, 3.0]))
    np.testing.assert_array_equal(output, np.arange(63, 84).reshape(3, 7))


def test_actions_that_do_not_exist_are_worth_minus_infinity():
    known = spec(
        (), jnp.int32, num_states=5, state_index=lambda o: o,
        valid_actions=lambda o: jnp.arange(3) < o,
    )  # fmt: skip
    network = tables.table(known, HEAD)
    params = {"table": jnp.arange(15.0).reshape(5, 3, 1)}
    for row, expected in ((1, [3, -np.inf, -np.inf]), (2, [6, 7, -np.inf])):
        output = network.apply(None, params, jnp.int32(row))
        np.testing.assert_array_equal(output[:, 0], expected)

    def best(params):
        return jnp.max(network.apply(None, params, jnp.int32(2)))

    gradient = np.asarray(jax.grad(best)(params)["table"])
    assert gradient[2, 1, 0] == 1 and np.abs(gradient).sum() == 1


@pytest.mark.parametrize(
    "more",
    [{}, {"num_states": 5}, {"state_index": lambda o: o}],
    ids=lambda fields: "-".join(fields),
)
def test_a_table_needs_numbered_states(more):
    with pytest.raises(ValueError, match="no numbered states"):
        tables.table(spec((4,), **more), HEAD)


# -- memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_recurrent_network_threads_its_memory(kind, rng, strict):
    config = Config(defaults="plain", recurrent=kind, memory_size=6, hidden_sizes=(5,))
    network = factory.make_networks(config, spec((4,))).online
    x = rng.normal(size=(3, 4)).astype(np.float32)
    params = randomised(network, x[0], rng)
    memory = network.initial_memory(KEY)
    leaves = jax.tree.leaves(memory)
    assert [leaf.shape for leaf in leaves] == [(6,)] * (2 if kind == "lstm" else 1)
    assert not any(np.any(leaf) for leaf in leaves)
    step = jax.jit(lambda memory, x: network.step(None, params, memory, x))
    memories, outputs = [memory], []
    for observation in x:
        output, memory = step(memory, observation)
        memories.append(memory)
        outputs.append(output)
    assert outputs[0].shape == (3, 1)
    applied = jax.jit(network.apply)(None, params, x[0])
    np.testing.assert_allclose(applied, outputs[0], atol=1e-6)
    # The output depends on what was seen before, through the memory alone.
    forgotten = np.asarray(step(memories[0], x[2])[0])
    assert np.abs(forgotten - np.asarray(outputs[2])).max() > 1e-4
    np.testing.assert_array_equal(step(memories[2], x[2])[0], outputs[2])
    for before, after in itertools.pairwise(memories):
        for left, right in zip(*map(jax.tree.leaves, (before, after)), strict=True):
            assert np.abs(np.asarray(left) - np.asarray(right)).max() > 1e-4


def test_a_gru_remembers_by_cho_et_als_equations(rng):
    config = Config(defaults="plain", recurrent="gru", memory_size=6, hidden_sizes=(5,))
    network = factory.make_networks(config, spec((4,))).online
    x = rng.normal(size=4).astype(np.float32)
    memory = rng.normal(size=6).astype(np.float32)
    params = randomised(network, x, rng)
    cell, dense = params["cell"], params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]
    y = np.maximum(x @ dense["kernel"] + dense["bias"], 0)

    def of(name, value):
        return value @ cell[name]["kernel"] + cell[name].get("bias", 0)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    reset = sigmoid(of("ir", y) + of("hr", memory))
    update = sigmoid(of("iz", y) + of("hz", memory))
    candidate = np.tanh(of("in", y) + reset * of("hn", memory))
    expected = (1 - update) * candidate + update * memory
    output, actual = jax.jit(network.step)(None, params, memory, x)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    dense = params["values"]["Dense_0"]["Dense_0"]
    values = expected @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(output[:, 0], values, rtol=1e-4, atol=1e-5)


def test_a_network_without_memory_passes_it_through():
    network = from_flax.from_torso(torsos.MLP((4,)), spec((4,)), HEAD)
    x = np.ones(4, np.float32)
    params = jax.jit(network.init)(KEY, x)
    step = jax.jit(lambda params: network.step(None, params, (), x))
    output, memory = step(params)
    np.testing.assert_allclose(output, jax.jit(network.apply)(None, params, x))
    assert memory == () == network.initial_memory(KEY)


@pytest.mark.parametrize("recurrent", ["none", "lstm", "gru"])
def test_initialisation_calls_no_lapack(recurrent):
    """Several batched QR factorizations at once hang a CPU client of two threads."""
    config = Config(
        defaults="plain",
        weight_init="orthogonal",
        recurrent=recurrent,
        rollout_length=4,
    )
    network = factory.make_networks(config, spec((4,))).online
    start = jax.jit(jax.vmap(network.init, (0, None)))
    text = start.lower(jax.random.split(KEY, 5), jnp.zeros(4)).as_text()
    assert "lapack" not in text and "geqrf" not in text
    qr = jax.jit(lambda x: jnp.linalg.qr(x)[0]).lower(jnp.ones((4, 4))).as_text()
    assert "lapack" in qr  # the name that is looked for
