"""Every deep algorithm on CartPole-v1, Acrobot-v1 and MountainCar-v0, ten seeds each.

The settings are those of `jaxq.config.environment_table`: one set per environment,
chosen for DQN, and a few of single algorithms. Select with
`--algorithms` and `--environments`. Finished runs are skipped, so the script can be
interrupted and restarted. It writes one JSON file per pair and, once an environment has
all its algorithms, a figure of their curves.
"""

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.config.algorithm_table import ALGORITHMS, TABULAR
from jaxq.config.fields import check_name
from jaxq.runs import matplotlib_check

if TYPE_CHECKING:
    from jaxq import Result

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"

DEEP = [name for name in ALGORITHMS if name not in TABULAR]
ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")


def settings(algorithm: str, environment: str) -> Config:
    """Configuration of an algorithm on an environment: that of the table, ten seeds."""
    return Config(
        algorithm=algorithm, environment=environment, num_seeds=10, eval_points=20
    )


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    algorithms: tuple[str, ...] = ()
    """Algorithms to run; by default all deep ones."""
    environments: tuple[str, ...] = ENVIRONMENTS
    """Environments to run."""
    output: pathlib.Path = ROOT
    """Directory in which to write classic/ and figures/."""
    runs: pathlib.Path = ROOT / "runs"
    """Directory of the run directories."""


def row(result: "Result") -> dict[str, Any]:
    """Record of a finished run, as written to results/."""
    assert result.directory is not None
    manifest = json.loads(
        (result.directory / "manifest.json").read_text(encoding="utf-8")
    )
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
    arguments = command_line.read(Arguments, __doc__)
    for environment in arguments.environments:
        check_name("environment", environment, ENVIRONMENTS)
    matplotlib_check.check_matplotlib()
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
            rows = [
                json.loads(path.read_text(encoding="utf-8")) for path in paths.values()
            ]
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
