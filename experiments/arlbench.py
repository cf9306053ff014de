"""DQN's settings of ARLBench on CartPole-v1, Acrobot-v1 and MountainCar-v0, and ours.

ARLBench (Becktepe et al., arXiv:2409.18827) published the returns of 256 settings with
ten seeds each; 24 for every environment are in results/published/arlbench.csv.
`--write` makes the files of settings that experiments/sweep.py reads, in this
repository's fields; `--compare DIR ...` compares finished sweeps of them with what was
published: the rank correlation over settings, and Welch's test for each.
"""

import csv
import dataclasses
import json
import math
import pathlib
from typing import Any

import tyro

from jaxq import cli
from jaxq.config.config import Config, ConfigError
from jaxq.runs import files

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"
PUBLISHED = ROOT / "published" / "arlbench.csv"

# An MLP of 64-64 tanh units; Adam with a constant step size; a time limit is taken for
# a termination; epsilon falls over the first tenth of the steps; greedy returns of 128
# episodes at ten points.
BASE = Config(
    discount=0.99,
    hidden_sizes=(64, 64),
    activation="tanh",
    weight_init="orthogonal",
    output_scale=1.0,
    timeout_is_terminal=True,
    eval_points=10,
    eval_episodes=128,
    num_seeds=5,
    importance_updates=1e30,  # the exponent of the weights stays as it is
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


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to do."""

    write: bool = False
    """Make the files of settings."""
    compare: tuple[pathlib.Path, ...] = ()
    """Directories of finished sweeps."""
    output: pathlib.Path = ROOT
    """Directory of published/ and arlbench/."""


def published() -> list[dict[str, str]]:
    """What was published: a row for each setting and point."""
    with PUBLISHED.open() as file:
        return list(csv.DictReader(file))


def target_period(row: dict[str, str]) -> int:
    """Gradient steps between copies of the parameters.

    There, they are copied every ceil(interval / num_envs) steps of all environments;
    without a target network, the online parameters take its place.
    """
    if row["use_target_network"] == "False":
        return 1
    fields = ENVIRONMENTS[row["env"]]
    every = math.ceil(float(row["target_update_interval"]) / fields["num_envs"])
    burst = fields["num_updates"]  # that many between two rollouts, none copied within
    updates = every * fields["num_envs"] * burst // fields["update_steps"]
    return max(burst, updates)


def settings(environment: str) -> list[dict[str, Any]]:
    """The settings of an environment in fields of the configuration."""
    found = {}
    for row in published():
        if row["env"] != environment:
            continue
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
        found[row["run_id"]] = fields
    return list(found.values())


def write(directory: pathlib.Path) -> None:
    """Make the files of settings."""
    for short, name in SHORT.items():
        rows = settings(name)
        path = directory / "published" / f"arlbench_{short}.csv"
        files.write_csv(path, [list(rows[0]), *(list(row.values()) for row in rows)])


def compare(directory: pathlib.Path) -> dict[str, Any]:
    """A finished sweep beside what was published."""
    import numpy as np
    import scipy.stats

    from jaxq.stats import comparisons
    from jaxq.sweeps import storage

    content = storage.read(directory)
    name = content["config"]["environment"]
    if name not in ENVIRONMENTS:
        raise ConfigError(f"{directory} is a sweep of {name}, not of ARLBench's.")
    if not (directory / "metrics.npz").exists():
        raise ConfigError(f"{directory} is a sweep that is not finished.")
    with np.load(directory / "metrics.npz") as arrays:
        programs = len(content["programs"])
        setting = np.concatenate(
            [arrays[f"program{i}/setting"] for i in range(programs)]
        )
        final = np.concatenate(
            [arrays[f"program{i}/eval_return"][:, :, -1] for i in range(programs)]
        )
    ours = {int(number): values for number, values in zip(setting, final, strict=True)}
    points = [row for row in published() if row["env"] == name]
    last = max(int(row["env_steps"]) for row in points)
    theirs = [row for row in points if int(row["env_steps"]) == last]
    known = settings(name)
    rows = []
    for number, setting in enumerate(content["settings"]):
        if setting not in known:
            raise ConfigError(
                f"{directory} has a setting that ARLBench has not: {setting}."
            )
        place = known.index(setting)
        row, values = theirs[place], ours[number]
        mean, std, count = float(row["mean"]), float(row["std"]), int(row["n_seeds"])
        own = values.mean(), values.std(ddof=1), values.size
        p = comparisons.welch_of(own, (mean, std, count))
        rows.append(
            {
                "run_id": int(row["run_id"]),
                "prioritized": row["prioritized"] == "True",
                "ours_mean": values.mean(),
                "ours_std": values.std(ddof=1),
                "published_mean": mean,
                "published_std": std,
                "welch_p": p,
            }
        )
    x = [row["ours_mean"] for row in rows]
    y = [row["published_mean"] for row in rows]
    adjusted = comparisons.holm([row["welch_p"] for row in rows])
    return {
        "environment": name,
        "num_seeds": content["config"]["num_seeds"],
        "programs": programs,
        "spearman": scipy.stats.spearmanr(x, y).statistic,
        "kendall": scipy.stats.kendalltau(x, y).statistic,
        "settings": [
            row | {"holm_p": p} for row, p in zip(rows, adjusted, strict=True)
        ],
        "manifest": json.loads((directory / "manifest.json").read_text()),
    }


def draw(path: pathlib.Path, found: list[dict[str, Any]]) -> None:
    """Ours over the published mean of every setting, with standard deviations."""
    import matplotlib.figure

    from jaxq.runs import plots

    size = 4.4 * len(found), 4.2
    figure = matplotlib.figure.Figure(size, layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, one in zip(panels, found, strict=True):
        for prioritized, color in ((False, plots.BLUE), (True, plots.ORANGE)):
            rows = [r for r in one["settings"] if r["prioritized"] == prioritized]
            axes.errorbar(
                [r["published_mean"] for r in rows], [r["ours_mean"] for r in rows],
                [r["ours_std"] for r in rows], [r["published_std"] for r in rows],
                fmt="o", markersize=4, linewidth=0.6, alpha=0.7, color=color,
                label="prioritised" if prioritized else "uniform",
            )  # fmt: skip
        every = [r[k] for r in one["settings"] for k in ("ours_mean", "published_mean")]
        ends = [min(every), max(every)]
        axes.plot(ends, ends, color=plots.GREY, linewidth=1, linestyle="--")
        axes.set_title(
            f"{one['environment']}, {len(one['settings'])} settings\n"
            f"rank correlation {one['spearman']:.2f}"
        )
        axes.set(
            xlabel="published final return, 10 seeds, mean and std",
            ylabel=f"ours, {one['num_seeds']} seeds",
        )
        plots.frame(axes)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    plots.save(figure, path)


def main() -> None:
    """Write files of settings, or compare sweeps."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.write:
        write(arguments.output)
    for directory in arguments.compare:
        found = compare(directory)
        path = arguments.output / "arlbench" / f"{found['environment']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, found)
        print(f"{found['environment']}: Spearman {found['spearman']:.3f}, {path}")
    if arguments.compare:
        paths = sorted((arguments.output / "arlbench").glob("*.json"))
        picture = arguments.output / "figures" / "arlbench.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(picture, [json.loads(path.read_text()) for path in paths])


if __name__ == "__main__":
    with cli.exit_codes():
        main()
