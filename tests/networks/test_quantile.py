import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from jaxq.agents import factory, optimizers
from jaxq.config.config import Config
from jaxq.rl import heads
from jaxq.types import EnvSpec

KEY = jax.random.key(0)
SPEC = EnvSpec("test", jax.ShapeDtypeStruct((4,), jnp.float32), 3)
COMMON = {"hidden_sizes": (6,), "num_cosines": 5}
IQN = Config(
    defaults="plain",
    head="implicit_quantile", quantile_samples=4, target_samples=7, policy_samples=9,
    **COMMON,
)  # fmt: skip
FQF = Config(defaults="plain", head="fully_parameterized", num_quantiles=8, **COMMON)


@pytest.fixture
def keys_used_once():
    with jax.debug_key_reuse(True):
        yield


@functools.cache
def networks(config):
    return factory.make_networks(config, SPEC)


@functools.cache
def applied(config, view="online"):
    """(output, q_values) of a network, compiled once."""
    network = getattr(networks(config), view)

    @jax.jit
    def apply(key, params, x):
        output = network.apply(key, params, x)
        return output, network.head.q_values(output)

    return apply


def randomised(config, rng):
    """Random parameters, with hidden units that respond."""
    shapes = jax.eval_shape(networks(config).online.init, KEY, jnp.zeros(4))
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)
    for module in (params["torso"]["Hidden_0"], params["FractionEmbedding_0"]):
        module["Dense_0"]["Dense_0"]["bias"] += 2
    return params


def observation(rng):
    return rng.normal(size=4).astype(np.float32)


def affine(params, x):
    return x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]


def plain_quantiles(params, x, fractions):
    """f(psi(x) * phi(t)) for every action and fraction; [A, N]."""
    psi = np.maximum(affine(params["torso"]["Hidden_0"]["Dense_0"], x), 0)
    embedding = params["FractionEmbedding_0"]["Dense_0"]
    columns = []
    for fraction in np.asarray(fractions, np.float64):
        cosines = np.array([np.cos(np.pi * i * fraction) for i in range(5)])
        phi = np.maximum(affine(embedding, cosines), 0)
        columns.append(affine(params["values"]["Dense_0"], psi * phi))
    return np.stack(columns, 1)


# -- implicit quantiles ----------------------------------------------------------------


@pytest.mark.parametrize(
    "view, samples", [("online", 4), ("evaluator", 7), ("policy", 9)]
)
def test_implicit_quantiles_equal_the_formula(view, samples, rng, keys_used_once):
    params, x = randomised(IQN, rng), observation(rng)
    for key in (None, jax.random.key(5)):
        output, q_values = applied(IQN, view)(key, params, x)
        assert output.value.shape == (3, samples)
        fraction = np.asarray(output.fraction)
        np.testing.assert_array_equal(fraction, np.stack([fraction[0]] * 3))
        np.testing.assert_allclose(output.weight, 1 / samples, rtol=1e-6)
        expected = plain_quantiles(params, x, fraction[0])
        assert np.ptp(expected, axis=1).min() > 0.1
        np.testing.assert_allclose(output.value, expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(q_values, expected.mean(1), rtol=1e-3, atol=1e-3)


def test_the_policy_chooses_the_next_action_too():
    nets = networks(IQN)
    assert nets.selector is nets.policy


def test_parameters_serve_any_number_of_samples():
    def shapes(network):
        return jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype),
            jax.eval_shape(network.init, KEY, jnp.zeros(4)),
        )

    online, *others = networks(IQN)
    assert all(shapes(other) == shapes(online) for other in others)


def test_without_a_key_fractions_are_equally_spaced_midpoints(rng):
    output, _ = applied(IQN)(None, randomised(IQN, rng), observation(rng))
    np.testing.assert_allclose(output.fraction[0], [0.125, 0.375, 0.625, 0.875])


def test_fractions_are_uniform_and_new_with_every_key(rng):
    params, x = randomised(IQN, rng), observation(rng)
    keys = jax.random.split(jax.random.key(1), 2000)
    apply = jax.vmap(applied(IQN), (0, None, None))
    fraction = np.asarray(apply(keys, params, x)[0].fraction)[:, 0]
    assert len(np.unique(fraction)) > 0.99 * fraction.size
    assert scipy.stats.kstest(fraction.reshape(-1), "uniform").pvalue > 1e-4
    assert np.abs(np.corrcoef(fraction.T) - np.eye(4)).max() < 0.11
    np.testing.assert_array_equal(apply(keys, params, x)[0].fraction[:, 0], fraction)


def test_noise_changes_the_values_and_not_the_fractions(rng):
    config = Config(**vars(IQN) | {"noisy": True})
    params, x = randomised(config, rng), observation(rng)
    noisy, _ = applied(config)(KEY, params, x)
    embedding = params["FractionEmbedding_0"]["Dense_0"]
    assert embedding["sigma_kernel"].shape == (5, 6)  # it has noise too
    # The same fractions as without noise, but other values there.
    plain, _ = applied(IQN)(KEY, randomised(IQN, rng), x)
    np.testing.assert_array_equal(noisy.fraction, plain.fraction)
    silenced = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * ("sigma" not in str(path)), params
    )
    silent, _ = applied(config)(KEY, silenced, x)
    np.testing.assert_array_equal(noisy.fraction, silent.fraction)
    assert np.abs(noisy.value - silent.value).max() > 1e-3


# -- proposed fractions ----------------------------------------------------------------


def plain_ends(params, x):
    """Ends of the proposed intervals, and the entropy of their lengths."""
    psi = np.maximum(affine(params["torso"]["Hidden_0"]["Dense_0"], x), 0)
    logits = affine(params["fractions"], psi)
    length = np.exp(logits - logits.max())
    length /= length.sum()
    entropy = -np.sum(length * np.log(length))
    return np.concatenate([[0], np.cumsum(length)]), entropy


def test_proposed_fractions_and_quantiles_equal_the_formula(rng, keys_used_once):
    params, x = randomised(FQF, rng), observation(rng)
    output, q_values = applied(FQF)(None, params, x)
    ends, entropy = plain_ends(params, x)
    middle = (ends[1:] + ends[:-1]) / 2
    for action in range(3):
        actual = jax.tree.map(lambda leaf, a=action: np.asarray(leaf)[a], output)
        np.testing.assert_allclose(actual.edge, ends[1:-1], rtol=1e-4)
        np.testing.assert_allclose(actual.quantiles.fraction, middle, rtol=1e-4)
        np.testing.assert_allclose(actual.quantiles.weight, np.diff(ends), rtol=1e-3)
        np.testing.assert_allclose(actual.entropy, entropy, rtol=1e-4)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3)
    expected = plain_quantiles(params, x, middle)
    assert np.ptp(expected, axis=1).min() > 0.1
    close(output.quantiles.value, expected)
    close(output.edge_value, plain_quantiles(params, x, ends[1:-1]))
    close(q_values, expected @ np.diff(ends))


def test_proposed_fractions_increase_from_zero_to_one(rng):
    for scale in range(5):
        output, _ = applied(FQF)(None, randomised(FQF, rng), observation(rng) * scale)
        output = jax.tree.map(np.asarray, output)
        ends = np.concatenate([[0], np.asarray(output.edge[0]), [1]])
        weight, fraction = output.quantiles.weight[0], output.quantiles.fraction[0]
        assert (np.diff(ends) >= 0).all() and ends[-2] <= 1 + 1e-6
        np.testing.assert_allclose(np.sum(weight), 1, rtol=1e-5)
        np.testing.assert_allclose(np.diff(ends), weight, atol=1e-5)
        np.testing.assert_allclose((ends[1:] + ends[:-1]) / 2, fraction, atol=1e-5)


def test_proposals_start_nearly_equal():
    params = jax.jit(networks(FQF).online.init)(KEY, jnp.zeros(4))
    output, _ = applied(FQF)(None, params, np.ones(4, np.float32))
    np.testing.assert_allclose(output.quantiles.weight, 1 / 8, rtol=0.1)


@jax.jit
def gradients(params, x):
    """Of the head's loss, its quantile loss, and the term that it adds to that."""
    network, inner = networks(FQF).online, heads.implicit_quantile()
    target = heads.QuantileTarget(jnp.array([0.5, 2.0]), jnp.array([0.5, 0.5]))

    def losses(params):
        output = network.apply(None, params, x)
        output = jax.tree.map(lambda leaf: leaf[0], output)  # of one action
        whole = network.head.loss(output, target)[0]
        quantile = inner.loss(output.quantiles, target)[0]
        return jnp.stack([whole, quantile, whole - quantile])

    jacobian = jax.jacrev(losses)(params)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], jacobian) for i in range(3)]


def test_the_proposal_and_the_values_learn_from_separate_losses(rng):
    whole, quantile, added = gradients(randomised(FQF, rng), observation(rng))
    # The quantile loss does not train the proposal.
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(quantile["fractions"]))
    # The added term trains only the proposal, not even the torso below it.
    assert all(np.any(leaf) for leaf in jax.tree.leaves(added.pop("fractions")))
    assert max(np.max(np.abs(leaf)) for leaf in jax.tree.leaves(added)) < 1e-6
    for name in ("torso", "values", "FractionEmbedding_0"):
        assert any(np.any(leaf) for leaf in jax.tree.leaves(whole[name]))
        pairs = map(jax.tree.leaves, (whole[name], quantile[name]))
        for left, right in zip(*pairs, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_proposals_have_their_own_optimizer(rng):
    config = Config(**vars(FQF) | {
        "optimizer": "adam", "optimizer_eps": 1e-4, "learning_rate": 0.05,
        "fraction_learning_rate": 0.002,
    })  # fmt: skip
    optimizer, params = optimizers.make_optimizer(config), randomised(config, rng)
    adam = optax.scale_by_adam(0.9, 0.999, 1e-4)
    state, adam_state, square = optimizer.init(params), adam.init(params), 0.0
    mean = 0.0
    update, adam_update = jax.jit(optimizer.update), jax.jit(adam.update)
    for _ in range(3):
        grads = randomised(config, rng)
        direction, state = update(grads, state, params)
        expected, adam_state = adam_update(grads, adam_state)
        for name in ("torso", "values", "FractionEmbedding_0"):
            pairs = map(jax.tree.leaves, (direction[name], expected[name]))
            for left, right in zip(*pairs, strict=True):
                np.testing.assert_allclose(left, right, rtol=1e-5)
        g = grads["fractions"]["Dense_0"]["kernel"].astype(np.float64)
        square = 0.95 * square + 0.05 * g**2
        mean = 0.95 * mean + 0.05 * g
        # The change of the parameters.
        step = 0.002 * g / np.sqrt(square - mean**2 + 1e-5)
        actual = 0.05 * direction["fractions"]["Dense_0"]["kernel"]
        np.testing.assert_allclose(actual, step, rtol=1e-4)
