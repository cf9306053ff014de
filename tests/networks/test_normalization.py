"""Batch normalisation: by the minibatch in learning, by averages in acting."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq.agents import factory, learner, optimizers
from jaxq.config.config import Config
from jaxq.networks import layers
from jaxq.rl import losses
from jaxq.types import EnvSpec, LearnerState, Transition

SPEC = EnvSpec("test", jax.ShapeDtypeStruct((4,), jnp.float32), 3)
GRID = EnvSpec("grid", jax.ShapeDtypeStruct((10, 10, 2), bool), 3)
CONFIG = Config(
    defaults="plain",
    normalization="batch", hidden_sizes=(6,), channels=3, dense_size=5,
    learning_rate=0.01, target_period=1000,
)  # fmt: skip
STATISTICS = "batch_stats"
MOMENTUM = 0.99  # flax's default


@functools.cache
def networks(spec):
    return factory.make_networks(CONFIG, spec)


def randomised(spec, rng):
    """Parameters and statistics that are not their initial zeros and ones."""
    shapes = jax.eval_shape(
        networks(spec).online.init, jax.random.key(0),
        jnp.zeros(spec.observation.shape, spec.observation.dtype),
    )  # fmt: skip
    params = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape)), shapes)
    spread = jax.tree.map(np.abs, params[STATISTICS])
    return params | {STATISTICS: jax.tree.map(lambda leaf: leaf + 0.1, spread)}


def observations(spec, rng, size=16):
    shape = (size, *spec.observation.shape)
    return (
        rng.random(shape) < 0.4 if spec is GRID else np.float32(rng.normal(size=shape))
    )


def normalise(x, norm, mean, var):
    return np.maximum(
        (x - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"], 0
    )


def plain(params, spec, x, training):
    """Outputs [B, A], and the mean and variance of every layer's inputs."""
    hidden = [params["torso"]["Hidden_0"]]
    x = np.asarray(x, np.float64)
    if spec is GRID:
        hidden.append(params["torso"]["Hidden_1"])
        windows = [x[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
        x = np.concatenate(windows, -1)
    moments = []
    for number, layer in enumerate(hidden):
        dense = layer["Dense_0"]["Dense_0"]
        y = x @ dense["kernel"] + dense["bias"]
        axes = tuple(range(y.ndim - 1))  # the minibatch and, in a grid, the positions
        moments.append((y.mean(axes), y.var(axes)))
        running = params[STATISTICS]["torso"][f"Hidden_{number}"]["BatchNorm_0"]
        mean, var = moments[-1] if training else (running["mean"], running["var"])
        y = normalise(y, layer["BatchNorm_0"], mean, var)
        x = y.reshape(len(y), -1) if y.ndim == 4 else y
    dense = params["values"]["Dense_0"]["Dense_0"]
    return x @ dense["kernel"] + dense["bias"], moments


def over_batch(network, params, x):
    apply = functools.partial(network.apply, None, params)
    return jax.jit(jax.vmap(apply, axis_name=layers.BATCH))(x)[..., 0]


@pytest.mark.parametrize("spec", [SPEC, GRID], ids=["mlp", "minatar"])
def test_the_learning_network_normalises_by_the_minibatch(spec, rng):
    params, x = randomised(spec, rng), observations(spec, rng)
    expected, _ = plain(params, spec, x, training=True)
    actual = over_batch(networks(spec).online, params, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    assert networks(spec).policy is networks(spec).evaluator


@pytest.mark.parametrize("spec", [SPEC, GRID], ids=["mlp", "minatar"])
def test_the_acting_network_normalises_by_running_averages(spec, rng):
    params, x = randomised(spec, rng), observations(spec, rng)
    expected, _ = plain(params, spec, x, training=False)
    actual = over_batch(networks(spec).policy, params, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    # One observation is as good as many.
    alone = jax.jit(networks(spec).policy.apply)(None, params, x[0])[:, 0]
    np.testing.assert_allclose(alone, expected[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("spec", [SPEC, GRID], ids=["mlp", "minatar"])
def test_running_averages_move_towards_the_minibatch(spec, rng):
    params, x = randomised(spec, rng), observations(spec, rng)
    absorbed = jax.jit(networks(spec).online.update_batch_stats)(params, x)
    _, moments = plain(params, spec, x, training=True)
    for number, (mean, var) in enumerate(moments):
        name = f"Hidden_{number}"
        before = params[STATISTICS]["torso"][name]["BatchNorm_0"]
        after = absorbed[STATISTICS]["torso"][name]["BatchNorm_0"]
        for field, new in (("mean", mean), ("var", var)):
            expected = MOMENTUM * before[field] + (1 - MOMENTUM) * new
            assert after[field].shape == before[field].shape
            np.testing.assert_allclose(after[field], expected, rtol=1e-4, atol=1e-4)
    assert same(
        {k: v for k, v in absorbed.items() if k != STATISTICS},
        {k: v for k, v in params.items() if k != STATISTICS},
    )


def test_running_averages_start_at_zero_and_one():
    params = jax.jit(networks(SPEC).online.init)(jax.random.key(0), jnp.ones(4))
    running = params[STATISTICS]["torso"]["Hidden_0"]["BatchNorm_0"]
    np.testing.assert_array_equal(running["mean"], np.zeros(6))
    np.testing.assert_array_equal(running["var"], np.ones(6))


@pytest.mark.parametrize("absorbs", [False, True])
def test_only_update_batch_stats_changes_statistics(absorbs, rng):
    config = dataclasses.replace(CONFIG, optimizer="adam", max_grad_norm=1.0)
    nets, x = networks(SPEC), observations(SPEC, rng)
    direction = optimizers.make_optimizer(config)
    params = randomised(SPEC, rng)
    opt_state = jax.jit(direction.init)(params)
    state = LearnerState(params, params, opt_state, jnp.int32(-1))
    transitions = Transition(
        x, rng.integers(0, 3, 16), np.float32(rng.normal(size=16)),
        np.full(16, 0.9, np.float32), observations(SPEC, rng),
    )  # fmt: skip

    @jax.jit
    def step(state):
        return learner.gradient_step(
            jax.random.key(1), state, transitions, jnp.ones(16), jnp.int32(0),
            config=config, loss=losses.td_loss(nets.online, evaluator=nets.evaluator),
            optimizer=direction,
            network=nets.online if absorbs else nets.evaluator,
        )[0]  # fmt: skip

    after = step(state)
    for _ in range(2):
        before, after = after, step(after)
    expected = before.params
    if absorbs:
        # The statistics of the minibatch under the new weights.
        old = after.params | {STATISTICS: before.params[STATISTICS]}
        expected = jax.jit(nets.online.update_batch_stats)(old, x)
        assert not same(expected[STATISTICS], before.params[STATISTICS])
    for left, right in zip(
        jax.tree.leaves(after.params[STATISTICS]),
        jax.tree.leaves(expected[STATISTICS]),
        strict=True,
    ):
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-7)
    assert not same(after.params["values"], before.params["values"])


def test_statistics_get_no_gradient(rng):
    params, x = randomised(SPEC, rng), observations(SPEC, rng)
    gradient = jax.grad(lambda p: over_batch(networks(SPEC).online, p, x).sum())(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient[STATISTICS]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["values"]))


def test_the_gradient_goes_through_the_moments_of_the_minibatch(rng):
    params, x = randomised(SPEC, rng), observations(SPEC, rng)
    nets = networks(SPEC)
    outputs = jax.jit(lambda x: over_batch(nets.online, params, x)[0, 0])
    assert np.abs(jax.grad(outputs)(x)[1:]).max() > 0  # of the other examples
