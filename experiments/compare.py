"""Compare runs: curves, IQM and other aggregates, profiles, tests.

Each word is a directory of a run, or LABEL=DIRECTORY; a pattern such as 'runs/dqn/*/*'
stands for many. Runs with one label are one algorithm, every environment is a task, and
the seeds are the runs of a task. Scores are normalised: 0 is the random policy, and 1
the optimum where it is known, else the best mean return among what is compared.
"""

import dataclasses
import glob
import itertools
import json
import pathlib
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from jaxq import cli
from jaxq.config.config import (
    ENVIRONMENT_OPTIONS,
    Config,
    ConfigError,
)

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is compared, and where it is written."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Directories or patterns, perhaps with LABEL= before."""
    output: pathlib.Path = pathlib.Path("results/compare")
    """Directory of compare.json and the pictures."""
    metric: Literal["eval_return", "train_return"] = "eval_return"
    """Return of the greedy policy, or of the episodes of training."""
    score: Literal["final", "area"] = "final"
    """The last point of the curve, or its mean over the steps."""
    resamples: int = 2_000
    """Bootstrap samples of every interval."""


class Run(NamedTuple):
    """The curves of one algorithm on one task."""

    label: str
    task: str
    steps: "np.ndarray"  # [P]
    curves: "np.ndarray"  # [S, P]
    levels: dict[str, float | None]
    diverged: int  # seeds
    directory: str


def load(words: tuple[str, ...], metric: str) -> list[Run]:
    """The runs that the words name.

    Raises:
        ConfigError: for a directory without results, or a task that comes twice.
    """
    runs: dict[tuple[str, str], Run] = {}
    for word in words:
        for run in named(word, metric):
            other = runs.setdefault((run.label, run.task), run)
            if other is not run:
                raise ConfigError(
                    f"{run.directory} and {other.directory} are both {run.label} on "
                    f"{run.task}. Give them labels: LABEL=DIRECTORY."
                )
    return list(runs.values())


def named(word: str, metric: str) -> list[Run]:
    """The run of a directory, or of a pattern's the newest finished ones.

    Those are one for every algorithm and task.
    """
    label, equals, pattern = word.partition("=")
    if not equals or "/" in label or pathlib.Path(word).is_dir():
        label, pattern = "", word
    if pathlib.Path(pattern).is_dir():  # perhaps with brackets in its name
        return [read(pattern, label, metric)]
    directories = sorted(glob.glob(pattern))
    if not directories:
        raise ConfigError(f"{word!r} names no directory.")
    newest: dict[tuple[str, str], Run] = {}
    # A run's directory is named by the time at which it began.
    for directory in sorted(directories, key=lambda path: pathlib.Path(path).name):
        try:
            run = read(directory, label, metric)
        except ConfigError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        older = newest.get((run.label, run.task))
        if older:
            print(
                f"left out: {older.directory} is older than {directory}",
                file=sys.stderr,
            )
        newest[run.label, run.task] = run
    if not newest:
        raise ConfigError(f"{word!r} names no directory of a finished run.")
    return sorted(newest.values(), key=lambda run: directories.index(run.directory))


def read(directory: str, label: str, metric: str) -> Run:
    """The curves of a finished run; without a label it has its algorithm's name."""
    import numpy as np

    path = pathlib.Path(directory)
    try:
        config = json.loads((path / "config.json").read_text())
        summary = json.loads((path / "summary.json").read_text())
        manifest = json.loads((path / "manifest.json").read_text())
        with np.load(path / "metrics.npz") as arrays:
            steps, curves = arrays["steps"], arrays[metric]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{directory!r} is no directory of a finished run: {error}."
        ) from error
    known = np.isfinite(curves).all(axis=0)
    if not known.any():
        raise ConfigError(f"{directory!r} has no point where every seed has {metric}.")
    return Run(
        label=label or config["algorithm"],
        task=" ".join([manifest["environment"], *options(config)]),
        steps=steps[known],
        curves=curves[:, known],
        levels=summary["levels"],
        diverged=len(summary.get("diverged_seeds", ())),
        directory=directory,
    )


def options(config: dict[str, Any]) -> list[str]:
    """What of an environment is not as its name says, in words."""
    plain = dataclasses.asdict(Config())
    found = list(config.get("environment_args", ()))
    for name in ENVIRONMENT_OPTIONS[1:]:
        if config.get(name, plain[name]) != plain[name]:
            found.append(f"{name}={config[name]}")
    return found


def compare(runs: list[Run], score: str, resamples: int) -> dict[str, Any]:
    """Every statistic, by label and by pair of labels."""
    import numpy as np

    from jaxq.stats import comparisons, intervals

    labels = list(dict.fromkeys(run.label for run in runs))
    tasks = list(dict.fromkeys(run.task for run in runs))
    by = {
        (run.label, run.task): intervals.score(run.steps, run.curves, score)
        for run in runs
    }
    missing = [key for key in itertools.product(labels, tasks) if key not in by]
    if missing:
        raise ConfigError(
            f"{missing[0][0]} has no run on {missing[0][1]}: every algorithm needs the "
            "same tasks."
        )
    seeds = min(values.size for values in by.values())
    low, high = {}, {}
    for task in tasks:
        ends = {float(run.steps[-1]) for run in runs if run.task == task}
        if len(ends) > 1:
            print(
                f"warning: on {task} runs are compared at {min(ends):,.0f} to "
                f"{max(ends):,.0f} steps",
                file=sys.stderr,
            )
        levels = next(run.levels for run in runs if run.task == task)
        low[task] = float(levels["random policy"] or 0.0)
        optimum = levels["optimum"]
        best = max(by[label, task].mean() for label in labels)
        high[task] = float(best if optimum is None else optimum)
        if high[task] <= low[task]:
            raise ConfigError(f"nothing on {task} is better than the random policy.")
    normal = {
        label: np.stack(
            [(by[label, t][:seeds] - low[t]) / (high[t] - low[t]) for t in tasks], -1
        )
        for label in labels
    }
    found: dict[str, Any] = {
        "score": score,
        "seeds_used": seeds,
        "seeds": {f"{label} / {task}": by[label, task].size for label, task in by},
        "normalised": {task: [low[task], high[task]] for task in tasks},
        "runs": [run.directory for run in runs],
        "diverged": {f"{run.label} / {run.task}": run.diverged for run in runs},
        "tasks": {},
        "aggregates": {},
        "pairs": [],
        "tests": [],
    }
    for task in tasks:
        for label in labels:
            iqm = intervals.bootstrap_iqm(by[label, task][:, None], 0.95, resamples)
            own = [float(part[0]) for part in iqm]
            found["tasks"].setdefault(task, {})[label] = own
    for label in labels:
        found["aggregates"][label] = {
            name: list(
                comparisons.interval(statistic, normal[label], resamples=resamples)
            )
            for name, statistic in comparisons.AGGREGATES.items()
        }
    for a, b in itertools.combinations(labels, 2):
        improvement = comparisons.interval(
            comparisons.probability_of_improvement, normal[a], normal[b],
            resamples=resamples,
        )  # fmt: skip
        found["pairs"].append({"a": a, "b": b, "a_above_b": list(improvement)})
        for task in tasks:
            pair = by[a, task], by[b, task]
            row: dict[str, Any] = {"a": a, "b": b, "task": task}
            row["difference_of_means"] = float(pair[0].mean() - pair[1].mean())
            if min(scores.size for scores in pair) > 1:
                row["welch_p"] = comparisons.welch(*pair)
                row["permutation_p"] = comparisons.permutation(*pair)
            found["tests"].append(row)
    for name in ("welch", "permutation"):
        rows = [row for row in found["tests"] if f"{name}_p" in row]
        adjusted = comparisons.holm([row[f"{name}_p"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            row[f"{name}_holm_p"] = float(p)
    found["normal"] = normal
    return found


def say(found: dict[str, Any]) -> None:
    """Print what was found."""

    def estimate(values: list[float]) -> str:
        return f"{values[0]:.4g} [{values[1]:.4g}, {values[2]:.4g}]"

    counts = set(found["seeds"].values())
    if len(counts) > 1:
        print(
            f"warning: {min(counts)} to {max(counts)} seeds; aggregates over tasks use "
            f"the first {found['seeds_used']} of each"
        )
    for name, diverged in found["diverged"].items():
        if diverged:
            count = found["seeds"][name]
            print(f"warning: {name}: {diverged} of {count} seeds have diverged")
    for task, rows in found["tasks"].items():
        print(f"\n{task}, {found['score']} return, IQM with 95 % interval")
        for label, values in sorted(rows.items(), key=lambda item: -item[1][0]):
            print(f"  {label:24} {estimate(values)}")
    low_high = ", ".join(
        f"{task} {low:.4g} to {high:.4g}"
        for task, (low, high) in found["normalised"].items()
    )
    print(f"\nover tasks, normalised ({low_high})")
    for label, rows in found["aggregates"].items():
        text = "  ".join(f"{name} {estimate(values)}" for name, values in rows.items())
        print(f"  {label:24} {text}")
    for pair in found["pairs"]:
        print(f"  P({pair['a']} > {pair['b']}) = {estimate(pair['a_above_b'])}")
    tested = [row for row in found["tests"] if "welch_p" in row]
    if tested:
        print("\ntests of equal means, p adjusted for all of them (Holm)")
    for row in tested:
        print(
            f"  {row['task']}: {row['a']} - {row['b']} = "
            f"{row['difference_of_means']:.4g}, Welch {row['welch_holm_p']:.3g}, "
            f"permutation {row['permutation_holm_p']:.3g}"
        )


def draw(directory: pathlib.Path, runs: list[Run], found: dict[str, Any]) -> list[str]:
    """Curves, aggregates and profiles."""
    import matplotlib
    import matplotlib.figure
    import numpy as np

    from jaxq.runs import plots
    from jaxq.stats import comparisons, intervals

    labels, tasks = list(found["aggregates"]), list(found["tasks"])
    wheel = matplotlib.colormaps["tab10" if len(labels) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    colors = {label: wheel[i % len(wheel)] for i, label in enumerate(labels)}
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = matplotlib.figure.Figure(
        (5.2 * columns, 3.8 * lines), layout="constrained"
    )
    for axes, task in zip(
        figure.subplots(lines, columns, squeeze=False).flat, tasks, strict=False
    ):
        for run in (run for run in runs if run.task == task):
            curve = intervals.bootstrap_iqm(run.curves, resamples=500)
            color = colors[run.label]
            axes.fill_between(
                run.steps, curve.low, curve.high, color=color, alpha=0.2, linewidth=0
            )
            label = f"{run.label} (n = {run.curves.shape[0]})"
            axes.plot(run.steps, curve.value, color=color, label=label)
        axes.set_title(task)
        axes.set(xlabel="environment steps per seed", ylabel="return, IQM and 95 %")
        plots.style(axes)
        axes.legend(frameon=False, fontsize=8)
    for axes in figure.axes[len(tasks) :]:
        axes.set_visible(False)
    plots.save(figure, directory / "curves.png")

    names = list(comparisons.AGGREGATES)
    height = 1.2 + 0.3 * len(labels)
    figure = matplotlib.figure.Figure((3.2 * len(names), height), layout="constrained")
    for axes, name in zip(
        figure.subplots(1, len(names), sharey=True), names, strict=True
    ):
        for place, label in enumerate(reversed(labels)):
            value, low, high = found["aggregates"][label][name]
            axes.barh(place, high - low, 0.6, low, color=colors[label], alpha=0.6)
            axes.plot([value, value], [place - 0.3, place + 0.3], color="black")
        axes.set_yticks(range(len(labels)), list(reversed(labels)))
        axes.set_title(name)
        axes.use_sticky_edges = False
        axes.grid(alpha=0.25, axis="x")
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.supxlabel("normalised score, 95 % interval", fontsize=9)
    plots.save(figure, directory / "aggregates.png")

    every = np.concatenate([scores.ravel() for scores in found["normal"].values()])
    levels = np.linspace(min(0.0, every.min()), max(1.0, every.max()), 201)
    figure = matplotlib.figure.Figure((6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for label in labels:
        own = found["normal"][label]
        axes.fill_between(
            levels, *comparisons.profile_band(own, levels), color=colors[label],
            alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.plot(
            levels, comparisons.profile(own, levels), color=colors[label], label=label
        )
    axes.set(
        xlabel="normalised score s", ylabel="share of runs above s", ylim=(-0.02, 1.02)
    )
    axes.set_title("performance profile, pointwise 95 % band")
    plots.frame(axes)
    axes.legend(frameon=False, fontsize=8)
    plots.save(figure, directory / "profile.png")
    return ["curves.png", "aggregates.png", "profile.png"]


def main() -> None:
    """Compare, print, write and draw."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if not arguments.runs:
        raise ConfigError("nothing to compare: name directories of runs.")
    if arguments.resamples < 1:
        raise ConfigError(f"resamples = {arguments.resamples} is less than 1.")
    from jaxq.runs import files

    runs = load(arguments.runs, arguments.metric)
    found = compare(runs, arguments.score, arguments.resamples)
    say(found)
    arguments.output.mkdir(parents=True, exist_ok=True)
    pictures = draw(arguments.output, runs, found)
    content = {name: value for name, value in found.items() if name != "normal"}
    files.write_json(arguments.output / "compare.json", content)
    print(f"\nsaved compare.json, {', '.join(pictures)} in {arguments.output}")


if __name__ == "__main__":
    with cli.exit_codes():
        main()
