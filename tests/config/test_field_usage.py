"""The table of which part reads which field, against the fields actually read."""

import dataclasses
import re

import family
import jax.numpy as jnp
import pytest

from jaxq import Config, preset
from jaxq.agents import algorithms, field_effects, schedules
from jaxq.config import (
    algorithm_table,
    compatibility,
    field_usage,
    loop_lengths,
    offline,
    usage_table,
)
from jaxq.sweeps import search_space

FIELDS = [field.name for field in dataclasses.fields(Config)]
# Read by the parts of a run that know no agent: the edge, the environment, evaluation.
OUTSIDE = {
    "algorithm", "defaults", "num_seeds", "first_seed", "seed_block", "environment",
    "environment_args", "time_limit", "timeout_is_terminal", "sticky_actions",
    "full_action_set", "frame_stack", "reward_clip", "episodic_life", "eval_points",
    "eval_episodes", "eval_epsilon", "eval_max_steps", "chunk_iterations",
    "total_steps", "diagnostics",
}  # fmt: skip
# Read by code that every configuration shares, also where the result is not used.
SHARED = {
    "huber_delta",  # by the scalar head, whatever its loss
    "output_scale", "sparsity",  # by every layer, whatever its weights
    "noisy",  # by the gradient step, which splits its key
    # By the optimizer, also by sgd.
    "optimizer_eps", "learning_rate_updates", "adam_b1", "adam_b2",
    "buffer_size",  # by the loop lengths
    "dataset",  # by every ring, also that of SARSA's queue
    "ensemble_size", "spr_steps",  # by the networks, also those of Q(lambda)
    "mask_probability",  # by the memory of an ensemble, also of a mixture
    "sequence_max_weight",  # by the loss of sequences, prioritised or not
    # By the refresh, also of a target that is not used.
    "target_period", "target_tau", "averaged_targets", "iterated_heads",
}  # fmt: skip
CASES = [
    {"algorithm": name} for name in algorithms.ALGORITHMS if name in family.NAMES
] + [
    {"algorithm": "dqn", "optimizer": "rmsprop", "loss": "huber"},
    {"algorithm": "dqn", "optimizer": "sgd", "learning_rate_schedule": "constant"},
    {"algorithm": "dqn", "weight_init": "orthogonal", "exploration": "boltzmann"},
    {"algorithm": "dqn", "epsilon_schedule": "ladder", "epsilon_start": 0.4},
    {"algorithm": "dqn", "epsilon_schedule": "episodic"},
    {"algorithm": "dqn", "epsilon_schedule": "linear", "rollout_length": 3},
    {"algorithm": "pqn", "network": "mlp"},
    {"algorithm": "dqn", "return_estimator": "peng", "n_step": 3},
    {"algorithm": "r2d2", "return_estimator": "retrace", "n_step": 3},
    {"algorithm": "r2d2", "head": "implicit_quantile", "value_rescaling": False},
    {"algorithm": "bootstrapped_dqn", "head": "categorical"},
    {"algorithm": "dqn", "exploration": "epsilon_z_greedy"},
    {"algorithm": "dqn", "spr_steps": 5},
    {"algorithm": "dqn", "intrinsic_bonus": "rnd"},
    {"algorithm": "tabular_q", "intrinsic_bonus": "count"},
    {"algorithm": "bootstrapped_dqn", "ensemble_acting": "ucb"},
    {"algorithm": "bootstrapped_dqn", "ensemble_acting": "ids"},
    {"algorithm": "dqn", "average_reward": "centering"},
    {"algorithm": "pqn", "average_reward": "rvi", "discount": 1.0},
    {"algorithm": "dqn", "n_step_start": 5},
    {"algorithm": "r2d2", "n_step_start": 5, "discount_start": 0.5},
    {"algorithm": "pqn", "discount_start": 0.5},
    {"algorithm": "dyna_q", "discount_start": 0.5},
    {"algorithm": "cql", "margin_weight": 0.5, "prioritized": True},
]


def fields_read(config, env):
    """Fields read by an agent, and by the loop around it."""
    recording, read = field_effects.recorder(config)
    loop_lengths.loop_lengths(recording)
    schedules.epsilon_schedule(recording)(jnp.int32(0), jnp.int32(0))
    return read | field_effects.fields_read(config, env.spec)


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_table_agrees_with_what_is_read(changes):
    """A field without a reader is not read, and a field with a reader is.

    A field of which only one value is compatible need not be read.
    """
    config = family.config(changes["algorithm"], **changes)
    read = fields_read(config, family.gauntlet())
    unused = set(field_usage.unused(config))
    assert (read & unused) - SHARED == set()
    rules = compatibility.RULES
    fixed = {rule.field for rule in rules if rule.when.holds(config)}
    if config.recurrent != "none":
        fixed |= {"ensemble_size"}  # an ensemble is not recurrent
    if config.network == "auto":
        # The gauntlet observes no grid.
        fixed |= {"channels", "dense_size", "impala_scale", "impala_pool"}
    assert set(FIELDS) - unused - OUTSIDE - fixed - read == set()


def test_every_field_has_a_reader():
    assert all(field_usage.readers(name) for name in FIELDS)
    named = {name for usage in usage_table.USAGE for name in usage.fields}
    assert named == set(FIELDS)


def test_fields_of_parts_that_are_off_are_unused():
    assert "priority_exponent" in field_usage.unused(Config(defaults="plain"))
    assert "priority_exponent" not in field_usage.unused(
        Config(defaults="plain", prioritized=True)
    )
    assert {"v_min", "v_max"} <= set(field_usage.unused(Config(defaults="plain")))
    assert "v_max" not in field_usage.unused(Config(defaults="plain", algorithm="c51"))
    weight = "sequence_max_weight"  # of the priority of a sequence
    assert weight not in field_usage.unused(Config(algorithm="r2d2"))
    assert weight in field_usage.unused(Config(algorithm="r2d2", prioritized=False))


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (
            "priority_exponent",
            "only prioritised replay would read it; set prioritized",
        ),
        (
            "v_max",
            "only histogram heads would read it; set head to categorical or hl_gauss "
            "or two_hot",
        ),
        ("hidden_sizes", "only an mlp torso would read it; set network to mlp"),
        (
            "trace_decay",
            "only Q(lambda) and eligibility traces and corrected returns would read "
            "it; use algorithm = stream_q; set return_estimator to retrace or "
            "tree_backup or peng",
        ),
    ],
)
def test_the_reason_names_the_reader_and_its_switch(field, reason):
    assert field_usage.reason(field) == reason


def test_a_dataset_leaves_behaviour_without_effect():
    behaviour = {"warmup_steps", "buffer_size", "exploration", "epsilon_start"}
    config = Config(defaults="plain", dataset="steps.npz")
    assert behaviour <= set(field_usage.unused(config))
    assert "update_steps" not in field_usage.unused(config)
    assert field_usage.reason("epsilon_start", config) == offline.REASON
    sarsa = dataclasses.replace(config, next_value="expected_sarsa")
    assert behaviour - set(field_usage.unused(sarsa)) == {"epsilon_start"}
    assert not behaviour & set(field_usage.unused(Config(defaults="plain")))


def test_every_remedy_works():
    """With the value that it advises, a field is read."""
    tried = 0
    for usage in usage_table.USAGE:
        match = re.fullmatch(r"set (\w+)(?: to (.+))?", usage.used.remedy)
        for value in (match[2] or "true").split(" or ") if match else ():
            config = Config(
                defaults="plain",
                **{match[1]: search_space.parse_value(match[1], value)},
            )
            assert usage.used.holds(config), usage
            tried += 1
    assert tried > 20


def test_settings_of_a_preset_are_not_reported():
    for name, row in algorithm_table.ALGORITHMS.items():
        chosen = field_usage.chosen(preset(name, num_seeds=3, v_max=7.0))
        assert chosen == {"algorithm", "defaults", "num_seeds", "v_max"}, row
    assert "epsilon_steps" in field_usage.chosen(preset("dqn", epsilon_steps=3.0))
    ablation = preset("rainbow", prioritized=False)
    assert field_usage.chosen(ablation) & set(field_usage.unused(ablation)) == set()
