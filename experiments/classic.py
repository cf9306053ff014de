"""Every deep algorithm on CartPole-v1, Acrobot-v1 and MountainCar-v0, ten seeds each.

Each environment has one set of hyperparameters, chosen for DQN. An algorithm adds its
components and, in a few cases, its own hyperparameters (`OVERRIDES`). Select with
`--algorithms` and `--environments`. Finished runs are skipped, so the script can be
interrupted and restarted. It writes one JSON file per pair and, once an environment has
all its algorithms, a figure of their curves.
"""

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

import tyro

from jaxq import Config, cli
from jaxq.config import flags
from jaxq.config.deep_algorithms import DEEP
from jaxq.config.fields import check_name

if TYPE_CHECKING:
    from jaxq import Result

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"

BASE = Config(
    num_seeds=10,
    num_envs=8,
    buffer_size=50_000,
    batch_size=64,
    warmup_steps=2_000,
    update_steps=8,
    hidden_sizes=(64, 64),
    optimizer_eps=1e-5,
    max_grad_norm=10.0,
    learning_rate_schedule="linear",
    epsilon_end=0.05,
    eval_points=20,
    num_quantiles=32,
    quantile_samples=8,
    target_samples=8,
    policy_samples=8,
    num_cosines=32,
    importance_updates=25_000.0,
)
# The support of categorical heads extends 10 beyond the range of the values, -100 to 0
# or 0 to 100, because a Gaussian at its edge would lose half its mass.
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "total_steps": 200_000,
        "num_updates": 1,
        "hidden_sizes": (120, 84),
        "learning_rate": 1e-3,
        "learning_rate_updates": 25_000.0,
        "target_period": 50,
        "epsilon_steps": 40_000.0,
        "v_min": -10.0,
        "v_max": 110.0,
    },
    "Acrobot-v1": {
        "total_steps": 80_000,
        "num_updates": 2,
        "learning_rate": 1e-3,
        "learning_rate_updates": 20_000.0,
        "target_period": 100,
        "epsilon_steps": 20_000.0,
        "v_min": -110.0,
        "v_max": 10.0,
    },
    "MountainCar-v0": {
        "total_steps": 240_000,
        "num_updates": 2,
        "learning_rate": 4e-3,
        "learning_rate_updates": 75_000.0,
        "target_period": 25,
        "epsilon_steps": 50_000.0,
        # When the time limit of 200 steps is bootstrapped through, most seeds never
        # reach the goal.
        "timeout_is_terminal": True,
        "v_min": -110.0,
        "v_max": 10.0,
    },
}
# A PQN step costs several times less and is used only while it is fresh, so PQN gets
# more of them.
ROLLOUTS: dict[str, Any] = {
    "num_envs": 16,
    "rollout_length": 32,
    "num_minibatches": 8,
    "num_epochs": 4,
    "learning_rate_schedule": "constant",
    "total_steps": 800_000,
    "epsilon_steps": 200_000.0,
}
ROLLOUT_RATES = {
    "pqn": {"CartPole-v1": 2.5e-4, "Acrobot-v1": 2.5e-4, "MountainCar-v0": 4e-3},
    "pqn_rnn": dict.fromkeys(ENVIRONMENTS, 1e-3),
}
OVERRIDES: dict[str, dict[str, Any]] = {
    "fqf": {"num_quantiles": 8},
    "bootstrapped_dqn": {"ensemble_size": 5, "prior_scale": 1.0},
    "r2d2": {
        "batch_size": 16, "burn_in": 4, "sequence_length": 16, "memory_size": 64,
    },
    "pqn": ROLLOUTS,
    # The outputs of a recurrent cell are bounded: without value rescaling it learned
    # nothing on Acrobot-v1 and reached 40 % of the maximal return on CartPole-v1.
    "pqn_rnn": ROLLOUTS | {
        "num_minibatches": 4, "hidden_sizes": (64,), "dueling": True,
        "value_rescaling": True, "learning_rate_schedule": "linear",
        "learning_rate_updates": 25_280.0,
    },
}  # fmt: skip


def settings(algorithm: str, environment: str) -> Config:
    """Configuration of an algorithm on an environment."""
    fields = ENVIRONMENTS[environment] | OVERRIDES.get(algorithm, {})
    if algorithm in ROLLOUT_RATES:
        fields = fields | {"learning_rate": ROLLOUT_RATES[algorithm][environment]}
    config = dataclasses.replace(
        BASE, algorithm=algorithm, environment=environment, **fields
    )
    return config


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    algorithms: tuple[str, ...] = ()
    """Algorithms to run; by default all deep ones."""
    environments: tuple[str, ...] = tuple(ENVIRONMENTS)
    """Environments to run."""
    output: pathlib.Path = ROOT
    """Directory in which to write classic/ and figures/."""
    runs: pathlib.Path = ROOT / "runs"
    """Directory of the run directories."""


def row(result: "Result") -> dict[str, Any]:
    """Record of a finished run, as written to results/."""
    assert result.directory is not None
    manifest = json.loads((result.directory / "manifest.json").read_text())
    return {
        "algorithm": result.config.algorithm,
        "environment": result.config.environment,
        "final": result.summary["final_eval_return"],
        "steps_per_seed": result.summary["steps_per_seed"],
        "seconds": result.summary["seconds"],
        "num_seeds": result.config.num_seeds,
        "curve": {
            "steps": result.curve.steps,
            "eval_return": result.curve.eval_return,
        },
        "manifest": manifest,
    }


def main() -> None:
    """Run the missing pairs and draw a figure for every complete environment."""
    arguments = tyro.cli(Arguments, description=__doc__)
    for environment in arguments.environments:
        check_name("environment", environment, ENVIRONMENTS)
    cli.set_up_jax(flags.Options())

    for algorithm in arguments.algorithms:
        check_name("algorithm", algorithm, DEEP)
    tables = arguments.output / "classic"
    figures = arguments.output / "figures"
    for directory in (tables, figures):
        directory.mkdir(parents=True, exist_ok=True)
    for environment in arguments.environments:
        paths = {name: tables / f"{environment}_{name}.json" for name in DEEP}
        for algorithm in arguments.algorithms or DEEP:
            if not paths[algorithm].exists():
                config = settings(algorithm, environment)
                train(config, paths[algorithm], arguments.runs)
        if all(path.exists() for path in paths.values()):
            rows = [json.loads(path.read_text()) for path in paths.values()]
            draw(figures / f"classic_{environment}.png", rows)


def train(config: Config, path: pathlib.Path, runs: pathlib.Path) -> None:
    """Run a configuration and write its record to `path`."""
    from jaxq import run
    from jaxq.runs import files

    result = run(config, output=runs, show_progress=True, plot=False)
    files.write_json(path, row(result))


def draw(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Draw the curves of one environment, one panel per algorithm."""
    import matplotlib.figure
    import numpy as np

    from jaxq.runs import plots

    columns = 4
    height = -(-len(rows) // columns)
    figure = matplotlib.figure.Figure(
        figsize=(2.6 * columns, 1.7 * height), layout="constrained"
    )
    panels = figure.subplots(height, columns, sharey=True)
    grid = list(panels.flat)
    for axes, row in zip(grid, rows, strict=False):
        curve = row["curve"]
        scores = np.array(curve["eval_return"], float)
        plots.draw_seeds(axes, np.array(curve["steps"]), scores)
        axes.set_title(row["algorithm"], fontsize=9)
        plots.style(axes)
    for axes in grid[len(rows) :]:
        axes.set_visible(False)
    figure.supxlabel("environment steps per seed", fontsize=9)
    figure.supylabel("return of the greedy policy", fontsize=9)
    num_seeds = rows[0]["num_seeds"]
    title = f"{rows[0]['environment']}, {num_seeds} seeds"
    figure.suptitle(f"{title}: {plots.statistic(num_seeds)}")
    plots.save(figure, path)


if __name__ == "__main__":
    with cli.exit_codes():
        main()
