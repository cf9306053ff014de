"""Heads that learn from one another, against plain NumPy in float64."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq import load, run
from jaxq.agents import factory, iterated, learner, loss_factory, optimizers
from jaxq.config.config import Config
from jaxq.training import compiled
from jaxq.types import EnvSpec, LearnerState, Transition

K, HIDDEN, ACTIONS, BATCH = 3, 5, 2, 16
SPEC = EnvSpec("Vector", jax.ShapeDtypeStruct((3,), jnp.float32), ACTIONS)
BASE = Config(
    defaults="plain", hidden_sizes=(HIDDEN,), iterated_heads=K, discount=0.9,
    target_period=2, learning_rate=0.05, optimizer="sgd",
)  # fmt: skip


def parts(config):
    """The network with heads, its loss and its optimizer."""
    networks = factory.make_networks(config, SPEC)
    network = iterated.iterated(networks.online, config.iterated_heads)
    loss = iterated.parallel_loss(loss_factory.make_loss(config, networks))
    return network, loss, optimizers.make_optimizer(config)


def fresh(config):
    network, _, optimizer = parts(config)
    return learner.init_learner(
        jax.random.key(1), network, optimizer, jnp.zeros(3), shared_target=True
    )


def transitions(rng):
    """Some of which terminate; one bootstraps from the n-th step of an episode."""
    discount = np.where(rng.random(BATCH) < 0.3, 0.0, 0.9 ** rng.integers(1, 4, BATCH))
    return Transition(
        rng.normal(size=(BATCH, 3)).astype(np.float32),
        rng.integers(0, ACTIONS, BATCH).astype(np.int32),
        rng.normal(size=BATCH).astype(np.float32),
        discount.astype(np.float32),
        rng.normal(size=(BATCH, 3)).astype(np.float32),
    )


def arrays(state):
    """Weights in float64: hidden W, b; heads 0 to K of the last layer, W and b."""
    hidden = state.params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]
    online = state.params["values"]["Dense_0"]["Dense_0"]
    target = state.target_params["values"]["Dense_0"]["Dense_0"]
    heads = [
        np.concatenate([np.asarray(target[n])[None], online[n]]).astype(np.float64)
        for n in ("kernel", "bias")
    ]
    return [np.float64(hidden["kernel"]), np.float64(hidden["bias"]), *heads]


def plain_step(weights, batch, rate, double=False):
    """One step of gradient descent on the sum over heads, by loops."""
    w, b, heads, biases = weights
    grads = [np.zeros_like(x) for x in weights]
    total, errors = 0.0, []
    num_heads = len(heads) - 1

    def features(x):
        return np.maximum(x @ w + b, 0.0)

    for i in range(BATCH):
        x, action = np.float64(batch.observation[i]), batch.action[i]
        f = features(x)
        f_next = features(np.float64(batch.next_observation[i]))
        for k in range(1, num_heads + 1):
            evaluate = f_next @ heads[k - 1] + biases[k - 1]
            select = f_next @ heads[k] + biases[k] if double else evaluate
            target = batch.reward[i] + batch.discount[i] * evaluate[np.argmax(select)]
            error = target - (f @ heads[k][:, action] + biases[k][action])
            total += error**2 / 2 / BATCH
            errors.append(abs(error))
            slope = -error / BATCH
            grads[2][k][:, action] += slope * f
            grads[3][k][action] += slope
            back = slope * heads[k][:, action] * (f > 0)
            grads[0] += np.outer(x, back)
            grads[1] += back
    new = [x - rate * g for x, g in zip(weights, grads, strict=True)]
    return new, total, np.mean(errors)


@pytest.mark.parametrize("num_heads", [1, K])
@pytest.mark.parametrize("double", [False, True])
def test_every_head_learns_from_the_one_before_and_moves_to_the_next(
    num_heads, double, rng
):
    config = dataclasses.replace(BASE, iterated_heads=num_heads, double_q=double)
    network, loss, optimizer = parts(config)
    state = fresh(config)
    weights = arrays(state)

    @jax.jit
    def step(state, batch, updates):
        return learner.gradient_step(
            jax.random.key(0), state, batch, jnp.ones(BATCH), updates,
            config=config, loss=loss, optimizer=optimizer, network=network,
        )  # fmt: skip

    for t in range(7):
        batch = transitions(rng)
        state, priority, metrics = step(state, batch, jnp.int32(t))
        weights, total, error = plain_step(weights, batch, 0.05, double)
        if t % 2 == 1:
            for array in weights[2:]:  # theta_k <- theta_{k+1}, in increasing order
                for k in range(num_heads):
                    array[k] = array[k + 1]
        for found, expected in zip(arrays(state), weights, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(metrics.loss, total, rtol=1e-3)
        np.testing.assert_allclose(np.mean(priority), error, rtol=1e-3)


def test_initially_heads_differ_and_the_target_is_a_copy_of_the_first():
    state = fresh(BASE)
    kernels = arrays(state)[2]
    assert len({kernel.tobytes() for kernel in kernels}) == K
    assert same(kernels[0], kernels[1])
    # Nothing but a last layer is kept twice.
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in state[:2]]
    assert sizes[1] == (HIDDEN + 1) * ACTIONS
    assert sizes[0] == 4 * HIDDEN + K * sizes[1]


def test_a_soft_shift_averages_and_a_frozen_seed_keeps_its_heads(rng):
    leaf, target = rng.normal(size=(2, K, 4, 2)).astype(np.float32)
    state = LearnerState(
        {"values": {"Dense_0": leaf}}, {"values": {"Dense_0": target[0]}}, (), -1
    )

    @jax.jit
    def shifted(due, healthy):
        moved = iterated.shift(state, due, 0.25, healthy)
        heads = moved.params["values"]["Dense_0"]
        target = moved.target_params["values"]["Dense_0"]
        return target, heads

    old = [np.float64(target[0]), *np.float64(leaf)]
    expected = [0.75 * old[k] + 0.25 * old[min(k + 1, K)] for k in range(K + 1)]
    new_target, heads = shifted(True, True)
    np.testing.assert_allclose([new_target, *heads], expected, rtol=1e-5, atol=1e-6)
    for due, healthy in ((False, True), (True, False)):
        new_target, heads = shifted(due, healthy)
        assert same(new_target, target[0]) and same(heads, leaf)


def test_a_head_drawn_at_every_step_explores_and_the_last_is_evaluated():
    network, _, _ = parts(BASE)
    state = fresh(BASE)
    x = np.float32([0.3, -1.0, 0.7])
    w, b, heads, biases = arrays(state)
    f = np.maximum(x @ w + b, 0.0)
    outputs = [f @ heads[k] + biases[k] for k in range(1, K + 1)]
    last, _ = network.step(None, state.params, (), x)
    np.testing.assert_allclose(last[:, 0], outputs[-1], rtol=1e-5)
    keys = jax.random.split(jax.random.key(3), 600)
    drawn = jax.vmap(lambda key: network.step(key, state.params, (), x)[0])(keys)
    counts = [
        int(np.isclose(drawn[:, :, 0], output, rtol=1e-5).all(axis=1).sum())
        for output in outputs
    ]
    assert sum(counts) == 600 and min(counts) > 150


def small(fields):
    fields = {"algorithm": "dqn", "hidden_sizes": (8, 6)} | fields
    name = fields.pop("algorithm")
    return family.config(
        name, total_steps=400, buffer_size=400, eval_points=1, iterated_heads=K,
        target_period=3, chunk_iterations=2, warmup_steps=200, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"dueling": True, "stream_sizes": (4,), "noisy": True, "prioritized": True},
        {"redo_period": 2, "normalize_observations": True, "double_q": True},
        {"normalization": "batch", "n_step": 3, "l2_init_penalty": 0.1},
        {"head": "implicit_quantile", "munchausen": True, "weight_decay": 0.1},
        {"head": "fully_parameterized", "redo_period": 2},
        {"head": "categorical", "next_value": "expected_sarsa"},
        {"return_estimator": "retrace", "n_step": 3, "q_penalty": 0.1},
        {"algorithm": "r2d2", "sequence_length": 4, "burn_in": 2, "n_step": 1},
        {"average_reward": "centering", "intrinsic_bonus": "rnd"},
        {"rollout_length": 4, "target_tau": 0.1, "hidden_sizes": ()},
    ],
    ids=str,
)  # fmt: skip
def test_heads_keep_their_shapes_beside_the_other_parts(fields):
    """Traced only; shapes and dtypes of a chunk's state are those of its start."""
    start, end = family.shapes(small(fields), family.gauntlet())
    assert family.same_shapes(start, end)
    learned = start.agent.learner
    last = learned.params["values"]["Dense_0"]["Dense_0"]["kernel"]
    target = learned.target_params["values"]["Dense_0"]["Dense_0"]["kernel"]
    assert last.shape == (1, K, *target.shape[1:])


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize(
    "fields",
    [
        {"redo_period": 2, "normalize_observations": True, "double_q": True},
        {"normalization": "batch", "reset_period": 3},
    ],
    ids=str,
)
def test_heads_stay_finite_beside_the_other_parts(fields):
    trained = family.Trained(small(fields), family.gauntlet()).train()
    measured = compiled.diagnose_block(
        trained.traced, trained.keys, trained.state, env=trained.env
    )
    learned = trained.state.agent.learner
    leaves = jax.tree.leaves((learned.params, learned.target_params, measured))
    assert all(np.isfinite(leaf).all() for leaf in leaves)


@pytest.mark.slow
@pytest.mark.conformance
def test_a_run_is_loaded_and_its_parameters_start_another(tmp_path):
    config = dataclasses.replace(
        family.TINY, algorithm="isqn", iterated_heads=K, num_seeds=2, seed_block=2,
        target_tau=0.5,
    )  # fmt: skip
    first = run(config, output=tmp_path, plot=False)
    policy = load(first)
    action, _ = policy.step(
        jax.random.key(1), policy.initial_memory(jax.random.key(0)), jnp.ones(4)
    )
    assert int(action) in (0, 1)
    second = run(config, params=first.params, plot=False)
    assert np.isfinite(second.curve.eval_return).all()
    assert not same(first.params, second.params)


def test_recycled_units_are_silent_for_every_head_and_for_the_target(rng):
    config = dataclasses.replace(BASE, redo_period=4, learning_rate=1e-6)
    network, loss, optimizer = parts(config)
    state = fresh(config)
    dense = state.params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]
    dense["kernel"] = abs(dense["kernel"]).at[:, 2].set(0.0)
    dense["bias"] = abs(dense["bias"]).at[2].set(-1.0)
    batch = transitions(rng)
    batch = batch._replace(observation=abs(batch.observation))

    @jax.jit
    def step(state, batch):
        return learner.gradient_step(
            jax.random.key(0), state, batch, jnp.ones(BATCH), jnp.int32(3),
            config=config, loss=loss, optimizer=optimizer, network=network,
        )[0]  # fmt: skip

    after = step(state, batch)
    kernels = arrays(after)[2]
    assert (kernels[:, 2] == 0).all() and (np.delete(kernels, 2, axis=1) != 0).all()
