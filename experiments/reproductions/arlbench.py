"""Targets of ARLBench: the landscape of DQN's hyper-parameters on classic control."""

import dataclasses

from experiments.reproductions.criteria import Published, SameLandscape
from experiments.reproductions.target import (
    Cost,
    Quantity,
    Target,
    evaluation_return,
)
from experiments.support import arlbench_settings as arlbench


def _target(short: str, least: float, minutes: float) -> Target:
    name = arlbench.SHORT[short]
    rows = [row for row in arlbench.published() if row["env"] == name]
    last = max(int(row["env_steps"]) for row in rows)
    rows = [row for row in rows if int(row["env_steps"]) == last]
    base = dataclasses.replace(arlbench.PRESETS[f"arlbench_{short}"], num_seeds=10)
    runs = {
        f"setting {row['run_id']}": dataclasses.replace(base, **arlbench.fields_of(row))
        for row in rows
    }
    theirs = {
        f"setting {row['run_id']}": Published(
            float(row["mean"]), 0.0, float(row["std"]), int(row["n_seeds"])
        )
        for row in rows
    }
    return Target(
        title=f"ARLBench's settings of DQN on {name}",
        source="Becktepe et al. (2024), arXiv:2409.18827, repository automl/arlbench "
        "at 1c67583, results_combined/sobol",
        trust="A: returns of ten seeds as numbers, all hyper-parameters, and the "
        "environments of gymnax",
        runs=runs,
        quantities={label: Quantity(label, evaluation_return()) for label in runs},
        criterion=SameLandscape(theirs, least),
        cost=Cost(minutes, 3),
        deviations=(
            "24 of the 256 published settings",
            "actions are random before learning starts",
            "weights of prioritised replay are those of the paper",
            "the target is copied after the same number of gradient steps on average",
        ),
        metric="evaluation return",
        algorithms=("dqn", "prioritized_dqn"),
    )


TARGETS = {
    "arlbench_cartpole": _target("cartpole", 0.75, 15),
    "arlbench_acrobot": _target("acrobot", 0.9, 30),
    "arlbench_mountaincar": _target("mountaincar", 0.9, 20),
}
