"""ReDo's recycling of dormant units, against its algorithm written out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq.agents import (
    algorithms,
    factory,
    learner,
    loss_factory,
    optimizers,
    recycling,
)
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.validate import validate
from jaxq.envs import make
from jaxq.rl import representation
from jaxq.types import EnvSpec, Transition

VECTOR = EnvSpec("Vector", jax.ShapeDtypeStruct((3,), jnp.float32), 2)
GRID = EnvSpec("Grid", jax.ShapeDtypeStruct((5, 5, 2), bool), 2)
BASE = Config(
    defaults="plain", hidden_sizes=(6, 5), redo_period=4, redo_threshold=0.05,
    learning_rate=1e-6, channels=3, dense_size=5,
)  # fmt: skip


def kernel(params, *path):
    for name in path:
        params = params[name]
    return np.asarray(params["Dense_0"]["Dense_0"]["kernel"])


def silence(params, layer, unit):
    """Give a unit of a hidden layer inputs that are never above zero."""
    dense = params["torso"][layer]["Dense_0"]["Dense_0"]
    dense["kernel"] = dense["kernel"].at[:, unit].set(0.0)
    dense["bias"] = dense["bias"].at[unit].set(-1.0)


def state_of(config, network, spec, silenced):
    params = network.init(jax.random.key(2), spec.example().observation)
    for layer in ("Hidden_0", "Hidden_1"):  # other units are always active
        dense = params["torso"][layer]["Dense_0"]["Dense_0"]
        dense["kernel"], dense["bias"] = abs(dense["kernel"]), abs(dense["bias"])
    for layer, unit in silenced:
        silence(params, layer, unit)
    optimizer = optimizers.make_optimizer(config)
    return learner.LearnerState(params, params, optimizer.init(params), jnp.int32(-1))


def batch(spec, rng, size=16):
    shape = (size, *spec.observation.shape)
    observation = np.abs(rng.normal(size=shape)).astype(np.float32)
    if spec.observation.dtype == bool:
        observation = observation > 0.1
    return Transition(
        observation, rng.integers(0, 2, size).astype(np.int32),
        rng.normal(size=size).astype(np.float32), np.full(size, 0.9, np.float32),
        observation,
    )  # fmt: skip


def step(config, spec, state, transitions, updates):
    networks = factory.make_networks(config, spec)

    @jax.jit
    def run(state):
        return learner.gradient_step(
            jax.random.key(5), state, transitions, jnp.ones(16), jnp.int32(updates),
            config=config, loss=loss_factory.make_loss(config, networks),
            optimizer=optimizers.make_optimizer(config), network=networks.online,
        )[0]  # fmt: skip

    return run(state)


@pytest.mark.parametrize("spec", [VECTOR, GRID], ids=["mlp", "minatar"])
@pytest.mark.parametrize("fields", [{}, {"dueling": True, "stream_sizes": (4,)}])
def test_dormant_units_are_recycled_and_others_kept(spec, fields, rng):
    config = dataclasses.replace(BASE, **fields)
    network = factory.make_networks(config, spec).online
    silenced = [("Hidden_0", 1), ("Hidden_1", 4)]
    state, transitions = state_of(config, network, spec, silenced), batch(spec, rng)
    before = step(config, spec, state, transitions, 2)  # one step, nothing recycled
    after = step(config, spec, state, transitions, 3)
    first, second = (kernel(after.params, "torso", f"Hidden_{i}") for i in (0, 1))
    assert (kernel(before.params, "torso", "Hidden_0")[:, 1] == 0).all()
    # Incoming weights are new, and so is the bias.
    assert (first[:, 1] != 0).all() and (second[:, 4] != 0).any()
    bias = after.params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]["bias"]
    assert bias[1] > -1 and same(
        np.delete(bias, 1),
        np.delete(before.params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]["bias"], 1),
    )
    # Outgoing weights are zero: of filter 1 at every position, and of unit 4.
    units = first.shape[1]
    rows = second.reshape(-1, units, second.shape[1])
    assert (rows[:, 1] == 0).all()
    readers = ["Hidden_0", "Hidden_1"] if fields else ["Dense_0"]
    for reader in readers:
        outgoing = after.params["values"][reader]
        outgoing = outgoing["Dense_0"]
        outgoing = outgoing.get("Dense_0", outgoing) if fields else outgoing
        assert (np.asarray(outgoing["kernel"])[4] == 0).all()
        assert (np.delete(np.asarray(outgoing["kernel"]), 4, axis=0) != 0).all()
    # All other weights are those of a step without recycling.
    old = kernel(before.params, "torso", "Hidden_1")
    old_rows = old.reshape(-1, units, old.shape[1])
    kept = np.delete(np.delete(rows, 1, axis=1), 4, axis=2)
    assert same(kept, np.delete(np.delete(old_rows, 1, axis=1), 4, axis=2))
    moments = kernel(after.opt_state.mu, "torso", "Hidden_1")
    assert (moments.reshape(-1, units, 5)[:, 1] == 0).all() and (moments != 0).any()
    assert same(after.target_params, state.target_params)


def test_the_output_is_unchanged_where_only_silent_units_are_recycled(rng):
    network = factory.make_networks(BASE, VECTOR).online
    config = dataclasses.replace(BASE, learning_rate=1e-30)
    state = state_of(config, network, VECTOR, [("Hidden_0", 0), ("Hidden_0", 3)])
    transitions = batch(VECTOR, rng)
    after = step(config, VECTOR, state, transitions, 3)
    apply = jax.vmap(network.apply, in_axes=(None, None, 0))
    outputs = [
        np.asarray(apply(None, p, transitions.observation))
        for p in (state.params, after.params)
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-5)
    assert not same(state.params, after.params)


def test_a_frozen_seed_is_not_recycled(rng):
    network = factory.make_networks(BASE, VECTOR).online
    state = state_of(BASE, network, VECTOR, [("Hidden_0", 0)])
    state = state._replace(diverged_at=jnp.int32(1))
    after = step(BASE, VECTOR, state, batch(VECTOR, rng), 3)
    assert same(after.params, state.params)


def test_the_two_halves_of_crelu_are_one_unit(rng):
    config = dataclasses.replace(BASE, activation="crelu")
    network = factory.make_networks(config, VECTOR).online
    params = network.init(jax.random.key(2), jnp.zeros(3))
    dense = params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]
    dense["kernel"] = dense["kernel"].at[:, 2].set(0.0)
    dense["bias"] = dense["bias"].at[2].set(0.0)
    optimizer = optimizers.make_optimizer(config)
    state = learner.LearnerState(params, params, optimizer.init(params), jnp.int32(-1))
    config = dataclasses.replace(config, learning_rate=1e-30)
    after = step(config, VECTOR, state, batch(VECTOR, rng), 3)
    incoming = kernel(after.params, "torso", "Hidden_0")
    outgoing = kernel(after.params, "torso", "Hidden_1")
    assert (incoming[:, 2] != 0).all()
    assert (outgoing[[2, 8]] == 0).all()
    assert (np.delete(outgoing, [2, 8], axis=0) != 0).all()


@pytest.mark.parametrize("algorithm", ["rainbow", "iqn", "fqf", "bootstrapped_dqn"])
def test_only_masked_weights_change(algorithm, rng):
    """With a threshold that no unit is below, or that all are, whatever the head."""
    config = Config(
        algorithm=algorithm, defaults="plain", hidden_sizes=(6, 5), redo_period=1,
        redo_threshold=0.0, v_min=-1.0, v_max=1.0, num_quantiles=4, activation="tanh",
        learning_rate=1e-30,
    )  # fmt: skip
    config = dataclasses.replace(
        config, ensemble_size=3 if algorithm == "bootstrapped_dqn" else 1
    )
    network = factory.make_networks(config, VECTOR).online
    params = network.init(jax.random.key(2), jnp.zeros(3))
    optimizer = optimizers.make_optimizer(config)
    state = learner.LearnerState(params, params, optimizer.init(params), jnp.int32(-1))
    transitions, key = batch(VECTOR, rng), jax.random.key(1)
    for threshold, changes in ((0.0, False), (1e9, True)):
        chosen = dataclasses.replace(config, redo_threshold=threshold)
        after = jax.jit(
            lambda state, chosen=chosen: recycling.recycle(
                chosen, state, network, transitions, key,
                jnp.bool_(True), jnp.bool_(True),
            )
        )(state)  # fmt: skip
        leaves = jax.tree_util.tree_leaves_with_path(state.params)
        for (path, old), new in zip(leaves, jax.tree.leaves(after.params), strict=True):
            if "sigma" in str(path):  # all noise starts at the same scale
                continue
            fixed = "priors" in str(path) or "FractionEmbedding" in str(path)
            # The biases of the output layers are neither incoming nor outgoing.
            output = "values" in str(path) or "fractions" in str(path)
            if fixed or (output and "bias" in str(path)):
                assert same(old, new)
            else:
                assert same(old, new) is not changes, path


def test_scores_equal_their_definition(rng):
    activation = np.abs(rng.normal(size=(7, 3, 2, 4)))
    activation[..., 2] = 0
    weight = rng.random(7)
    mean = np.zeros(4)
    for n in range(7):
        for i in range(3):
            for j in range(2):
                mean += weight[n] * activation[n, i, j] / 6
    scores = representation.unit_scores(jnp.float32(activation), jnp.float32(weight))
    np.testing.assert_allclose(scores, mean / mean.mean(), rtol=1e-5)
    assert (representation.unit_scores(jnp.zeros((7, 4)), jnp.ones(7)) == 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"algorithm": "r2d2", "redo_period": 9}, "a unit of a recurrent cell"),
        ({"redo_period": 9, "weight_norm": "weight"}, "would scale up"),
        ({"redo_period": 9, "optimizer": "muon"}, "muon's step"),
    ],
)
def test_incompatible_settings_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(Config(**fields))


def test_a_residual_torso_is_refused():
    config = Config(
        defaults="plain", environment="Breakout-MinAtar", network="impala",
        redo_period=100,
    )  # fmt: skip
    env = make.from_config(config)
    with pytest.raises(ConfigError, match="given a ImpalaTorso"):
        algorithms.make(config, env.spec)
