"""Final returns on every gymnax environment that a value-based agent can learn.

Ten seeds, with the settings of `jaxq.config.environment_table`: DQN and PQN
everywhere, C51 on all but the games of MinAtar, tabular Q-learning where the states
can be numbered, and recurrent agents where a policy needs memory. Finished runs are
skipped, and interrupted ones resume; select with `--environments` and `--algorithms`.
"""

import dataclasses
import math
import pathlib
from typing import Any

from experiments import classic
from experiments.support import search
from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.config.environment_settings import MINATAR
from jaxq.config.environment_table import ENVIRONMENTS
from jaxq.config.fields import check_name

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"

EVERYWHERE = ("dqn", "c51", "pqn")
GAMES = ("dqn", "pqn")
RECURRENT = ("r2d2", "pqn_rnn")
MEMORY = ("BernoulliBandit-misc", "GaussianBandit-misc", "MemoryChain-bsuite",
          "MetaMaze-misc")  # fmt: skip
# It shuffles its arms at every step: no policy is better than another.
UNLEARNABLE = ("SimpleBandit-bsuite",)
NAMES = tuple(name for name in ENVIRONMENTS if name not in UNLEARNABLE)
ALGORITHMS = (*EVERYWHERE, *RECURRENT, "tabular_q")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    environments: tuple[str, ...] = NAMES
    """Environments to run."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Algorithms to run, where they apply."""
    output: pathlib.Path = ROOT / "environments"
    """Directory in which to write one JSON file per pair."""
    runs: pathlib.Path = ROOT / "runs" / "environments"
    """Directory of the run directories."""


def algorithms(environment: str) -> tuple[str, ...]:
    """The algorithms that are run on an environment."""
    if environment in MINATAR:
        return GAMES
    recurrent = RECURRENT if environment in MEMORY else ()
    tabular = ("tabular_q",) if ENVIRONMENTS[environment].numbered else ()
    return (*EVERYWHERE, *recurrent, *tabular)


def main() -> None:
    """Run the missing pairs, and write the record of each."""
    arguments = command_line.read(Arguments, __doc__)
    for environment in arguments.environments:
        check_name("environment", environment, ENVIRONMENTS)
    for algorithm in arguments.algorithms:
        check_name("algorithm", algorithm, ALGORITHMS)
    cli.set_up_jax(flags.Options())
    arguments.output.mkdir(parents=True, exist_ok=True)
    for environment in arguments.environments:
        for algorithm in algorithms(environment):
            path = arguments.output / f"{environment}_{algorithm}.json"
            if algorithm in arguments.algorithms and not path.exists():
                config = Config(environment=environment, algorithm=algorithm)
                train(config, path, arguments.runs)


def train(config: Config, path: pathlib.Path, runs: pathlib.Path, **facts: Any) -> None:
    """Run or resume a configuration, and write its record to `path`, with `facts`."""
    from jaxq import run
    from jaxq.runs import files

    result = run(
        config,
        output=runs,
        resume=search.unfinished(config, runs),
        show_progress=True,
        plot=False,
    )
    levels = {k: v for k, v in result.summary["levels"].items() if math.isfinite(v)}
    files.write_json(path, classic.row(result) | {"levels": levels} | facts)


if __name__ == "__main__":
    with cli.exit_codes():
        main()
