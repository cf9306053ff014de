"""Agents whose returns are annealed: how they learn, and the checks of their fields."""

import dataclasses
import json

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, same
from mdps import PROBES

from jaxq import Config, ConfigError
from jaxq.agents import algorithms
from jaxq.config import environment_table, loop_lengths, validate
from jaxq.config.config import from_json
from jaxq.training import sampled_episodes

FIELDS = {"n_step": 1, "n_step_start": 5, "discount_start": 0.5}


def trained(**fields):
    """One seed after two chunks of two iterations."""
    config = family.config(
        fields.pop("algorithm", "dqn"), total_steps=240, buffer_size=400, eval_points=2,
        hidden_sizes=(8,), chunk_iterations=2, warmup_steps=200, **fields,
    )  # fmt: skip
    return family.Trained(config, family.gauntlet()).train()


def parameters(run):
    return run.state.agent.learner.params


@pytest.mark.slow
@pytest.mark.conformance
def test_equal_ends_are_no_annealing():
    plain = trained(n_step=3)
    equal = trained(n_step=3, n_step_start=3, discount_start=0.9)
    for leaf, other in zip(
        jax.tree.leaves(parameters(plain)),
        jax.tree.leaves(parameters(equal)),
        strict=True,
    ):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize(
    "changes",
    [{"n_step_start": None}, {"discount_start": None}, {"anneal_updates": 1.0}],
)
@pytest.mark.parametrize("fields", [{}, {"algorithm": "r2d2"}])
def test_every_field_has_an_effect(fields, changes):
    base = {**fields, **FIELDS, "anneal_updates": 50.0, "prioritized": False}
    assert not same(parameters(trained(**base)), parameters(trained(**base | changes)))


def test_a_reset_starts_the_annealing_anew():
    """Apart from the parameters, an update after a reset is like the first."""
    config = family.config(
        "tabular_q", **FIELDS, anneal_updates=4.0, buffer_size=40, num_envs=2
    )
    env = family.gauntlet()
    agent = algorithms.make(config, env.spec)
    state = agent.init(jax.random.key(0), env.spec.example())
    step = jax.tree.map(lambda x: jnp.stack([x] * 2), env.spec.example())
    rollout = jax.tree.map(lambda x: jnp.stack([x] * 20), step)
    rollout = rollout._replace(reward=jnp.ones((20, 2)))
    state = agent.observe(jax.random.key(1), state, rollout)
    returns = []  # the value of one step, with step size 1 and no bootstrap value
    for updates, period in [(0, None), (4, None), (7, 7), (11, 7)]:
        settings = dataclasses.replace(
            config, optimizer="sgd", loss_reduction="sum", learning_rate=1.0,
            batch_size=1, reset_period=period, initial_value=0.0,
        )  # fmt: skip
        update = jax.jit(algorithms.make(settings, env.spec).update)
        count = state.updates._replace(value=jnp.int32(updates))
        after, _ = update(
            jax.random.key(2), state._replace(updates=count), jnp.float32(0)
        )
        returns.append(float(jnp.max(after.learner.params["table"])))
    expected = sum(0.5**k for k in range(5))
    np.testing.assert_allclose(returns, [expected, 1.0, expected, 1.0], rtol=1e-5)


def test_q_lambda_returns_use_the_discount_of_their_time():
    config = family.config(
        "pqn", discount_start=0.5, anneal_updates=8.0, trace_decay=0.0, num_envs=2,
        **family.ROLLOUT,
    )  # fmt: skip
    env = family.constant()
    agent = algorithms.make(config, env.spec)
    state = agent.init(jax.random.key(0), env.spec.example())
    step = jax.tree.map(lambda x: jnp.stack([x] * 2), env.spec.example())
    rollout = jax.tree.map(lambda x: jnp.stack([x] * 4), step)
    values = agent.q_values(state, (), env.spec.example().observation)
    for updates, gamma in [(0, 0.5), (4, 1 - (0.5 * 0.1) ** 0.5), (8, 0.9)]:
        count = state.updates._replace(value=jnp.int32(updates))
        observed = agent.observe(
            jax.random.key(1), state._replace(updates=count), rollout
        )
        target = observed.examples.target_return
        np.testing.assert_allclose(target, gamma * jnp.max(values), rtol=1e-4)


@pytest.mark.parametrize("updates", [0, 50, 100])
def test_overestimation_is_measured_with_the_discount_of_its_time(updates):
    config = family.config("dqn", discount_start=0.5, anneal_updates=100.0)
    gamma = 1.0 - 0.5 * 0.2 ** (updates / 100)
    env = family.constant()
    agent = algorithms.make(config, env.spec)
    state = agent.init(jax.random.key(0), env.spec.example())
    state = state._replace(updates=state.updates._replace(value=jnp.int32(updates)))
    plain = dataclasses.replace(config, discount_start=None, discount=gamma)
    errors = [
        sampled_episodes.play(jax.random.key(1), c, agent, state, env, 7)[1]
        for c in (config, plain)
    ]
    np.testing.assert_allclose(*errors, rtol=1e-4)


ANNEALED = {
    "n_step": 3, "n_step_start": 6, "discount_start": 0.5, "anneal_updates": 300.0,
    "target_period": 4, "total_steps": 16_000,
}  # fmt: skip
FIXED_POINT = [
    {},
    {"prioritized": True, "head": "quantile"},
    {"algorithm": "bbf", "reset_period": 1_000, "anneal_updates": 200.0},
    {"algorithm": "r2d2", "recurrent": "min_gru"},
    {"return_estimator": "retrace"},
    {"rollout_length": 8, "total_steps": 96_000},
    {"algorithm": "bootstrapped_dqn", "ensemble_target": "minimum"},
]


@pytest.mark.parametrize(
    "fields", [pytest.param(f, marks=CONFORMANCE) for f in FIXED_POINT], ids=str
)
def test_the_value_of_a_constant_reward_is_that_of_the_final_discount(fields):
    """1 / (1 - 0.9), although the first returns are those of a discount of 0.5."""
    changes = {**ANNEALED, **fields}
    config = family.config(changes.pop("algorithm", "dqn"), **changes)
    run = family.Trained(config, family.constant()).train()
    np.testing.assert_allclose(run.q_values([jnp.int32(0)]), 10.0, rtol=0.03)


@pytest.mark.slow
@pytest.mark.conformance
def test_annealed_returns_learn_the_values_of_the_probes():
    config = family.config(
        "dqn", n_step_start=5, discount_start=0.5, anneal_updates=500.0
    )
    run = family.Trained(config, family.gauntlet()).train()
    for truths in PROBES.values():
        for observation, action, value in truths:
            learned = run.q_values([observation])[action]
            assert learned == pytest.approx(value, rel=0.015, abs=0.04)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"discount": 1.0, "discount_start": 0.9},
            "discount = 1 with discount_start = 0.9 would be reached at once",
        ),
        (
            {"average_reward": "differential", "discount_start": 0.9},
            "an average reward without a discount: its discount is always 1",
        ),
        ({"algorithm": "pqn", "n_step_start": 5}, "see trace_decay"),
        ({"algorithm": "stream_q", "discount_start": 0.5}, "decay by one factor"),
        (
            {"rollout_length": 4, "n_step_start": 5},
            "n_step_start = 5 exceeds rollout_length = 4",
        ),
        (
            {"buffer_size": 9, "batch_size": 4, "n_step_start": 20, "num_envs": 1},
            "n_step_start = 20 needs more. Set buffer_size to 21 or more",
        ),
    ],
)
def test_bad_fields_are_refused(fields, message):
    config = Config(defaults="plain", num_minibatches=1, **fields)
    if config.algorithm != "dqn":
        config = Config(defaults="plain", **fields)
    with pytest.raises(ConfigError, match=message):
        validate.validate(config)


def test_a_correction_needs_a_longest_return_of_several_steps():
    config = Config(defaults="plain", return_estimator="retrace")
    with pytest.raises(ConfigError, match="n_step = 1"):
        validate.validate(config)
    validate.validate(dataclasses.replace(config, n_step_start=5))


def test_the_bounds_of_returns_are_those_of_the_larger_discount():
    plain = environment_table.return_bounds("CartPole-v1", 0.99)["v_max"]
    for fields in (
        {"discount_start": 0.9},
        {"discount": 0.9, "discount_start": 0.99},
    ):
        assert Config(environment="CartPole-v1", **fields).v_max == plain


def test_an_annealing_that_does_not_end_is_noted():
    def notes(**fields):
        config = Config(defaults="plain", n_step_start=5, **fields)
        return loop_lengths.notes(config, loop_lengths.loop_lengths(config))

    assert notes() == notes(reset_period=10_000) == []
    (note,) = notes(anneal_updates=60_000.0)
    assert "takes 60,000 updates, and the run ends after 49,000" in note
    (note,) = notes(reset_period=5_000)
    assert "takes 10,000 updates, and a reset starts it anew after 5,000" in note


def test_configurations_of_earlier_versions_are_not_annealed():
    config = Config(algorithm="rainbow", environment="CartPole-v1")
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    for name in ("n_step_start", "discount_start", "anneal_updates"):
        del fields[name]
    assert from_json(fields) == config


def test_bbf_keeps_its_averaged_target_and_its_step_size_in_every_environment():
    for environment in ("CartPole-v1", "MountainCar-v0", "Breakout-MinAtar"):
        config = Config(algorithm="bbf", environment=environment)
        assert (config.target_tau, config.target_period) == (0.005, 1)
        assert config.learning_rate_schedule == "constant"
        assert (config.discount, config.n_step_start) == (0.997, 10)
        validate.validate(config)
    given = Config(algorithm="bbf", environment="CartPole-v1", target_period=7)
    assert given.target_period == 7
