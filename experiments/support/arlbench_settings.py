"""Protocol and published settings of ARLBench's DQN, in this repository's fields.

Reference: Becktepe et al. (2024), ARLBench, arXiv:2409.18827.
"""

import csv
import dataclasses
import math
import pathlib
from typing import Any

from jaxq.config.config import Config

RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"
PUBLISHED = RESULTS / "published" / "arlbench.csv"

# ARLBench's protocol: an MLP of 64-64 tanh units; Adam with a constant step size; time
# limits treated as terminations; epsilon annealed over the first tenth of the steps;
# greedy returns of 128 episodes at ten points.
BASE = Config(
    defaults="plain",
    discount=0.99,
    hidden_sizes=(64, 64),
    activation="tanh",
    weight_init="orthogonal",
    output_scale=1.0,
    timeout_is_terminal=True,
    eval_points=10,
    eval_episodes=128,
    num_seeds=5,
    importance_updates=1e30,  # keeps the exponent of the weights constant
)
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "total_steps": 50_000, "num_envs": 8, "update_steps": 256, "num_updates": 128,
    },
    "Acrobot-v1": {
        "total_steps": 100_000, "num_envs": 4, "update_steps": 4, "num_updates": 4,
    },
    "MountainCar-v0": {
        "total_steps": 120_000, "num_envs": 8, "update_steps": 16, "num_updates": 8,
    },
}  # fmt: skip
SHORT = {name.partition("-")[0].lower(): name for name in ENVIRONMENTS}
PRESETS = {
    f"arlbench_{short}": dataclasses.replace(
        BASE,
        environment=name,
        epsilon_steps=0.1 * ENVIRONMENTS[name]["total_steps"],
        **ENVIRONMENTS[name],
    )
    for short, name in SHORT.items()
}


def published() -> list[dict[str, str]]:
    """The published returns: one row per setting and point."""
    with PUBLISHED.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def target_period(row: dict[str, str]) -> int:
    """Gradient steps between refreshes of the target network.

    ARLBench refreshes every ceil(interval / num_envs) steps of all environments;
    without a target network, it uses the online parameters.
    """
    if row["use_target_network"] == "False":
        return 1
    fields = ENVIRONMENTS[row["env"]]
    steps = math.ceil(float(row["target_update_interval"]) / fields["num_envs"])
    burst = fields["num_updates"]  # updates between rollouts, with no refresh within
    updates = steps * fields["num_envs"] * burst // fields["update_steps"]
    return max(burst, updates)


def settings(environment: str) -> list[dict[str, Any]]:
    """The settings of an environment, in this repository's fields."""
    rows = [row for row in published() if row["env"] == environment]
    return list({row["run_id"]: fields_of(row) for row in rows}.values())


def fields_of(row: dict[str, str]) -> dict[str, Any]:
    """The fields of one published setting."""
    fields = {
        "learning_rate": float(row["learning_rate"]),
        "batch_size": int(row["batch_size"]),
        "buffer_size": int(row["buffer_size"]),
        "warmup_steps": max(1, int(row["learning_starts"])),
        "epsilon_start": float(row["initial_epsilon"]),
        "epsilon_end": float(row["target_epsilon"]),
        "target_period": target_period(row),
        "prioritized": row["prioritized"] == "True",
    }
    for ours, theirs in (
        ("priority_exponent", "per_alpha"),
        ("importance_exponent", "per_beta"),
        ("priority_epsilon", "per_epsilon"),
    ):
        default = getattr(Config(), ours)
        fields[ours] = float(row[theirs] or default)
    return fields
