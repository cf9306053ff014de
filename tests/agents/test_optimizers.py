"""The directions of descent, against their papers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxq.agents import optimizers, schedules
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError


def plain_directions(config, gradients):
    """Directions of every optimizer, from the papers' equations."""
    eps, m, v, largest = config.optimizer_eps, 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        if config.optimizer == "sgd":
            yield g
        elif config.optimizer == "adam":
            m = config.adam_b1 * m + (1 - config.adam_b1) * g
            v = config.adam_b2 * v + (1 - config.adam_b2) * g**2
            unbiased = m / (1 - config.adam_b1**t), v / (1 - config.adam_b2**t)
            yield unbiased[0] / (np.sqrt(unbiased[1]) + eps)
        elif config.optimizer == "amsgrad":
            m = config.adam_b1 * m + (1 - config.adam_b1) * g
            v = config.adam_b2 * v + (1 - config.adam_b2) * g**2
            largest = np.maximum(largest, v / (1 - config.adam_b2**t))
            yield m / (1 - config.adam_b1**t) / (np.sqrt(largest) + eps)
        elif config.optimizer == "nadam":
            b1, b2 = config.adam_b1, config.adam_b2
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            yield ahead / (np.sqrt(v / (1 - b2**t)) + eps)
        elif config.optimizer == "radam":
            b1, b2 = config.adam_b1, config.adam_b2
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            mean, most = m / (1 - b1**t), 2 / (1 - b2) - 1
            length = most - 2 * t * b2**t / (1 - b2**t)
            if length < 5:  # the variance of the adaptive part is not tractable yet
                yield mean
                continue
            up = (length - 4) * (length - 2) * most
            down = (most - 4) * (most - 2) * length
            root = np.sqrt(v / (1 - b2**t))
            yield np.sqrt(up / down) * mean / (root + eps)
        else:
            m = config.rmsprop_decay * m + (1 - config.rmsprop_decay) * g
            v = config.rmsprop_decay * v + (1 - config.rmsprop_decay) * g**2
            spread = v - m**2 if config.rmsprop_centered else v
            if config.rmsprop_eps_in_root:
                yield g / np.sqrt(spread + eps)
            else:
                yield g / (np.sqrt(spread) + eps)


RMSPROP = [("rmsprop", a, b) for a in (False, True) for b in (False, True)]


@pytest.mark.parametrize(
    "optimizer, centered, in_root",
    [(name, False, False) for name in ("sgd", "adam", "amsgrad", "nadam", "radam")]
    + RMSPROP,
)
def test_directions_equal_the_papers_equations(optimizer, centered, in_root, rng):
    config = Config(
        defaults="plain",
        optimizer=optimizer, rmsprop_centered=centered, rmsprop_eps_in_root=in_root,
        optimizer_eps=0.01, adam_b1=0.8, adam_b2=0.9,
    )  # fmt: skip
    ours = optimizers.make_optimizer(config)
    gradients = rng.normal(size=(12, 40)) * 10.0 ** rng.uniform(-2, 1, 40)
    state = ours.init(jnp.zeros(40))
    update = jax.jit(ours.update)
    for gradient, expected in zip(
        gradients, plain_directions(config, gradients), strict=True
    ):
        direction, state = update(jnp.float32(gradient), state)
        np.testing.assert_allclose(direction, expected, rtol=1e-3, atol=1e-4)


def test_muon_makes_the_momentum_of_a_matrix_orthogonal(rng):
    config = Config(defaults="plain", optimizer="muon", adam_b1=0.8, adam_b2=0.9)
    ours = optimizers.make_optimizer(config)
    params = {"kernel": jnp.zeros((6, 4)), "bias": jnp.zeros(4)}
    adam = plain_directions(
        dataclasses.replace(config, optimizer="nadam"),
        biases := rng.normal(size=(5, 4)).astype(np.float32),
    )
    state, momentum = ours.init(params), np.zeros((6, 4))
    for t, (bias, expected) in enumerate(zip(biases, adam, strict=True), start=1):
        gradient = rng.normal(size=(6, 4)).astype(np.float32)
        direction, state = ours.update(
            {"kernel": jnp.array(gradient), "bias": jnp.array(bias)}, state, params
        )
        momentum = 0.95 * momentum + 0.05 * gradient
        ahead = 0.95 * momentum / (1 - 0.95 ** (t + 1)) + 0.05 * gradient / (
            1 - 0.95**t
        )
        left, _, right = np.linalg.svd(ahead, full_matrices=False)
        inner = left.T @ np.asarray(direction["kernel"]) @ right.T
        np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-3)
        # Five steps of Newton and Schulz bring singular values near 1.
        assert (np.diag(inner) > 0.6).all() and (np.diag(inner) < 1.3).all()
        np.testing.assert_allclose(direction["bias"], expected, rtol=1e-3, atol=1e-4)


def kernel_and_bias(rng, *axes):
    """Gradients of a hidden layer and of a last layer with further leading axes."""
    kernels = {"kernel": (6, 4), "bias": (4,)}

    def draw(shape):
        return rng.normal(size=shape).astype(np.float32)

    hidden = {name: draw(shape) for name, shape in kernels.items()}
    last = {name: draw((*axes, *shape)) for name, shape in kernels.items()}
    return {"torso": {"Dense_0": hidden}, "values": {"Dense_0": last}}


@pytest.mark.parametrize("fields", [{"ensemble_size": 3}, {"iterated_heads": 3}])
def test_muon_steps_every_stacked_matrix_by_itself(fields, rng):
    config = Config(defaults="plain", optimizer="muon")
    one = optimizers.make_optimizer(config)
    all_of_them = optimizers.make_optimizer(dataclasses.replace(config, **fields))
    gradients = [kernel_and_bias(rng, 3) for _ in range(3)]
    if "ensemble_size" in fields:
        gradients = [{"members": g["values"], "priors": g["values"]} for g in gradients]
    is_stacked = "ensemble_size" in fields

    def member(tree, m):
        stacked = tree if is_stacked else tree["values"]
        chosen = jax.tree.map(lambda leaf: leaf[m], stacked)
        return chosen if is_stacked else {"torso": tree["torso"], "values": chosen}

    for m in range(3):
        state = all_of_them.init(gradients[0])
        own = one.init(member(gradients[0], m))
        for gradient in gradients:
            direction, state = all_of_them.update(gradient, state, gradient)
            expected, own = one.update(member(gradient, m), own, member(gradient, m))
        for left, right in zip(
            *map(jax.tree.leaves, (member(direction, m), expected)), strict=True
        ):
            np.testing.assert_allclose(left, right, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["obgd", "adaptive", "intentional"])
def test_a_rule_for_traces_is_no_optimizer_of_a_loss(name):
    """An algorithm of a user's own may ask for any optimizer."""
    with pytest.raises(ConfigError, match=f"optimizer = '{name}' is a rule"):
        optimizers.make_optimizer(Config(defaults="plain", optimizer=name))


def test_radam_equals_optax():
    config = Config(defaults="plain", optimizer="radam", adam_b1=0.8, adam_b2=0.95)
    ours = optimizers.make_optimizer(config)
    other = optax.radam(1.0, 0.8, 0.95, config.optimizer_eps)
    params = {"a": jnp.ones(3), "b": jnp.zeros((2, 2))}
    state, other_state = ours.init(params), other.init(params)
    for t in range(8):
        gradient = jax.tree.map(lambda leaf, t=t: leaf + jnp.sin(t + 1.0), params)
        direction, state = ours.update(gradient, state, params)
        step, other_state = other.update(gradient, other_state, params)
        for left, right in zip(*map(jax.tree.leaves, (direction, step)), strict=True):
            np.testing.assert_allclose(left, -right, rtol=1e-6)


def test_centred_rmsprop_survives_a_steady_gradient():
    scale = optimizers.scale_by_centered_rms(0.95, 1e-8, eps_in_sqrt=False)
    state = scale.init(jnp.zeros(1000))
    gradient = jnp.linspace(0.1, 3.0, 1000)
    for _ in range(300):
        direction, state = scale.update(gradient, state)
    assert np.isfinite(direction).all()


def test_parameters_without_a_gradient_do_not_change():
    optimizer_names = "sgd", "adam", "amsgrad", "nadam", "radam", "rmsprop", "muon"
    for optimizer in optimizer_names:
        for centered in (False, True):
            config = Config(
                defaults="plain", optimizer=optimizer, rmsprop_centered=centered
            )
            ours = optimizers.make_optimizer(config)
            state = ours.init(jnp.ones(3))
            for _ in range(8):
                direction, state = ours.update(jnp.zeros(3), state, jnp.ones(3))
                assert not direction.any()


def test_step_size_schedules():
    for kind, expected in (("constant", 1.0), ("linear", 0.75), ("inverse", 0.8)):
        config = Config(
            defaults="plain",
            learning_rate=2.0,
            learning_rate_schedule=kind,
            learning_rate_updates=100.0,
        )
        size = schedules.step_size(config, jnp.int32(25))
        np.testing.assert_allclose(size, 2.0 * expected, rtol=1e-6)
    linear = dataclasses.replace(config, learning_rate_schedule="linear")
    assert schedules.step_size(linear, jnp.int32(1000)) == 0
