"""Final returns on one environment of each of several suites, with five seeds.

Every case has the random policy's return, by the same code, and a stated reference.
Finished runs are skipped, and interrupted ones resume; select with `--suites`. A suite
must be installed, as in `pip install -e '.[navix]'`.
"""

import dataclasses
import importlib.metadata
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments import environments
from jaxq import Config, cli
from jaxq.config import command_line, flags, suites
from jaxq.config.fields import check_name

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"
NUM_SEEDS = 5


class Case(NamedTuple):
    """One configuration, and a return to compare its own with."""

    fields: Mapping[str, Any]
    reference: float | None  # None: the source says where to find one
    source: str  # of the reference


CASES = {
    "navix": Case(
        {"environment": "navix::Navix-Empty-8x8-v0", "algorithm": "dqn"},
        1.0,
        "the optimum: the goal, within 100 steps",
    ),
    "xminigrid": Case(
        {
            "environment": "xminigrid::MiniGrid-Empty-6x6",
            "algorithm": "dqn",
            "eval_points": 10,
        },
        1 - 0.9 * 7 / 144,  # the reward of a success after 7 of 144 steps
        "the optimum: the shortest path, of 7 steps",
    ),
    "gxm": Case(
        {
            "environment": "gxm::Navix/Navix-Empty-5x5-v0",
            "algorithm": "dqn",
            "eval_points": 10,
        },
        1.0,
        "the optimum: the goal, within 100 steps",
    ),
    "jumanji": Case(
        {
            "environment": "jumanji::Snake-v1",
            "environment_args": ("mask=false", "num_rows=6", "num_cols=6"),
            "algorithm": "pqn",
            "total_steps": 500_000,
            "epsilon_steps": 125_000.0,
            "eval_points": 10,
            "eval_max_steps": 1_000,
        },
        35.0,
        "an upper bound: the snake fills the board",
    ),
    "pgx": Case(
        {
            "environment": "pgx::minatar-breakout",
            "algorithm": "pqn",
            "total_steps": 500_000,
            "learning_rate_updates": 7_812.0,
            "epsilon_steps": 50_000.0,
            "eval_points": 5,
        },
        None,
        "PQN on gymnax's Breakout-MinAtar, in the table above",
    ),
    "pgx_2048": Case(
        {
            "environment": "pgx::2048",
            "algorithm": "pqn",
            "num_envs": 64,
            "total_steps": 500_000,
            "epsilon_steps": 50_000.0,
            "eval_points": 5,
            "eval_max_steps": 3_000,
        },
        8 * 512.0,  # eight generations of merges, each worth 512 in all
        "the score of a tile of 512, made of twos",
    ),
    "foragax": Case(
        {
            "environment": "foragax::ForagaxTwoBiomeLarge-v1",
            "algorithm": "pqn",
            "num_envs": 16,
            "rollout_length": 32,
            "total_steps": 500_000,
            "epsilon_steps": 50_000.0,
            "eval_epsilon": 0.1,  # a greedy forager without memory walks in circles
            "eval_points": 10,
            "eval_max_steps": 1_000,
        },
        # 7.5 morels, worth 30, that grow back after 300 steps; an oyster is worth 1.
        7.5 * 4 * 30 + (1_000 - 7.5 * 4),
        "an upper bound: every morel four times, else an oyster at each step",
    ),
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    suites: tuple[str, ...] = tuple(CASES)
    """Suites to run."""
    output: pathlib.Path = ROOT / "suites"
    """Directory in which to write one JSON file per suite."""
    runs: pathlib.Path = ROOT / "runs" / "suites"
    """Directory of the run directories."""


def main() -> None:
    """Run the missing cases, and write the record of each."""
    arguments = command_line.read(Arguments, __doc__)
    for name in arguments.suites:
        check_name("suite", name, CASES)
        suites.check(CASES[name].fields["environment"])
    cli.set_up_jax(flags.Options())
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.suites:
        path = arguments.output / f"{name}.json"
        if not path.exists():
            case = CASES[name]
            config = Config(**{**case.fields, "num_seeds": NUM_SEEDS})
            environments.train(
                config,
                path,
                arguments.runs,
                environment_args=config.environment_args,
                reference=case.reference,
                source=case.source,
                suite=version(suites.split(config.environment)[0]),
            )


def version(suite: str) -> str:
    """The package of a suite, with its version."""
    packages = importlib.metadata.packages_distributions()
    package = packages[suites.SUITES[suite].modules[0]][0]
    return f"{package} {importlib.metadata.version(package)}"


if __name__ == "__main__":
    with cli.exit_codes():
        main()
