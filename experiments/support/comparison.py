"""Statistics of a comparison of runs: scores, aggregates over tasks, and tests."""

import itertools
import sys
from typing import Any, NamedTuple

import numpy as np

from jaxq.config.fields import ConfigError
from jaxq.stats import comparisons, intervals


class Run(NamedTuple):
    """The learning curves of one algorithm on one task."""

    label: str
    task: str
    steps: np.ndarray  # [P]
    curves: np.ndarray  # [S, P]
    levels: dict[str, float | None]  # returns of reference policies
    diverged: int  # seeds
    directory: str


class Scores(NamedTuple):
    """The scores of all runs, and their normalised scores."""

    labels: list[str]
    tasks: list[str]
    raw: dict[tuple[str, str], np.ndarray]  # (label, task) -> [S]
    bounds: dict[str, tuple[float, float]]  # task -> returns that become 0 and 1
    normalised: dict[str, np.ndarray]  # label -> [S, T], the first seeds of each task


def make_scores(runs: list[Run], score: str) -> Scores:
    """Score every run, and normalise the scores of each task.

    Args:
        runs: one per label and task.
        score: final, or area; see `intervals.score`.

    Raises:
        ConfigError: if an algorithm lacks a task, or no run beats the random policy.
    """
    labels = list(dict.fromkeys(run.label for run in runs))
    tasks = list(dict.fromkeys(run.task for run in runs))
    raw = {
        (run.label, run.task): intervals.score(run.steps, run.curves, score)
        for run in runs
    }
    for label, task in itertools.product(labels, tasks):
        if (label, task) not in raw:
            raise ConfigError(
                f"{label} has no run on {task}: every algorithm needs the same tasks."
            )
    bounds = {}
    for task in tasks:
        _warn_of_lengths(task, runs)
        best = max(raw[label, task].mean() for label in labels)
        levels = next(run.levels for run in runs if run.task == task)
        bounds[task] = _bounds(task, levels, best)
    seeds = min(values.size for values in raw.values())
    normalised = {}
    for label in labels:
        columns = [
            (raw[label, task][:seeds] - low) / (high - low)
            for task, (low, high) in bounds.items()
        ]
        normalised[label] = np.stack(columns, axis=-1)
    return Scores(labels, tasks, raw, bounds, normalised)


def _warn_of_lengths(task: str, runs: list[Run]) -> None:
    lengths = {float(run.steps[-1]) for run in runs if run.task == task}
    if len(lengths) > 1:
        print(
            f"warning: on {task} runs of {min(lengths):,.0f} to {max(lengths):,.0f} "
            "steps are compared",
            file=sys.stderr,
        )


def _bounds(
    task: str, levels: dict[str, float | None], best: float
) -> tuple[float, float]:
    """The returns that are normalised to 0 and 1."""
    low, optimum = float(levels["random policy"] or 0.0), levels["optimum"]
    high = float(best if optimum is None else optimum)
    if high <= low:
        raise ConfigError(f"no run on {task} is better than the random policy.")
    return low, high


def compare(
    runs: list[Run], scores: Scores, score: str, resamples: int
) -> dict[str, Any]:
    """All statistics, in the format of compare.json.

    Args:
        runs: one per label and task.
        scores: their scores.
        score: which score that is.
        resamples: bootstrap samples of every interval.
    """
    return {
        "score": score,
        "seeds_used": len(scores.normalised[scores.labels[0]]),
        "seeds": {f"{a} / {task}": v.size for (a, task), v in scores.raw.items()},
        "normalised": {task: list(bounds) for task, bounds in scores.bounds.items()},
        "runs": [run.directory for run in runs],
        "diverged": {f"{run.label} / {run.task}": run.diverged for run in runs},
        "tasks": _by_task(scores, resamples),
        "aggregates": _aggregates(scores, resamples),
        "pairs": _pairs(scores, resamples),
        "tests": _tests(scores),
    }


def _by_task(scores: Scores, resamples: int) -> dict[str, dict[str, list[float]]]:
    """IQM over seeds and its interval, by task and label."""

    def estimate(label: str, task: str) -> list[float]:
        values = scores.raw[label, task][:, None]
        return [float(x[0]) for x in intervals.bootstrap_iqm(values, 0.95, resamples)]

    return {
        task: {label: estimate(label, task) for label in scores.labels}
        for task in scores.tasks
    }


def _aggregates(scores: Scores, resamples: int) -> dict[str, dict[str, list[float]]]:
    """Statistics over all tasks with their intervals, by label and name."""
    return {
        label: {
            name: list(comparisons.interval(statistic, values, resamples=resamples))
            for name, statistic in comparisons.AGGREGATES.items()
        }
        for label, values in scores.normalised.items()
    }


def _pairs(scores: Scores, resamples: int) -> list[dict[str, Any]]:
    """Probability of improvement of one algorithm over another, for every pair."""
    pairs = []
    for a, b in itertools.combinations(scores.labels, 2):
        improvement = comparisons.interval(
            comparisons.probability_of_improvement,
            scores.normalised[a],
            scores.normalised[b],
            resamples=resamples,
        )
        pairs.append({"a": a, "b": b, "a_above_b": list(improvement)})
    return pairs


def _tests(scores: Scores) -> list[dict[str, Any]]:
    """Tests of equal means for every pair and task; p adjusted for all of them."""
    rows = [
        _test(a, b, task, scores)
        for a, b in itertools.combinations(scores.labels, 2)
        for task in scores.tasks
    ]
    for name in ("welch", "permutation"):
        tested = [row for row in rows if f"{name}_p" in row]
        adjusted = comparisons.holm([row[f"{name}_p"] for row in tested])
        for row, p in zip(tested, adjusted, strict=True):
            row[f"{name}_holm_p"] = float(p)
    return rows


def _test(a: str, b: str, task: str, scores: Scores) -> dict[str, Any]:
    first, second = scores.raw[a, task], scores.raw[b, task]
    row: dict[str, Any] = {"a": a, "b": b, "task": task}
    row["difference_of_means"] = float(first.mean() - second.mean())
    if min(first.size, second.size) > 1:
        row["welch_p"] = comparisons.welch(first, second)
        row["permutation_p"] = comparisons.permutation(first, second)
    return row
