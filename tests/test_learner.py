import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq import heads, learner, losses
from jaxq.config import Config
from jaxq.types import Network, Transition

BASE = Config(learning_rate=0.1, optimizer="sgd")


def network():
    """Linear in a feature vector: observation [3] -> output[2, 1]."""
    return Network(
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


def step(config, state, transitions, weight=None, updates=0):
    net = network()
    weight = np.ones(transitions.action.size, np.float32) if weight is None else weight
    return learner.gradient_step(
        jax.random.key(0), state, transitions, weight, jnp.int32(updates),
        config=config, loss=losses.td_loss(net),
        optimizer=learner.make_optimizer(config),
    )  # fmt: skip


def fresh(config):
    return learner.init_learner(
        jax.random.key(1), network(), learner.make_optimizer(config), jnp.zeros(3)
    )


def plain_gradient(params, target_params, transitions, weight):
    """Of the mean squared TD loss, transition by transition."""
    gradient, size = np.zeros((3, 2)), len(weight)
    for s, a, r, discount, after, w in zip(*transitions, weight, strict=True):
        error = r + discount * np.max(after @ target_params) - (s @ params)[a]
        gradient[:, a] -= w * error * s / size
    return gradient


def plain_directions(config, gradients):
    """Directions of every optimizer, from the papers' equations."""
    eps, m, v = config.optimizer_eps, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        if config.optimizer == "sgd":
            yield g
        elif config.optimizer == "adam":
            m = config.adam_b1 * m + (1 - config.adam_b1) * g
            v = config.adam_b2 * v + (1 - config.adam_b2) * g**2
            unbiased = m / (1 - config.adam_b1**t), v / (1 - config.adam_b2**t)
            yield unbiased[0] / (np.sqrt(unbiased[1]) + eps)
        else:
            m = config.rmsprop_decay * m + (1 - config.rmsprop_decay) * g
            v = config.rmsprop_decay * v + (1 - config.rmsprop_decay) * g**2
            spread = v - m**2 if config.rmsprop_centered else v
            if config.rmsprop_eps_in_root:
                yield g / np.sqrt(spread + eps)
            else:
                yield g / (np.sqrt(spread) + eps)


@pytest.mark.parametrize("in_root", [False, True])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_steps_equal_the_papers_equations(optimizer, centered, in_root, rng):
    config = Config(
        optimizer=optimizer, rmsprop_centered=centered, rmsprop_eps_in_root=in_root,
        learning_rate=0.05, optimizer_eps=0.01, target_period=1000,
    )  # fmt: skip
    state = fresh(config)
    params = np.asarray(state.params, np.float64)
    target = params.copy()
    weight = rng.random(16).astype(np.float32)
    gradients = []
    for t in range(6):
        transitions = batch(rng)
        gradients.append(plain_gradient(params, target, transitions, weight))
        direction = list(plain_directions(config, gradients))[-1]
        params = params - 0.05 * direction
        state, _, metrics = step(config, state, transitions, weight, t)
        np.testing.assert_allclose(state.params, params, rtol=1e-3, atol=1e-4)
        norm = np.sqrt((gradients[-1] ** 2).sum())
        np.testing.assert_allclose(metrics.grad_norm, norm, rtol=1e-4)


def test_centred_rmsprop_survives_a_steady_gradient():
    scale = learner.scale_by_centered_rms(0.95, 1e-8, eps_in_sqrt=False)
    state = scale.init(jnp.zeros(1000))
    gradient = jnp.linspace(0.1, 3.0, 1000)
    for _ in range(300):
        direction, state = scale.update(gradient, state)
    assert np.isfinite(direction).all()


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
    assert same(frozen._replace(diverged_at=0), state._replace(diverged_at=0))
    later, _, _ = step(config, frozen, batch(rng), updates=6)
    assert same(later, frozen)


def test_step_size_schedules():
    for kind, expected in (("constant", 1.0), ("linear", 0.75), ("inverse", 0.8)):
        config = Config(
            learning_rate=2.0, learning_rate_schedule=kind, learning_rate_updates=100.0
        )
        size = learner.step_size(config, jnp.int32(25))
        np.testing.assert_allclose(size, 2.0 * expected, rtol=1e-6)
    linear = dataclasses.replace(config, learning_rate_schedule="linear")
    assert learner.step_size(linear, jnp.int32(1000)) == 0
