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
    config: dict[str, Any]  # fields of the configuration
    timing: "Timing | None" = None  # None if it is not known


class Timing(NamedTuple):
    """The time of a run that was never resumed."""

    seconds: float  # of the whole run
    first_seconds: float  # of compilation, warm-up and the first call
    devices: str


def timing(summary: dict[str, Any], manifest: dict[str, Any]) -> Timing | None:
    """The time of a run; None for one that was resumed, whose total is not known."""
    seconds = summary.get("seconds")
    first_seconds = summary.get("seconds_to_first_chunk")
    if seconds is None or first_seconds is None or manifest.get("resumed"):
        return None
    devices = manifest["devices"]
    names = (f"{devices.count(name)} x {name}" for name in dict.fromkeys(devices))
    return Timing(seconds, first_seconds, ", ".join(names))


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


def normalised_curves(
    runs: list[Run], scores: Scores, num_points: int = 101
) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
    """The normalised curves of all tasks at common points, interpolated linearly.

    They range from the first point that all runs of a task share to the last.

    Args:
        runs: one per label and task.
        scores: their scores.
        num_points: P.

    Returns:
        The unit of the points, the points [P], and label -> curves [S, T, P] of the
        first seeds of each task.
    """
    by_name = {(run.label, run.task): run for run in runs}
    spans = {}
    for task in scores.tasks:
        ends = [(run.steps[0], run.steps[-1]) for run in runs if run.task == task]
        spans[task] = max(first for first, _ in ends), min(last for _, last in ends)
    same = len(set(spans.values())) == 1
    unit = "environment steps per seed" if same else "share of the steps of a task"
    scale = {task: 1.0 if same else float(last) for task, (_, last) in spans.items()}
    start = max(first / scale[task] for task, (first, _) in spans.items())
    end = min(last / scale[task] for task, (_, last) in spans.items())
    points = np.linspace(start, end, num_points)
    num_seeds = min(values.size for values in scores.raw.values())

    def curve(label: str, task: str) -> np.ndarray:
        run, (low, high) = by_name[label, task], scores.bounds[task]
        at = points * scale[task]
        values = [np.interp(at, run.steps, row) for row in run.curves[:num_seeds]]
        return (np.array(values) - low) / (high - low)

    curves = {
        label: np.stack([curve(label, task) for task in scores.tasks], axis=1)
        for label in scores.labels
    }
    return unit, points, curves


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
