"""Parts that meet: each runs beside the others, and means the same there."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import mdps
import numpy as np
import pytest
from conftest import CONFORMANCE, same

from jaxq import Config, ConfigError, load, run
from jaxq.agents import algorithms, factory, loss_factory
from jaxq.config.validate import validate
from jaxq.networks import running_statistics
from jaxq.training import compiled
from jaxq.types import Transition

pytestmark = list(CONFORMANCE)

REWARDED = {"recurrent_inputs": "action_reward", "sequence_length": 4, "burn_in": 2}


def advanced(config, env=None):
    """One seed after a chunk of two iterations."""
    config = dataclasses.replace(config, chunk_iterations=2, warmup_steps=200)
    return family.Trained(config, env or family.gauntlet()).train()


DISTRIBUTIONAL = [
    {
        "ensemble_size": 3, "head": "quantile", "ensemble_target": "minimum",
        "double_q": True, "redo_period": 2, "ensemble_acting": "ucb",
    },
    {
        "ensemble_size": 3, "head": "categorical", "ensemble_target": "mean",
        "normalize_observations": True, "dueling": True, "mask_probability": 0.5,
    },
]  # fmt: skip


BESIDE = [
    {"redo_period": 2, "normalize_observations": True},
    {"redo_period": 2, "normalize_observations": True, "ensemble_size": 3},
    {"redo_period": 2, "normalization": "batch"},
    {"redo_period": 2, "return_estimator": "retrace", "n_step": 3},
    {"averaged_targets": 3, "double_q": True},
    {"averaged_targets": 3, "munchausen": True, "normalize_observations": True},
    {"averaged_targets": 3, "reset_period": 3, "l2_init_penalty": 0.1},
    {
        "algorithm": "r2d2", "recurrent": "min_gru", "burn_in": 0,
        "sequence_length": 4,
    },
    {"n_step_start": 4, "redo_period": 2, "averaged_targets": 3},
    {"n_step_start": 4, "discount_start": 0.5, "average_reward": "centering"},
    {
        "n_step_start": 4, "discount_start": 0.5, "munchausen": True,
        "head": "implicit_quantile", "prioritized": True, "intrinsic_bonus": "rnd",
    },
    {
        "n_step_start": 4, "discount_start": 0.5, "ensemble_size": 3,
        "ensemble_target": "minimum", "reset_period": 3,
    },
    {"algorithm": "r2d2", "n_step_start": 4, "discount_start": 0.5, **REWARDED},
    {"algorithm": "r2d2", "exploration": "epsilon_z_greedy", **REWARDED},
    {"algorithm": "r2d2", "intrinsic_bonus": "rnd", **REWARDED},
    {"algorithm": "r2d2", "average_reward": "centering", **REWARDED},
    *DISTRIBUTIONAL,
]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [BESIDE[0], *(pytest.param(fields, marks=CONFORMANCE) for fields in BESIDE[1:])],
    ids=str,
)
def test_parts_run_beside_each_other_and_are_diagnosed(fields):
    config = family.config(
        fields.get("algorithm", "dqn"), total_steps=400, buffer_size=400, eval_points=1,
        hidden_sizes=(8, 6), **{k: v for k, v in fields.items() if k != "algorithm"},
    )  # fmt: skip
    trained = advanced(config)
    measured = compiled.diagnose_block(
        trained.traced, trained.keys, trained.state, env=trained.env
    )
    leaves = jax.tree.leaves((trained.state.agent.learner.params, measured))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    other = {"intrinsic_bonus", "munchausen"} & fields.keys()
    assert ("overestimation" in measured) is not bool(other)


def test_the_two_networks_of_qrc_have_the_same_statistics():
    config = family.config("qrc", total_steps=2_000, correction_penalty=50.0)
    params = family.lane(advanced(config).state, 0).agent.learner.params
    statistics = [
        params[part][running_statistics.STATISTICS] for part in sorted(params)
    ]
    assert float(statistics[0][0].total) > 100
    assert same(*statistics)


@pytest.mark.parametrize("fields", [{}, {"averaged_targets": 3}, {"target_tau": 0.1}])
def test_target_networks_normalise_by_the_newest_statistics(fields):
    config = family.config(
        "dqn", total_steps=400, normalize_observations=True, target_period=1_000,
        **fields,
    )  # fmt: skip
    learner = family.lane(advanced(config).state, 0).agent.learner
    (online,) = learner.params[running_statistics.STATISTICS]
    (target,) = learner.target_params[running_statistics.STATISTICS]
    assert float(online.total) > 0
    for old, new in zip(target, online, strict=True):
        assert same(old, jnp.broadcast_to(new, old.shape))


def test_double_selects_by_the_online_network_among_averaged_targets():
    config = family.config("dqn", averaged_targets=2, double_q=True)
    networks = factory.make_networks(config, family.gauntlet().spec)
    first = jnp.eye(9)[2]
    online, *targets = (
        networks.online.init(jax.random.key(seed), first) for seed in (0, 11, 12)
    )

    def estimates(params, observation):
        return np.float64(networks.online.apply(None, params, observation))[:, 0]

    def averaged(observation):
        return np.mean([estimates(params, observation) for params in targets], axis=0)

    second = next(
        state
        for state in jnp.eye(9)
        if estimates(online, state).argmax() != averaged(state).argmax()
    )
    best = estimates(online, second).argmax()
    expected = 0.5 + 0.9 * averaged(second)[best]
    example = Transition(
        first, jnp.int32(1), jnp.float32(0.5), jnp.float32(0.9), second
    )
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *targets)
    loss = loss_factory.make_loss(config, networks)
    value, _ = loss(jax.random.key(0), online, stacked, example)
    error = expected - estimates(online, first)[1]
    assert abs(error) < 1.0  # where Huber's loss is the square
    np.testing.assert_allclose(value, 0.5 * error**2, rtol=1e-4)


def test_a_policy_that_repeats_actions_and_sees_rewards_is_loaded(tmp_path):
    config = dataclasses.replace(
        family.TINY, algorithm="r2d2", exploration="epsilon_z_greedy", num_seeds=2,
        seed_block=2, **REWARDED,
    )  # fmt: skip
    policy = load(run(config, output=tmp_path, plot=False))
    memory = policy.initial_memory(jax.random.key(0))
    for reward in (0.0, 1.0):
        action, memory = policy.step(
            jax.random.key(1), memory, jnp.ones(4), reward=reward
        )
        assert int(action) in (0, 1)


@pytest.mark.parametrize("algorithm", ["dqn", "stream_q"])
def test_given_parameters_start_every_kind_of_target(algorithm):
    base = {"num_seeds": 2, "seed_block": 2, "eval_points": 1}
    fields = {"averaged_targets": 3} if algorithm == "dqn" else {"num_envs": 1}
    config = dataclasses.replace(family.TINY, algorithm=algorithm, **base | fields)
    first = run(config, plot=False)
    second = run(config, params=first.params, plot=False)
    assert np.isfinite(second.curve.eval_return).all()
    assert not same(first.params, second.params)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"algorithm": "c51", "intrinsic_bonus": "rnd"},
            "with an intrinsic bonus are not known",
        ),
        (
            {"algorithm": "pqn_rnn", "recurrent_inputs": "action_reward",
             "intrinsic_bonus": "rnd"},
            "the cell sees the raw reward",
        ),
    ],
)  # fmt: skip
def test_combinations_without_a_sense_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(Config(**fields))


def test_the_seeds_of_a_wrapped_state_learn_their_own_parameters():
    config = family.config("dqn", total_steps=400, intrinsic_bonus="rnd")
    agent = algorithms.make(config, family.gauntlet().spec)
    state = agent.init(jax.random.key(0), family.gauntlet().spec.example())
    assert state.rest.learner == () and jax.tree.leaves(state.learner.params)


R2D2 = {"algorithm": "r2d2", "sequence_length": 4, "burn_in": 2, "n_step": 1}


@pytest.mark.parametrize(
    "fields",
    [
        *DISTRIBUTIONAL,
        R2D2 | {"head": "implicit_quantile", "value_rescaling": False, "noisy": True},
        R2D2 | {"head": "fully_parameterized", "value_rescaling": False,
                "recurrent": "lru", "recurrent_inputs": "action_reward"},
        {"head": "implicit_quantile", "recurrent": "min_gru", "munchausen": True},
        R2D2 | {"next_value": "expected_sarsa"},
        R2D2 | {"next_value": "expected_sarsa", "return_estimator": "retrace",
                "n_step": 3, "value_rescaling": False},
    ],
    ids=str,
)  # fmt: skip
def test_parts_that_meet_keep_the_shapes_of_the_state(fields):
    fields = {"algorithm": "dqn", "hidden_sizes": (8, 6)} | fields
    name = fields.pop("algorithm")
    config = family.config(
        name, total_steps=400, buffer_size=400, chunk_iterations=2, warmup_steps=200,
        **fields,
    )  # fmt: skip
    validate(config)
    assert family.same_shapes(*family.shapes(config, family.masked_chain()))


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("head", ["categorical", "quantile"])
def test_a_distributional_ensemble_learns_the_probes(head):
    """Bootstrapped C51 and QR-DQN, whose members agree on the values of all states."""
    config = family.config("bootstrapped_dqn", head=head)
    trained = family.Trained(config, family.gauntlet()).train()
    for probe, truths in mdps.PROBES.items():
        for observation, action, value in truths:
            learned = trained.q_values([observation])[action]
            tolerance = 0.15 if probe == "constant reward" else 0.06
            assert learned == pytest.approx(value, abs=tolerance), (probe, observation)
