"""Penalties on parameters, and resets, against their equations."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import same

from jaxq.agents import algorithms, learner, optimizers, plasticity
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.validate import validate
from jaxq.envs import make
from jaxq.rl import heads, losses
from jaxq.types import Sequence, Transition, feed_forward

BASE = Config(
    defaults="plain", learning_rate=0.1, optimizer="sgd", target_period=1000,
    max_grad_norm=0.5,
)  # fmt: skip


def init(key, observation):
    """Parameters of a linear network of two layers, and a fixed part."""
    torso, values, priors = jax.random.split(key, 3)
    return {
        "torso": {"kernel": jax.random.normal(torso, (observation.size, 4))},
        "values": {"kernel": jax.random.normal(values, (4, 2))},
        "priors": {"values": jax.random.normal(priors, (observation.size, 2))},
    }


def apply(key, params, observation):
    del key
    learned = observation @ params["torso"]["kernel"] @ params["values"]["kernel"]
    fixed = jax.lax.stop_gradient(params["priors"]["values"])
    return (learned + observation @ fixed)[:, None]


NETWORK = feed_forward(init, apply, heads.scalar())


def batch(rng, size=8):
    observation, after = rng.normal(size=(2, size, 3)).astype(np.float32)
    return Transition(
        observation, rng.integers(0, 2, size).astype(np.int32),
        rng.normal(size=size).astype(np.float32), np.full(size, 0.9, np.float32),
        after,
    )  # fmt: skip


@functools.cache
def gradient_step(config):
    @jax.jit
    def step(key, state, transitions, updates):
        state, _, metrics = learner.gradient_step(
            key, state, transitions, jnp.ones(transitions.action.size), updates,
            config=config, loss=losses.td_loss(NETWORK),
            optimizer=optimizers.make_optimizer(config), network=NETWORK,
        )  # fmt: skip
        return state, metrics

    return step


def step(config, state, transitions, updates=0, seed=0):
    return gradient_step(config)(
        jax.random.key(seed), state, transitions, jnp.int32(updates)
    )


def fresh(config, seed=3):
    return learner.init_learner(
        jax.random.key(seed), NETWORK, optimizers.make_optimizer(config),
        jnp.zeros(3), keep_initial=config.l2_init_penalty is not None,
    )  # fmt: skip


def moved(state, rng):
    """A state whose online parameters have left their initial values."""
    params = jax.tree.map(
        lambda p: p + rng.normal(size=p.shape).astype(np.float32), state.params
    )
    return state._replace(params=params)


@pytest.mark.parametrize(
    "fields",
    [
        {"weight_decay": 0.3},
        {"l2_penalty": 0.2},
        {"l2_init_penalty": 0.1},
        {"weight_decay": 0.3, "l2_penalty": 0.2, "l2_init_penalty": 0.1},
    ],
    ids=str,
)
def test_a_step_equals_the_equation(fields, rng):
    config = dataclasses.replace(BASE, **fields)
    start = fresh(config)
    state, transitions = moved(start, rng), batch(rng)
    td_loss = learner.batch_loss(losses.td_loss(NETWORK), "mean")

    def loss(params):
        value, _ = td_loss(
            params, state.target_params, jax.random.split(jax.random.key(0), 8),
            transitions, jnp.ones(8),
        )  # fmt: skip
        for name in ("torso", "values"):
            theta, theta_0 = params[name]["kernel"], start.params[name]["kernel"]
            value += fields.get("l2_penalty", 0) * jnp.sum(theta**2)
            distance = theta - theta_0
            value += fields.get("l2_init_penalty", 0) * jnp.sum(distance**2)
        return value

    gradient = jax.grad(loss)(state.params)
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
    after, metrics = step(config, state, transitions)
    np.testing.assert_allclose(metrics.grad_norm, norm, rtol=1e-4)
    for name in ("torso", "values"):
        theta = state.params[name]["kernel"]
        expected = theta - 0.1 * gradient[name]["kernel"] * min(1, 0.5 / norm)
        expected -= 0.1 * fields.get("weight_decay", 0) * theta
        actual = after.params[name]["kernel"]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert same(after.params["priors"], state.params["priors"])


def test_adam_with_weight_decay_is_adamw(rng):
    config = dataclasses.replace(
        BASE, optimizer="adam", weight_decay=0.3, max_grad_norm=None
    )
    state, transitions = moved(fresh(config), rng), batch(rng)
    after, _ = step(config, state, transitions)
    td_loss = learner.batch_loss(losses.td_loss(NETWORK), "mean")
    gradient = jax.grad(
        lambda params: td_loss(
            params, state.target_params, jax.random.split(jax.random.key(0), 8),
            transitions, jnp.ones(8),
        )[0]
    )(state.params)  # fmt: skip
    other = optax.adamw(0.1, eps=config.optimizer_eps, weight_decay=0.3)
    update, _ = other.update(gradient, other.init(state.params), state.params)
    for name in ("torso", "values"):
        expected = state.params[name]["kernel"] + update[name]["kernel"]
        actual = after.params[name]["kernel"]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("torso", "head"), [(0.0, 1.0), (0.25, 0.75), (1.0, 1.0)])
def test_a_reset_moves_each_part_towards_new_parameters(torso, head, rng):
    config = dataclasses.replace(
        BASE, optimizer="adam", reset_period=5, reset_torso=torso, reset_head=head
    )
    plain = dataclasses.replace(config, reset_period=None)
    state, transitions = moved(fresh(config), rng), batch(rng)
    early, _ = step(config, state, transitions, updates=3)
    assert float(early.opt_state.count) == 1
    after, _ = step(config, state, transitions, updates=4)
    assert float(after.opt_state.count) == 0
    assert all(not leaf.any() for leaf in jax.tree.leaves(after.opt_state.mu))
    # Without a reset, the same key is not split: the loss draws nothing here.
    trained, _ = step(plain, state, transitions, updates=4)
    assert same(early.params, step(plain, state, transitions, updates=3)[0].params)
    _, reset_key = jax.random.split(jax.random.key(0))
    new = init(reset_key, jnp.zeros(3))
    for name, share in (("torso", torso), ("values", head)):
        for left, right in (
            (after.params, trained.params),
            (after.target_params, state.target_params),
        ):
            old = right[name]["kernel"]
            expected = old + share * (new[name]["kernel"] - old)
            np.testing.assert_allclose(left[name]["kernel"], expected, rtol=1e-5)
    assert same(after.params["priors"], state.params["priors"])


def test_resets_draw_other_parameters_every_time(rng):
    config = dataclasses.replace(BASE, reset_period=1, reset_torso=1.0)
    state, transitions = fresh(config), batch(rng)
    heads_ = [
        step(config, state, transitions, seed=seed)[0].params["values"]["kernel"]
        for seed in (0, 1)
    ]
    assert not np.allclose(*heads_)


@pytest.mark.parametrize(
    "fields",
    [
        {"reset_period": 1, "reset_torso": 1.0},
        {"hare_period": 1, "target_period": 7, "target_tau": 0.5},
    ],
    ids=["reset", "hare"],
)
def test_a_frozen_seed_is_not_reset(fields, rng):
    config = dataclasses.replace(BASE, **fields)
    state = moved(fresh(config), rng)._replace(diverged_at=jnp.int32(2))
    after, _ = step(config, state, batch(rng), updates=4)
    assert same(after.params, state.params)
    assert same(after.target_params, state.target_params)


def test_the_hare_returns_to_the_tortoise(rng):
    config = dataclasses.replace(BASE, target_period=1, target_tau=0.25, hare_period=3)
    state, transitions = fresh(config), batch(rng)
    online = target = jax.tree.map(np.asarray, state.params)
    plain = dataclasses.replace(config, hare_period=None)
    for t in range(6):
        trained, _ = step(
            plain, state._replace(params=online, target_params=target), transitions, t
        )
        target = jax.tree.map(
            lambda old, new: 0.75 * old + 0.25 * new, target, trained.params
        )
        online = target if t in (2, 5) else trained.params
        state, _ = step(config, state, transitions, t)
        for left, right in ((state.params, online), (state.target_params, target)):
            for actual, expected in zip(
                *map(jax.tree.leaves, (left, right)), strict=True
            ):
                np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_the_first_observation_of_a_minibatch_is_the_example():
    pairs = jnp.arange(24.0).reshape(2, 3, 4)
    blank = dict.fromkeys(Sequence._fields, jnp.zeros(0))
    sequences = Sequence(**blank | {"observation": pairs})
    assert plasticity.first(plasticity.observations(sequences)).tolist() == [0, 1, 2, 3]
    blank = dict.fromkeys(Transition._fields, jnp.zeros(0))
    transitions = Transition(**blank | {"observation": {"a": pairs}})
    assert plasticity.first(plasticity.observations(transitions))["a"].shape == (3, 4)


@pytest.mark.parametrize(
    "algorithm", ["dqn", "iqn", "fqf", "r2d2", "bootstrapped_dqn", "pqn", "pqn_rnn"]
)
def test_every_network_has_a_torso_and_a_head(algorithm):
    config = Config(algorithm=algorithm, environment="CartPole-v1")
    env = make.from_config(config)
    agent = algorithms.make(config, env.spec)
    state = jax.eval_shape(agent.init, jax.random.key(0), env.spec.example())
    paths = jax.tree_util.tree_leaves_with_path(state.learner.params)
    parts = {plasticity.part(path) for path, _ in paths}
    expected = {"torso", "head"} | (
        {"fixed"} if algorithm == "bootstrapped_dqn" else set()
    )
    assert parts == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hare_period": 9}, "hare_period = 9 with target_tau = 1 returns to a copy"),
        ({"reset_period": 9, "reset_head": 0.0}, "resets only the optimizer"),
        ({"reset_period": 0}, "reset_period = 0"),
        ({"reset_torso": 1.5}, "reset_torso = 1.5"),
        (
            {"algorithm": "pqn", "hare_period": 9, "target_tau": 0.5},
            "there is no target network",
        ),
        (
            {"algorithm": "tabular_q", "environment": "FrozenLake-misc",
             "weight_decay": 0.1},
            "a table has no features",
        ),
    ],
)  # fmt: skip
def test_meaningless_settings_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(Config(**fields))
