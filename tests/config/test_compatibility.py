"""One table of compatibility rules, checked by one loop."""

import dataclasses
import typing

import pytest

from jaxq import Config, ConfigError
from jaxq.config import algorithm_table, compatibility, conditions, validate
from jaxq.config.config import annotation

OTHER = {
    "n_step": 3,
    "n_step_start": 5,
    "discount": 0.5,
    "discount_start": 0.5,
    "ensemble_size": 3,
    "num_minibatches": 2,
    "num_epochs": 2,
    "averaged_targets": 3,
    "iterated_heads": 3,
    "num_envs": 2,
    "rollout_length": 4,
    "max_grad_norm": 10.0,
    "q_penalty": 0.1,
    "weight_decay": 0.1,
    "l2_penalty": 0.1,
    "l2_init_penalty": 0.1,
    "reset_period": 100,
    "redo_period": 100,
    "hare_period": 100,
    "dataset": "steps.npz",
    "mask_probability": 0.5,
    "conservative_weight": 1.0,
    "margin_weight": 1.0,
    "spr_steps": 5,
}
EXAMPLES = {
    conditions.TABULAR: {"algorithm": "tabular_q"},
    conditions.Q_LAMBDA: {"algorithm": "pqn"},
    conditions.STREAM: {"algorithm": "stream_q"},
    conditions.NOT_STREAM: {},
    conditions.DOUBLE_TABLE: {"algorithm": "double_q_learning"},
    conditions.DYNA: {"algorithm": "dyna_q"},
    conditions.ROLLOUTS: {"rollout_length": 4},
    conditions.REPLAY: {},
    conditions.TABLE: {"network": "table"},
    conditions.RESCALED: {"value_rescaling": True},
    conditions.MUNCHAUSEN: {"munchausen": True},
    conditions.SARSA: {"next_value": "sarsa", "rollout_length": 1},
    conditions.EXPECTED_SARSA: {"next_value": "expected_sarsa"},
    conditions.CORRECTED: {"return_estimator": "retrace"},
    conditions.ENSEMBLE: {"ensemble_size": 3},
    conditions.MIXTURE: {"ensemble_size": 3, "ensemble_target": "mixture"},
    conditions.INFORMATION_DIRECTED: {"ensemble_size": 3, "ensemble_acting": "ids"},
    conditions.RECURRENT: {"recurrent": "gru"},
    conditions.RECALLING_ROLLOUTS: {
        "algorithm": "pqn_rnn",
        "recurrent_inputs": "action_reward",
    },
    conditions.GRADIENT_CORRECTED: {"algorithm": "qrc"},
    conditions.AVERAGED: {"averaged_targets": 3},
    conditions.ITERATED: {"iterated_heads": 3},
    conditions.REDO: {"redo_period": 100},
    conditions.AVERAGE_REWARD: {"average_reward": "centering"},
    conditions.UNDISCOUNTED: {"average_reward": "differential"},
    conditions.RVI_TABLE: {"average_reward": "rvi", "network": "table"},
    conditions.SUMMED: {"algorithm": "pqn_vdn"},
    conditions.BATCH_NORM: {"normalization": "batch"},
    conditions.DATASET: {"dataset": "steps.npz"},
    conditions.OFFLINE_EXPECTED_SARSA: {
        "dataset": "steps.npz",
        "next_value": "expected_sarsa",
    },
    conditions.WEIGHED: {"return_estimator": "retrace", "next_value": "expected_sarsa"},
}


def values(field):
    """Some values of a field."""
    kind, _, optional = annotation(field)
    if typing.get_origin(kind) is typing.Literal:
        return typing.get_args(kind)
    if kind is bool:
        return (False, True)
    return (None if optional else 1, OTHER[field])


def broken(config):
    """Rules that a configuration breaks."""
    return [
        rule
        for rule in compatibility.RULES
        if rule.when.holds(config) and getattr(config, rule.field) not in rule.allowed
    ]


@pytest.mark.parametrize(
    "rule", compatibility.RULES, ids=lambda r: f"{r.when.name}-{r.field}"
)
def test_every_rule_rejects_some_value_of_its_field(rule):
    assert rule.field in {field.name for field in dataclasses.fields(Config)}
    example = EXAMPLES[rule.when]
    assert rule.when.holds(Config(defaults="plain", **example))
    assert set(rule.allowed) < set(values(rule.field))
    for value in set(values(rule.field)) - set(rule.allowed):
        config = Config(defaults="plain", **example | {rule.field: value})
        if not rule.when.holds(config):  # the field is what the condition is about
            continue
        assert rule in broken(config)
        with pytest.raises(ConfigError, match=r"is incompatible with .*\. Set "):
            compatibility.check(config)


@pytest.mark.parametrize("condition", EXAMPLES, ids=lambda c: c.name)
def test_every_condition_can_be_met(condition):
    config = Config(defaults="plain", **EXAMPLES[condition])
    assert condition.holds(config)
    compatibility.check(config)


@pytest.mark.parametrize("name", algorithm_table.ALGORITHMS)
def test_every_algorithm_is_compatible_with_itself(name):
    compatibility.check(Config(defaults="plain", algorithm=name))


def test_no_rule_is_repeated():
    pairs = [(rule.when, rule.field) for rule in compatibility.RULES]
    assert len(set(pairs)) == len(pairs)


def test_a_message_names_the_value_the_reason_and_the_way_out():
    with pytest.raises(ConfigError) as error:
        compatibility.check(Config(defaults="plain", algorithm="pqn", double_q=True))
    assert str(error.value) == (
        "double_q = True is incompatible with Q(lambda) and PQN: there is no target "
        "network. Set double_q to False."
    )


def test_the_rules_of_an_agent_do_not_apply_to_registered_algorithms():
    for name in ("mine", "q_lambda", "double_q_learning_of_mine"):
        compatibility.check(
            Config(
                defaults="plain",
                algorithm=name,
                rollout_length=4,
                num_minibatches=2,
                double_q=True,
            )
        )


@pytest.mark.parametrize(
    "name", ["pqn", "pqn_rnn", "watkins_q_lambda", "peng_q_lambda", "dyna_q"]
)
def test_algorithms_that_learn_from_rollouts_need_their_length(name):
    with pytest.raises(ConfigError, match="rollout_length = 0 means replay"):
        validate.validate(Config(defaults="plain", algorithm=name, rollout_length=0))
