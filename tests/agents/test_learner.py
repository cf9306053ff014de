import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq.agents import learner, optimizers
from jaxq.config.config import Config
from jaxq.networks import ensemble
from jaxq.rl import heads, losses
from jaxq.types import LossInfo, Transition, feed_forward

BASE = Config(defaults="plain", learning_rate=0.1, optimizer="sgd")


@pytest.fixture
def keys_used_once():
    with jax.debug_key_reuse(True):
        yield


def network():
    """Linear in a feature vector: observation [3] -> output[2, 1]."""
    return feed_forward(
        lambda key, observation: jax.random.normal(key, (3, 2)),
        lambda key, params, observation: (observation @ params)[:, None],
        heads.scalar(),
    )


def batch(rng, size=16):
    observation, after = rng.normal(size=(2, size, 3)).astype(np.float32)
    return Transition(
        observation,
        rng.integers(0, 2, size).astype(np.int32),
        rng.normal(size=size).astype(np.float32),
        np.full(size, 0.9, np.float32),
        after,
    )


def step(config, state, transitions, weight=None, updates=0, update_batch_stats=None):
    weight = np.ones(transitions.action.size, np.float32) if weight is None else weight
    return compiled(config, update_batch_stats)(
        state, transitions, weight, jnp.int32(updates)
    )


@functools.cache
def compiled(config, update_batch_stats=None):
    @jax.jit
    def gradient_step(state, transitions, weight, updates):
        return learner.gradient_step(
            jax.random.key(0), state, transitions, weight, updates,
            config=config, loss=losses.td_loss(network()),
            optimizer=optimizers.make_optimizer(config),
            network=network()._replace(update_batch_stats=update_batch_stats),
        )  # fmt: skip

    return gradient_step


def fresh(config):
    params = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    net = network()._replace(init=lambda key, observation: jnp.asarray(params))
    optimizer = optimizers.make_optimizer(config)
    return learner.init_learner(jax.random.key(1), net, optimizer, jnp.zeros(3))


def plain_errors(params, target_params, transitions):
    """TD errors, transition by transition."""
    errors = []
    for s, a, r, discount, after in zip(*transitions[:5], strict=True):
        errors.append(r + discount * np.max(after @ target_params) - (s @ params)[a])
    return np.array(errors)


def plain_gradient(params, target_params, transitions, weight):
    """Of the mean squared TD loss."""
    gradient, size = np.zeros((3, 2)), len(weight)
    errors = plain_errors(params, target_params, transitions)
    for s, a, e, w in zip(*transitions[:2], errors, weight, strict=True):
        gradient[:, a] -= w * e * s / size
    return gradient


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_steps_equal_the_equations(optimizer, rng):
    config = Config(
        defaults="plain",
        optimizer=optimizer,
        learning_rate=0.05,
        optimizer_eps=0.01,
        target_period=1000,
    )
    state = fresh(config)
    params, square = np.asarray(state.params, np.float64), 0.0
    target, weight = params.copy(), rng.random(16).astype(np.float32)
    for t in range(6):
        transitions = batch(rng)
        gradient = plain_gradient(params, target, transitions, weight)
        square = 0.95 * square + 0.05 * gradient**2
        scale = 1 if optimizer == "sgd" else np.sqrt(square) + 0.01
        params = params - 0.05 * gradient / scale
        state, _, metrics = step(config, state, transitions, weight, t)
        np.testing.assert_allclose(state.params, params, rtol=1e-3, atol=1e-4)
        norm = np.sqrt((gradient**2).sum())
        np.testing.assert_allclose(metrics.grad_norm, norm, rtol=1e-4)


def test_metrics_and_priorities(rng, keys_used_once):
    transitions, state = batch(rng), fresh(BASE)
    weight = rng.random(16).astype(np.float32)
    _, priority, metrics = step(BASE, state, transitions, weight)
    params = np.asarray(state.params)
    errors = plain_errors(params, params, transitions)
    np.testing.assert_allclose(priority, np.abs(errors), rtol=1e-4)
    np.testing.assert_allclose(metrics.loss, np.mean(weight * errors**2 / 2), rtol=1e-4)
    mean_error = np.average(np.abs(errors), weights=weight)
    np.testing.assert_allclose(metrics.td_error, mean_error, rtol=1e-4)
    values = (transitions.observation @ params)[np.arange(16), transitions.action]
    mean_value = np.average(values, weights=weight)
    np.testing.assert_allclose(metrics.q_value, mean_value, rtol=1e-3)


def test_a_minibatch_without_weight_changes_nothing(rng):
    state = fresh(BASE)
    after, _, metrics = step(BASE, state, batch(rng), np.zeros(16, np.float32))
    assert same(after.params, state.params)
    assert metrics.loss == metrics.td_error == metrics.q_value == 0


def test_clipping_bounds_the_norm_and_keeps_the_direction(rng):
    transitions = batch(rng)
    state = fresh(BASE)
    free, _, metrics = step(BASE, state, transitions)
    clipped, _, same_metrics = step(
        dataclasses.replace(BASE, max_grad_norm=0.01), state, transitions
    )
    assert metrics.grad_norm > 0.01 and metrics.grad_norm == same_metrics.grad_norm
    move, small = free.params - state.params, clipped.params - state.params
    np.testing.assert_allclose(np.linalg.norm(small), 0.1 * 0.01, rtol=1e-4)
    np.testing.assert_allclose(
        small / np.linalg.norm(small), move / np.linalg.norm(move), rtol=1e-3
    )
    wide = dataclasses.replace(BASE, max_grad_norm=1e6)
    assert same(step(wide, state, transitions)[0].params, free.params)


def test_sum_is_the_batch_size_times_the_mean(rng):
    transitions, state = batch(rng), fresh(BASE)
    total = dataclasses.replace(BASE, loss_reduction="sum", learning_rate=0.1 / 16)
    np.testing.assert_allclose(
        step(total, state, transitions)[0].params,
        step(BASE, state, transitions)[0].params,
        rtol=1e-5,
    )


def test_weight_zero_removes_a_transition(rng):
    transitions, state = batch(rng, 4), fresh(BASE)
    weight = np.array([1, 0, 1, 1], np.float32)
    reward = transitions.reward + np.float32([0, 100, 0, 0])
    other = transitions._replace(reward=reward)
    left, _, _ = step(BASE, state, transitions, weight)
    right, _, _ = step(BASE, state, other, weight)
    assert same(left.params, right.params)


@pytest.mark.parametrize("period", [1, 3])
def test_target_params_are_an_exact_copy_every_period(period, rng):
    config = dataclasses.replace(BASE, target_period=period)
    state = fresh(config)
    for t in range(7):
        before = state.target_params
        state, _, _ = step(config, state, batch(rng), updates=t)
        due = (t + 1) % period == 0
        assert same(state.target_params, state.params if due else before)


def test_polyak_mixes(rng):
    config = dataclasses.replace(BASE, target_period=1, target_tau=0.25)
    state = fresh(config)
    after, _, _ = step(config, state, batch(rng))
    expected = 0.75 * state.target_params + 0.25 * after.params
    np.testing.assert_allclose(after.target_params, expected, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_seed_that_diverges_is_frozen_at_its_last_finite_params(bad, rng):
    config = dataclasses.replace(BASE, optimizer="adam", target_period=1)
    state, _, _ = step(config, fresh(config), batch(rng), updates=0)
    poisoned = batch(rng)._replace(reward=np.full(16, bad, np.float32))
    frozen, _, _ = step(config, state, poisoned, updates=5)
    assert frozen.diverged_at == 5
    assert same(frozen.params, state.params)
    assert same(frozen.target_params, state.target_params)
    later, _, _ = step(config, frozen, batch(rng), updates=6)
    assert later.diverged_at == 5 and same(later.params, state.params)
    assert same(later.target_params, state.target_params)


@pytest.mark.parametrize("size", [1e-30, 1.0, 7e18])
@pytest.mark.parametrize(
    "optimizer", ["adam", "amsgrad", "nadam", "radam", "rmsprop", "muon", "sgd"]
)
def test_a_gradient_of_finite_norm_makes_a_finite_step(optimizer, size, rng):
    """So the new parameters need not be checked separately."""

    def loss(key, params, target_params, example):
        value = size * params.sum()
        return value, LossInfo(value, value)

    transitions = batch(rng)
    for centered in (False, True):
        config = dataclasses.replace(
            BASE, optimizer=optimizer, rmsprop_centered=centered, learning_rate=1.0
        )

        @jax.jit
        def step(state, updates, config=config):
            return learner.gradient_step(
                jax.random.key(0), state, transitions, jnp.ones(16), updates,
                config=config, loss=loss, optimizer=optimizers.make_optimizer(config),
                network=network(),
            )  # fmt: skip

        state = fresh(config)
        for t in range(30):
            state, _, metrics = step(state, jnp.int32(t))
            assert np.isfinite(metrics.grad_norm)
            assert np.isfinite(state.params).all()
        assert size > 1.0 or state.diverged_at == -1


def shift(params, observation):
    """A stand-in for statistics: the mean observation, in the last row."""
    return params.at[2].set(jnp.mean(observation))


def test_batch_stats_are_updated_after_the_step(rng):
    transitions, state = batch(rng), fresh(BASE)
    plain, _, _ = step(BASE, state, transitions)
    config = dataclasses.replace(BASE, target_period=1)
    after, _, _ = step(config, state, transitions, update_batch_stats=shift)
    expected = shift(plain.params, transitions.observation)
    np.testing.assert_allclose(after.params, expected, rtol=1e-5)
    assert same(after.target_params, after.params)  # the copy has the statistics too


def test_a_frozen_seed_keeps_its_batch_stats(rng):
    state = fresh(BASE)
    poisoned = batch(rng)._replace(reward=np.full(16, np.nan, np.float32))
    after, _, _ = step(BASE, state, poisoned, updates=3, update_batch_stats=shift)
    assert after.diverged_at == 3 and same(after.params, state.params)


def test_statistics_that_are_not_finite_freeze_a_seed(rng):
    state = fresh(BASE)
    transitions = batch(rng)
    bad = lambda params, observation: params + jnp.inf  # noqa: E731
    after, _, _ = step(BASE, state, transitions, updates=7, update_batch_stats=bad)
    assert after.diverged_at == 7 and same(after.params, state.params)


@pytest.mark.parametrize("noisy, keys", [(False, 16), (True, 1)])
def test_each_example_has_its_own_key_unless_weights_are_noisy(noisy, keys, rng):
    def loss(key, params, target_params, example):
        value = jax.random.normal(key) * params.sum()
        return value, LossInfo(jax.random.normal(key), value)

    @jax.jit
    def step(state, transitions):
        return learner.gradient_step(
            jax.random.key(0), state, transitions, jnp.ones(16), jnp.int32(0),
            config=dataclasses.replace(BASE, noisy=noisy), loss=loss,
            optimizer=optimizers.make_optimizer(BASE), network=network(),
        )  # fmt: skip

    _, priority, _ = step(fresh(BASE), batch(rng))
    assert len(np.unique(priority)) == keys


@pytest.mark.parametrize(
    ("fields", "draws"),
    [({}, 16), ({"noisy": True}, 1), ({"noisy": True, "shared_noise": False}, 16)],
)
def test_a_minibatch_shares_the_key_of_its_noise_only_where_configured(
    fields, draws, rng
):
    def drawn(key, params, target_params, transition):
        return 0.0 * jnp.sum(params), LossInfo(jax.random.uniform(key), jnp.zeros(()))

    config = dataclasses.replace(BASE, **fields)
    _, priority, _ = learner.gradient_step(
        jax.random.key(0), fresh(config), batch(rng), jnp.ones(16), jnp.int32(0),
        config=config, loss=drawn, optimizer=optimizers.make_optimizer(config),
        network=network(),
    )  # fmt: skip
    assert len(set(np.asarray(priority).tolist())) == draws


def test_the_newest_target_networks_are_kept(rng):
    """Averaged-DQN: a list, whose first entry is the newest copy."""
    config = dataclasses.replace(BASE, averaged_targets=3, target_period=2)
    params = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    net = network()._replace(init=lambda key, observation: jnp.asarray(params))
    optimizer = optimizers.make_optimizer(config)
    state = learner.init_learner(
        jax.random.key(1), net, optimizer, jnp.zeros(3), averaged_targets=3
    )
    average = ensemble.averaged(net)
    loss = losses.td_loss(net, evaluator=average)

    @jax.jit
    def step(state, updates):
        return learner.gradient_step(
            jax.random.key(0), state, transitions, jnp.ones(16), updates,
            config=config, loss=loss, optimizer=optimizer, network=net,
        )[0]  # fmt: skip

    copies, transitions = [params] * 3, batch(rng)
    for t in range(9):
        state = step(state, jnp.int32(t))
        if t % 2 == 1:
            copies = [np.asarray(state.params), *copies[:2]]
        np.testing.assert_allclose(state.target_params, copies, rtol=1e-6)
    example = transitions.observation[0]
    outputs = [net.apply(None, jnp.asarray(copy), example) for copy in copies]
    average_output = average.apply(None, state.target_params, example)
    np.testing.assert_allclose(average_output, np.mean(outputs, axis=0), rtol=1e-5)
    assert len({c.tobytes() for c in copies}) == 3


def test_one_target_network_learns_as_before(rng):
    """The mean of three equal copies is the copy."""
    transitions, state = batch(rng), fresh(BASE)
    expected, _, _ = step(BASE, state, transitions)
    config = dataclasses.replace(BASE, averaged_targets=3)
    repeated = jax.tree.map(lambda x: jnp.stack([x] * 3), state.target_params)
    net = network()
    after, _, _ = learner.gradient_step(
        jax.random.key(0), state._replace(target_params=repeated), transitions,
        jnp.ones(16), jnp.int32(0), config=config,
        loss=losses.td_loss(net, evaluator=ensemble.averaged(net)),
        optimizer=optimizers.make_optimizer(config), network=net,
    )  # fmt: skip
    np.testing.assert_allclose(after.params, expected.params, rtol=1e-5)
