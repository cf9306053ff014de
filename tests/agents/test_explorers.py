"""Exploration solves tasks on which epsilon-greedy exploration is slow.

The thresholds are from runs of twenty seeds.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from mdps import MDP

from jaxq.config.config import Config
from jaxq.envs import adapter, gymnax_facts
from jaxq.runs import run

pytestmark = [pytest.mark.slow, pytest.mark.conformance]


class Chain(MDP):
    """Sixteen states: action 1 moves right, action 0 left; the last one pays 1."""

    num_values = 16
    limit = 60

    def first(self, key):
        return jnp.int32(0)

    def transition(self, key, value, action):
        value = jnp.clip(value + 2 * action - 1, 0, 15)
        return value, (value == 15).astype(jnp.float32), value == 15


CHAIN = {
    "algorithm": "tabular_q", "rollout_length": 1, "total_steps": 1500,
    "learning_rate": 0.5, "epsilon_start": 0.2, "epsilon_end": 0.2, "discount": 0.95,
}  # fmt: skip
DEEP_SEA = {
    "environment": "DeepSea-bsuite", "environment_args": ("size=8",),
    "total_steps": 6000, "buffer_size": 6000, "batch_size": 32, "update_steps": 2,
    "learning_rate": 1e-3, "hidden_sizes": (64,), "warmup_steps": 100,
    "epsilon_start": 0.1, "epsilon_end": 0.1,
}  # fmt: skip
ENSEMBLE = {
    **DEEP_SEA, "algorithm": "bootstrapped_dqn", "ensemble_size": 5,
    "hidden_sizes": (32,), "num_seeds": 12, "total_steps": 4500,
}  # fmt: skip
ENSEMBLE = {k: v for k, v in ENSEMBLE.items() if not k.startswith("epsilon")}
TASKS = {"chain": CHAIN, "deep sea": DEEP_SEA, "ensemble": ENSEMBLE}


@functools.cache
def solved(task, **changes):
    """Fraction of seeds whose last evaluation finds the reward."""
    common = {"defaults": "plain", "num_seeds": 20, "eval_points": 2}
    config = Config(**common | {"eval_episodes": 1} | TASKS[task] | changes)
    environment = None
    if task == "chain":
        table = gymnax_facts.TableIndex(16, lambda state: state)
        environment = adapter.adapt(Chain(), table=table)
    result = run.run(config, environment=environment)
    return np.mean(result.curve.eval_return[:, -1] > 0.5)


def test_repeated_random_actions_reach_the_end_of_a_chain():
    assert solved("chain") < 0.5
    assert solved("chain", exploration="epsilon_z_greedy") > 0.8


@pytest.mark.parametrize(
    "changes",
    [
        {"intrinsic_bonus": "count"},
        {"intrinsic_bonus": "rnd", "bonus_scale": 3.0, "rnd_learning_rate": 1e-3},
    ],
    ids=["count", "rnd"],
)
def test_a_bonus_for_new_states_finds_the_treasure(changes):
    assert solved("deep sea") < 0.7
    assert solved("deep sea", **changes) > 0.85


@pytest.mark.parametrize(
    "changes",
    [
        {"ensemble_acting": "ucb", "ucb_scale": 2.0},
        {"ensemble_acting": "ids", "ucb_scale": 2.0},
    ],
    ids=["ucb", "ids"],
)
def test_confidence_bounds_find_the_treasure_more_often_than_the_mean(changes):
    mean = solved("ensemble", ensemble_acting="mean")
    assert solved("ensemble", **changes) > mean + 0.4
