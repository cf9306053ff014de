"""Compare runs: learning curves, IQM and other aggregates, profiles, and tests.

Each argument is the directory of a run, LABEL=DIRECTORY, or a pattern such as
'runs/dqn/*/*'. Runs with the same label are one algorithm, every environment is a task,
and the seeds are the runs of a task. Scores are normalised: 0 is the random policy, and
1 the optimum where it is known, else the best mean return among the compared runs.
"""

import dataclasses
import glob
import json
import math
import pathlib
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Literal

import tyro

from jaxq import cli
from jaxq.config import command_line
from jaxq.config.config import ENVIRONMENT_OPTIONS, Config
from jaxq.config.fields import ConfigError
from jaxq.runs import matplotlib_check

if TYPE_CHECKING:
    from experiments.support.comparison import Run


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Runs to compare, how, and where to write the results."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Directories or patterns, optionally prefixed with LABEL=."""
    output: pathlib.Path = pathlib.Path("results/compare")
    """Directory of compare.json, report.html, table.tex and the figures."""
    metric: Literal["eval_return", "train_return"] = "eval_return"
    """Return of the greedy policy, or of the training episodes."""
    score: Literal["final", "area"] = "final"
    """The last point of the curve, or its mean over the steps."""
    resamples: int = 2_000
    """Bootstrap samples of every interval."""
    figure_format: Literal["png", "pdf"] = "png"
    """Format of the figures; pdf is written beside png."""


def load(arguments: tuple[str, ...], metric: str) -> "list[Run]":
    """Load all runs.

    Raises:
        ConfigError: for a directory without results, or two runs of one label and task.
    """
    runs: dict[tuple[str, str], Run] = {}
    for argument in arguments:
        for run in match(argument, metric):
            other = runs.setdefault((run.label, run.task), run)
            if other is not run:
                raise ConfigError(
                    f"{run.directory} and {other.directory} are both {run.label} on "
                    f"{run.task}. Give them labels: LABEL=DIRECTORY."
                )
    return list(runs.values())


def match(argument: str, metric: str) -> "list[Run]":
    """The run of a directory, or the newest finished runs that match a pattern.

    A pattern gives one run per label and task.

    Raises:
        ConfigError: if nothing matches.
    """
    label, equals, pattern = argument.partition("=")
    if not equals or "/" in label or pathlib.Path(argument).is_dir():
        label, pattern = "", argument
    if pathlib.Path(pattern).is_dir():  # its name may contain brackets
        return [read(pattern, label, metric)]
    directories = sorted(glob.glob(pattern))
    if not directories:
        raise ConfigError(f"{argument!r} matches no directory.")
    newest: dict[tuple[str, str], Run] = {}
    # A run's directory is named after the time at which it started.
    for directory in sorted(directories, key=lambda path: pathlib.Path(path).name):
        try:
            run = read(directory, label, metric)
        except ConfigError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        older = newest.get((run.label, run.task))
        if older:
            print(
                f"skipped: {older.directory} is older than {directory}",
                file=sys.stderr,
            )
        newest[run.label, run.task] = run
    if not newest:
        raise ConfigError(f"{argument!r} matches no directory of a finished run.")
    return sorted(newest.values(), key=lambda run: directories.index(run.directory))


def read(directory: str, label: str, metric: str) -> "Run":
    """Load a finished run; the default label is its algorithm.

    Raises:
        ConfigError: if the directory has no results.
    """
    import numpy as np

    from experiments.support import comparison

    path = pathlib.Path(directory)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        with np.load(path / "metrics.npz") as arrays:
            steps, curves = arrays["steps"], arrays[metric]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{directory!r} is not the directory of a finished run: {error}."
        ) from error
    known = np.isfinite(curves).all(axis=0)
    if not known.any():
        raise ConfigError(f"{directory!r} has no point where every seed has {metric}.")
    missing = ~np.isfinite(curves[:, -1])
    if missing.any():
        print(
            f"warning: {directory}: {missing.sum()} of {missing.size} seeds have no "
            f"final {metric}; only points at which all seeds have one are compared",
            file=sys.stderr,
        )
    return comparison.Run(
        label=label or config["algorithm"],
        task=" ".join([manifest["environment"], *options(config)]),
        steps=steps[known],
        curves=curves[:, known],
        levels=summary["levels"],
        diverged=len(summary.get("diverged_seeds", ())),
        directory=directory,
        config=config,
        timing=comparison.timing(summary, manifest),
    )


def options(config: dict[str, Any]) -> list[str]:
    """The environment options that differ from their defaults, as name=value."""
    defaults = dataclasses.asdict(Config())
    changed = list(config.get("environment_args", ()))
    for name in ENVIRONMENT_OPTIONS[1:]:
        if config.get(name, defaults[name]) != defaults[name]:
            changed.append(f"{name}={config[name]}")
    return changed


def print_result(result: dict[str, Any]) -> None:
    """Print all statistics."""
    from jaxq.stats import intervals

    _print_warnings(result)
    for task, rows in result["tasks"].items():
        several = any(not math.isnan(low) for _, low, _ in rows.values())
        name = "IQM with 95 % interval" if several else "one seed"
        print(f"\n{task}, {result['score']} return, {name}")
        for label, values in sorted(rows.items(), key=lambda item: -item[1][0]):
            print(f"  {label:24} {intervals.text(*values)}")
    bounds = ", ".join(
        f"{task} {low:.4g} to {high:.4g}"
        for task, (low, high) in result["normalised"].items()
    )
    print(f"\nover tasks, normalised ({bounds})")
    for label, rows in result["aggregates"].items():
        text = "  ".join(
            f"{name} {intervals.text(*values)}" for name, values in rows.items()
        )
        print(f"  {label:24} {text}")
    for pair in result["pairs"]:
        print(f"  P({pair['a']} > {pair['b']}) = {intervals.text(*pair['a_above_b'])}")
    _print_tests([row for row in result["tests"] if "welch_p" in row])


def _print_warnings(result: dict[str, Any]) -> None:
    counts = set(result["seeds"].values())
    if len(counts) > 1:
        print(
            f"warning: {min(counts)} to {max(counts)} seeds; aggregates over tasks use "
            f"the first {result['seeds_used']} of each"
        )
    for name, diverged in result["diverged"].items():
        if diverged:
            count = result["seeds"][name]
            print(f"warning: {name}: {diverged} of {count} seeds diverged")


def _print_tests(rows: list[dict[str, Any]]) -> None:
    if rows:
        print("\ntests of equal means, p adjusted for all of them (Holm)")
    for row in rows:
        print(
            f"  {row['task']}: {row['a']} - {row['b']} = "
            f"{row['difference_of_means']:.4g}, Welch {row['welch_holm_p']:.3g}, "
            f"permutation {row['permutation_holm_p']:.3g}"
        )


def main() -> None:
    """Compare runs from the command line, and print, write and plot the result."""
    arguments = command_line.read(Arguments, __doc__)
    if not arguments.runs:
        raise ConfigError("nothing to compare: give directories of runs.")
    if arguments.resamples < 1:
        raise ConfigError(f"resamples = {arguments.resamples} is less than 1.")
    matplotlib_check.check_matplotlib()
    from experiments.support import comparison, comparison_page, comparison_plots
    from experiments.support import comparison_latex as latex
    from jaxq.runs import files
    from jaxq.runs.page import build

    runs = load(arguments.runs, arguments.metric)
    scores = comparison.make_scores(runs, arguments.score)
    result = comparison.compare(runs, scores, arguments.score, arguments.resamples)
    print_result(result)
    arguments.output.mkdir(parents=True, exist_ok=True)
    directory = arguments.output
    names = comparison_plots.draw(
        directory, runs, scores, result, arguments.figure_format
    )
    files.write_json(directory / "compare.json", result)
    files.write_text(directory / "table.tex", latex.table(scores, result))
    page = comparison_page.page(runs, scores, result, arguments.metric)
    build.write(directory / "report.html", page)
    names = ["compare.json", "report.html", "table.tex", *names]
    print(f"\nsaved {', '.join(names)} in {directory}")


if __name__ == "__main__":
    with cli.exit_codes():
        main()
