"""Combinations of components: compatible ones train, others raise with a reason."""

import dataclasses
import itertools

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, mark_others

from jaxq import preset
from jaxq.agents import algorithms
from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.training import checks
from jaxq.types import MaskedObservation

HEADS = (
    "scalar", "categorical", "hl_gauss", "two_hot", "quantile", "implicit_quantile",
    "fully_parameterized",
)  # fmt: skip
PARTS = {
    "double": {"double_q": True},
    "dueling": {"dueling": True, "stream_sizes": (8,)},
    "noisy": {"noisy": True, "epsilon_schedule": "none"},
    "prioritized": {"prioritized": True},
    "n_step": {"n_step": 3},
    "layer norm": {"normalization": "layer"},
    "expected_sarsa": {"next_value": "expected_sarsa"},
    "boltzmann": {"exploration": "boltzmann"},
    "penalty": {"q_penalty": 0.1},
    "bonus": {"intrinsic_bonus": "rnd"},
    "ladder": {"epsilon_schedule": "ladder", "epsilon_start": 0.4},
}


def trace(config, env):
    """Abstract results of an update, without compiling anything."""
    agent = algorithms.make(config, env.spec)
    length = loop_lengths.loop_lengths(config).rollout_length

    def cycle(key):
        state = agent.init(key, env.spec.example())
        memory = jax.vmap(agent.initial_memory)(jax.random.split(key, config.num_envs))
        step = env.spec.example()._replace(memory=jax.tree.map(lambda x: x[0], memory))
        rollout = jax.tree.map(
            lambda x: jnp.zeros((length, config.num_envs, *x.shape), x.dtype), step
        )
        state = agent.observe(key, state, rollout)
        action, _ = agent.act(
            key, state, step.memory, step.observation, jnp.float32(0), True
        )
        return agent.update(key, state, jnp.float32(0)), action

    return jax.eval_shape(cycle, jax.random.key(0))


def check_parts(head, parts):
    fields = {key: value for part in parts for key, value in PARTS[part].items()}
    config = dataclasses.replace(family.DEEP, head=head, **fields)
    (_, metrics), action = trace(config, family.gauntlet())
    assert metrics.loss.shape == () and action.dtype == jnp.int32, parts


SOME_HEADS = ("scalar", "categorical", "quantile")


@pytest.mark.parametrize("head", mark_others(HEADS, SOME_HEADS, CONFORMANCE))
def test_all_components_together_work_with_every_head(head):
    check_parts(head, tuple(PARTS))


@pytest.mark.parametrize("head", mark_others(HEADS, ["scalar"], CONFORMANCE))
def test_every_component_works_with_every_head(head):
    for part in PARTS:
        check_parts(head, (part,))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_every_pair_of_components_works_with_every_head(head):
    for pair in itertools.combinations(PARTS, 2):
        check_parts(head, pair)


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "rainbow", "head": "categorical", "recurrent": "gru"},
        {"algorithm": "r2d2", "head": "quantile"},
        {"algorithm": "pqn", "head": "hl_gauss"},
        {"algorithm": "pqn", "normalization": "batch"},
        {"algorithm": "pqn_rnn", "dueling": True, "noisy": True},
        {"algorithm": "munchausen_iqn", "prioritized": True, "dueling": True},
        {"algorithm": "dqn", "normalization": "batch", "double_q": True},
        {"algorithm": "expected_sarsa", "network": "mlp"},
        {"algorithm": "dqn", "next_value": "expected_sarsa", "head": "quantile"},
        {"algorithm": "dqn", "next_value": "sarsa", "rollout_length": 2},
        {"algorithm": "bootstrapped_dqn", "prioritized": True, "n_step": 3},
        {"algorithm": "tabular_q", "head": "quantile", "prioritized": True},
        {"algorithm": "bootstrapped_dqn", "network": "table"},
        {"algorithm": "bootstrapped_dqn", "ensemble_acting": "ucb"},
        {"algorithm": "bootstrapped_dqn", "ensemble_acting": "ids"},
        {"algorithm": "bootstrapped_dqn", "exploration": "epsilon_z_greedy"},
        {"algorithm": "bootstrapped_dqn", "optimizer": "muon", "spr_steps": 2},
        {
            "algorithm": "bootstrapped_dqn",
            "optimizer": "muon",
            "normalize_observations": True,
        },
        {"algorithm": "dqn", "normalization": "batch", "intrinsic_bonus": "rnd"},
        {
            "algorithm": "dqn",
            "next_value": "sarsa",
            "rollout_length": 2,
            "exploration": "epsilon_z_greedy",
            "intrinsic_bonus": "count",
        },
    ],
    ids=str,
)
def test_compatible_components_train(fields):
    config = dataclasses.replace(family.DEEP, **fields)
    if fields["algorithm"] == "expected_sarsa":
        config = dataclasses.replace(config, algorithm="dqn", network="mlp")
    (_, metrics), _ = trace(config, family.gauntlet())
    assert metrics.grad_norm.shape == ()


LADDER = {"epsilon_schedule": "ladder", "epsilon_start": 0.4}
REFUSED = [
    ({"munchausen": True, "head": "categorical"}, "head = 'categorical'"),
    ({"munchausen": True, "double_q": True}, "double_q = True .* no greedy action"),
    (
        {"munchausen": True, "value_rescaling": True},
        "rescaled outputs cannot be averaged",
    ),
    ({"next_value": "sarsa"}, "set rollout_length = 1"),
    ({"network": "table", "noisy": True}, "a table has no layers"),
    ({"network": "table", "head": "implicit_quantile"}, "cannot take a fraction"),
    ({"value_rescaling": True, "head": "two_hot"}, "set their own scale"),
    ({"ensemble_size": 3, "head": "implicit_quantile"}, "quantiles at other fractions"),
    (
        {"ensemble_size": 3, "head": "quantile", "ensemble_target": "mixture"},
        "random average of expected returns",
    ),
    ({"ensemble_size": 3, "noisy": True}, "explores through its members"),
    ({"recurrent": "lstm", "normalization": "batch"}, "batch statistics"),
    (
        {"recurrent": "lstm", "rollout_length": 4},
        "only pqn_rnn trains recurrent",
    ),
    ({"rollout_length": 4, "prioritized": True}, "every step .* is used once"),
    ({"rollout_length": 4, "num_minibatches": 2}, "only pqn and Q"),
    ({"algorithm": "pqn", "double_q": True}, "no target network"),
    ({"algorithm": "pqn", "prioritized": True}, "regresses to the returns"),
    ({"algorithm": "pqn", "n_step": 3}, "see trace_decay"),
    ({"algorithm": "pqn", "head": "implicit_quantile"}, "single numbers"),
    ({"algorithm": "pqn", "num_minibatches": 7}, "must divide"),
    (
        {"algorithm": "pqn", "normalization": "batch", "num_minibatches": 256},
        "rollout_length = 32, num_envs = 8 and num_minibatches = 256 normalises "
        "minibatches of one example.*Lower num_minibatches",
    ),
    (
        {"normalization": "batch", "batch_size": 1},
        "normalization = 'batch' with batch_size = 1 .*Raise batch_size",
    ),
    (
        {"normalization": "batch", "rollout_length": 1, "num_envs": 1},
        "rollout_length = 1, num_envs = 1 and num_minibatches = 1 normalises",
    ),
    ({"normalization": "layer", "hidden_sizes": (8, 1)}, r"hidden_sizes = \(8, 1\) "),
    ({"normalization": "layer", "stream_sizes": (1,)}, r"stream_sizes = \(1,\) with"),
    ({"algorithm": "pqn", "channels": 1}, "channels = 1 with normalization = 'layer'"),
    ({"rollout_length": 4, "n_step": 5}, "n_step = 5 exceeds rollout_length = 4"),
    ({"epsilon_schedule": "ladder"}, "every action would be random"),
    (LADDER | {"num_envs": 1}, "num_envs = 1. Raise num_envs"),
    (
        LADDER | {"next_value": "expected_sarsa"},
        "epsilon_schedule = 'ladder' is incompatible",
    ),
    (
        {"next_value": "expected_sarsa", "exploration": "boltzmann"},
        "one epsilon-greedy policy",
    ),
    ({"v_min": 1.0, "v_max": 1.0}, "v_min = 1.0 must be below"),
    ({"recurrent": "lstm", "buffer_size": 500}, "burn_in = 40 and sequence_length"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED, ids=lambda x: str(x)[:60])
def test_incompatible_components_raise_with_the_reason(fields, reason):
    config = Config(
        defaults="plain", **{"environment": "Catch-bsuite", "num_envs": 8} | fields
    )
    with pytest.raises(ConfigError, match=reason):
        checks.check(config)


DYNA_REJECTS = {
    "n_step": 5, "prioritized": True, "num_minibatches": 4, "munchausen": True,
    "next_value": "expected_sarsa", "ensemble_size": 3,
}  # fmt: skip
DOUBLE_REJECTS = {
    "head": "quantile", "value_rescaling": True, "double_q": True, "munchausen": True,
    "next_value": "sarsa", "ensemble_size": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("dyna_q", *item) for item in DYNA_REJECTS.items()]
    + [("double_q_learning", *item) for item in DOUBLE_REJECTS.items()],
)
def test_a_tabular_algorithm_rejects_components_it_would_ignore(name, field, value):
    config = Config(
        defaults="plain", environment="CliffWalking", algorithm=name, num_envs=4
    )
    checks.check(config)
    with pytest.raises(ConfigError, match=f"{field} = {value!r} is incompatible with"):
        checks.check(dataclasses.replace(config, **{field: value}))


@pytest.mark.parametrize("head", ["categorical", "two_hot", "hl_gauss", "quantile"])
def test_a_table_of_distributions_masks_invalid_actions(head):
    spec = family.masked_chain().spec
    config = Config(defaults="plain", network="table", head=head, v_min=0, v_max=8)
    agent = algorithms.make(config, spec)
    state = agent.init(jax.random.key(0), spec.example())
    mask = jnp.array([False, True, True])
    observation = MaskedObservation(jax.nn.one_hot(0, 5), mask)
    assert (np.isfinite(agent.q_values(state, (), observation)) == mask).all()
    keys = jax.random.split(jax.random.key(0), 50)
    act = jax.vmap(lambda key: agent.act(key, state, (), observation, 1.0, True)[0])
    assert set(np.asarray(act(keys)).tolist()) == {1, 2}


@pytest.mark.parametrize("algorithm", ["double_q_learning", "tabular_q", "dqn", "iqn"])
def test_an_environment_with_missing_actions_takes_tables_and_networks(algorithm):
    checks.check(
        Config(defaults="plain", environment="MaximizationBias", algorithm=algorithm)
    )


def test_every_algorithm_has_a_preset_that_can_be_changed():
    for name in algorithms.ALGORITHMS:
        config = preset(name, num_seeds=3)
        assert config.num_seeds == 3 and config.algorithm == name
    assert preset("rainbow").target_period == 2_000
    assert preset("prioritized_dqn").target_period == 7_500
    pqn = loop_lengths.loop_lengths(preset("pqn"))
    updates = pqn.iterations * pqn.num_updates
    # The length of a run is rounded up to whole points of the curve.
    assert preset("pqn").learning_rate_updates == pytest.approx(updates, 1e-2)
    assert preset("rainbow", n_step=1).n_step == 1
    with pytest.raises(ConfigError, match="choose one of tabular_q"):
        preset("rain")
