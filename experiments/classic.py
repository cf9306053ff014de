"""Every deep algorithm on CartPole-v1, Acrobot-v1 and MountainCar-v0, ten seeds each.

One set of settings for each environment, near those of the RL Zoo; an algorithm adds
its components, and here and there a setting of its own (`OWN`). `--algorithms` and
`--environments` choose; finished runs are kept, so the script can be run in parts. It
writes a table for each pair, and its run, below --output.
"""

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

import tyro

from jaxq import cli, papers
from jaxq.config import Config

if TYPE_CHECKING:
    from jaxq.run import Result

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
    quantile_samples=16,
    target_samples=16,
    policy_samples=16,
    num_cosines=32,
    importance_updates=25_000.0,
)
ENVIRONMENTS = {
    "CartPole-v1": {
        "total_steps": 150_000,
        "num_updates": 1,
        "learning_rate": 1e-3,
        "learning_rate_updates": 18_500.0,
        "target_period": 50,
        "epsilon_steps": 30_000.0,
        "v_min": 0.0,
        "v_max": 100.0,
    },
    "Acrobot-v1": {
        "total_steps": 100_000,
        "num_updates": 2,
        "learning_rate": 1e-3,
        "learning_rate_updates": 24_500.0,
        "target_period": 100,
        "epsilon_steps": 20_000.0,
        "v_min": -100.0,
        "v_max": 0.0,
    },
    "MountainCar-v0": {
        "total_steps": 150_000,
        "num_updates": 4,
        "learning_rate": 3e-3,
        "learning_rate_updates": 150_000.0,
        "target_period": 25,
        "epsilon_steps": 15_000.0,
        "epsilon_end": 0.1,
        # Returns that end with the limit reward whoever finds the goal in time.
        "timeout_is_terminal": True,
        "v_min": -100.0,
        "v_max": 0.0,
    },
}
ROLLOUTS: dict[str, Any] = {
    "num_envs": 16,
    "rollout_length": 32,
    "num_minibatches": 4,
    "num_epochs": 4,
    "learning_rate_schedule": "constant",
}
OWN: dict[str, dict[str, Any]] = {
    "bootstrapped_dqn": {"ensemble_size": 10, "prior_scale": 1.0},
    "r2d2": {
        "batch_size": 16, "burn_in": 4, "sequence_length": 16, "memory_size": 64,
    },
    "pqn": ROLLOUTS,
    "pqn_rnn": ROLLOUTS,
}  # fmt: skip


def settings(algorithm: str, environment: str) -> Config:
    """The configuration of one pair."""
    fields = ENVIRONMENTS[environment] | OWN.get(algorithm, {})
    config = dataclasses.replace(
        BASE, algorithm=algorithm, environment=environment, **fields
    )
    return papers.compose(config)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to run and where to write."""

    algorithms: tuple[str, ...] = ()
    """Names; none for all deep algorithms."""
    environments: tuple[str, ...] = tuple(ENVIRONMENTS)
    """Names."""
    output: pathlib.Path = ROOT / "classic"
    """Directory of the tables and the runs."""


def row(result: "Result") -> dict[str, Any]:
    """What the table says of a run."""
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
    """Run what is missing, and write the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    cli.set_up_jax(cli.Options())
    from jaxq import algorithms, results, run

    deep = tuple(algorithm.__name__ for algorithm in algorithms.DEEP)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for environment in arguments.environments:
        for algorithm in arguments.algorithms or deep:
            path = arguments.output / f"{environment}_{algorithm}.json"
            if path.exists():
                continue
            config = settings(algorithm, environment)
            runs = arguments.output / "runs"
            result = run.run(config, output=runs, show_progress=True, plot=False)
            results.write_json(path, row(result))


if __name__ == "__main__":
    with cli.exit_codes():
        main()
