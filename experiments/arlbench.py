"""Compare ARLBench's DQN settings on CartPole, Acrobot and MountainCar with ours.

ARLBench (Becktepe et al., arXiv:2409.18827) published the returns of 256 settings with
ten seeds each; 24 per environment are in results/published/arlbench.csv. `--write`
converts them to this repository's fields, as CSV files for experiments/sweep.py;
`--compare DIR ...` compares finished sweeps with the published returns: the rank
correlation over settings, and Welch's test for each.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.support.arlbench_settings import (
    ENVIRONMENTS,
    RESULTS,
    SHORT,
    published,
    settings,
)
from jaxq import cli
from jaxq.config import command_line
from jaxq.config.fields import ConfigError
from jaxq.runs import files, matplotlib_check

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Settings to write, or sweeps to compare."""

    write: bool = False
    """Write the CSV files of settings."""
    compare: tuple[pathlib.Path, ...] = ()
    """Directories of finished sweeps."""
    output: pathlib.Path = RESULTS
    """Directory of published/ and arlbench/."""


def write(directory: pathlib.Path) -> None:
    """Write the CSV files of settings."""
    for short, name in SHORT.items():
        rows = settings(name)
        path = directory / "published" / f"arlbench_{short}.csv"
        files.write_csv(path, [list(rows[0]), *(list(row.values()) for row in rows)])


def compare(directory: pathlib.Path) -> dict[str, Any]:
    """Compare a finished sweep with the published returns.

    Raises:
        ConfigError: if it is not a finished sweep of ARLBench's settings.
    """
    import numpy as np
    import scipy.stats

    from jaxq.stats import comparisons
    from jaxq.sweeps import storage

    content = storage.read(directory)
    name = content["config"]["environment"]
    if name not in ENVIRONMENTS:
        raise ConfigError(
            f"{directory} is a sweep of {name}, which ARLBench does not have."
        )
    ours = final_returns(directory, content)
    theirs = _last_rows(name)
    known = settings(name)
    rows = []
    if np.isnan(list(ours.values())).any() or content["config"]["num_seeds"] < 2:
        raise ConfigError(
            f"{directory} has scores that are nan, or a single seed, whose standard "
            "deviation is unknown: its settings cannot be tested."
        )
    for number, setting in enumerate(content["settings"]):
        if setting not in known:
            raise ConfigError(
                f"{directory} has a setting that ARLBench does not: {setting}."
            )
        rows.append(compare_setting(ours[number], theirs[known.index(setting)]))
    x = [row["ours_mean"] for row in rows]
    y = [row["published_mean"] for row in rows]
    adjusted = comparisons.holm([row["welch_p"] for row in rows])
    return {
        "environment": name,
        "num_seeds": content["config"]["num_seeds"],
        "programs": len(content["programs"]),
        "spearman": scipy.stats.spearmanr(x, y).statistic,
        "kendall": scipy.stats.kendalltau(x, y).statistic,
        "settings": [
            row | {"holm_p": p} for row, p in zip(rows, adjusted, strict=True)
        ],
        "manifest": json.loads(
            (directory / "manifest.json").read_text(encoding="utf-8")
        ),
    }


def final_returns(
    directory: pathlib.Path, content: dict[str, Any]
) -> "dict[int, np.ndarray]":
    """Final returns of every setting of a sweep; setting -> [S]."""
    import numpy as np

    if not (directory / "metrics.npz").exists():
        raise ConfigError(f"{directory} is a sweep that is not finished.")
    returns = {}
    with np.load(directory / "metrics.npz") as arrays:
        for i in range(len(content["programs"])):
            final = arrays[f"program{i}/eval_return"][:, :, -1]
            for setting, values in zip(
                arrays[f"program{i}/setting"], final, strict=True
            ):
                returns[int(setting)] = values
    return returns


def _last_rows(environment: str) -> list[dict[str, str]]:
    """The published rows of the last point, one per setting."""
    rows = [row for row in published() if row["env"] == environment]
    last = max(int(row["env_steps"]) for row in rows)
    return [row for row in rows if int(row["env_steps"]) == last]


def compare_setting(ours: "np.ndarray", row: dict[str, str]) -> dict[str, Any]:
    """Our final returns [S] of one setting, compared with the published ones."""
    from jaxq.stats import comparisons

    mean, std = ours.mean(), ours.std(ddof=1)
    theirs = float(row["mean"]), float(row["std"]), int(row["n_seeds"])
    return {
        "run_id": int(row["run_id"]),
        "prioritized": row["prioritized"] == "True",
        "ours_mean": mean,
        "ours_std": std,
        "published_mean": theirs[0],
        "published_std": theirs[1],
        "welch_p": comparisons.welch_of((mean, std, ours.size), theirs),
    }


def draw(path: pathlib.Path, results: Sequence[dict[str, Any]]) -> None:
    """Plot our mean return against the published one, with standard deviations."""
    import matplotlib.figure

    from jaxq.runs import plots

    size = 4.4 * len(results), 4.2
    figure = matplotlib.figure.Figure(size, layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, result in zip(panels, results, strict=True):
        rows = result["settings"]
        for prioritized, color in ((False, plots.BLUE), (True, plots.ORANGE)):
            selected = [row for row in rows if row["prioritized"] == prioritized]
            axes.errorbar(
                [row["published_mean"] for row in selected],
                [row["ours_mean"] for row in selected],
                [row["ours_std"] for row in selected],
                [row["published_std"] for row in selected],
                fmt="o",
                markersize=4,
                linewidth=0.6,
                alpha=0.7,
                color=color,
                label="prioritised" if prioritized else "uniform",
            )
        means = [row[k] for row in rows for k in ("ours_mean", "published_mean")]
        ends = [min(means), max(means)]
        axes.plot(ends, ends, color=plots.GREY, linewidth=1, linestyle="--")
        axes.set_title(
            f"{result['environment']}, {len(rows)} settings\n"
            f"rank correlation {result['spearman']:.2f}"
        )
        axes.set(
            xlabel="published final return, 10 seeds, mean and std",
            ylabel=f"ours, {result['num_seeds']} seeds",
        )
        plots.frame(axes)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    plots.save(figure, path)


def main() -> None:
    """Write settings, or compare sweeps, from the command line."""
    arguments = command_line.read(Arguments, __doc__)
    if arguments.write:
        write(arguments.output)
    if arguments.compare:
        matplotlib_check.check_matplotlib()
    for directory in arguments.compare:
        result = compare(directory)
        path = arguments.output / "arlbench" / f"{result['environment']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, result)
        print(f"{result['environment']}: Spearman {result['spearman']:.3f}, {path}")
    if arguments.compare:
        paths = sorted((arguments.output / "arlbench").glob("*.json"))
        figure = arguments.output / "figures" / "arlbench.png"
        figure.parent.mkdir(parents=True, exist_ok=True)
        draw(figure, [json.loads(path.read_text(encoding="utf-8")) for path in paths])


if __name__ == "__main__":
    with cli.exit_codes():
        main()
