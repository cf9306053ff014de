"""The page of a comparison of runs."""

import itertools
from typing import Any

from experiments.support.comparison import Run, Scores
from jaxq.runs.page import build, curves

METRICS = {
    "eval_return": "return of the greedy policy",
    "train_return": "training return",
}
MAX_RUNS = 40  # whose directories and configurations are shown
INTERVAL = "IQM", "95 % low", "95 % high"


def page(
    runs: list[Run], scores: Scores, result: dict[str, Any], metric: str
) -> build.Page:
    """The page of a comparison.

    Args:
        runs: one per label and task.
        scores: their scores.
        result: of `comparison.compare`.
        metric: the return that is compared.
    """
    labels, tasks = scores.labels, scores.tasks
    lengths = {float(run.steps[-1]) for run in runs}
    warnings = [
        f"{name}: {diverged} of {result['seeds'][name]} seeds diverged."
        for name, diverged in result["diverged"].items()
        if diverged
    ]
    if len(set(result["seeds"].values())) > 1:
        used = result["seeds_used"]
        warnings.append(
            f"Aggregates over tasks use the first {used} seeds of each run."
        )
    if len(tasks) == 1 and len(lengths) > 1:
        warnings.append("The runs have different numbers of steps.")
    return build.Page(
        f"{', '.join(labels)} on {', '.join(tasks)}"[: build.MAX_TEXT],
        f"{len(labels)} algorithms, {len(tasks)} task{'s' if len(tasks) > 1 else ''}, "
        f"compared by the {result['score']} {METRICS[metric]}",
        warnings,
        _directories(runs),
        [
            _curves(runs, scores, metric),
            _final(result),
            *_aggregates(result, tasks),
            *_pairs(result),
            differences(runs),
        ],
    )


def _directories(runs: list[Run]) -> dict[str, str]:
    shown = {f"{run.label} on {run.task}": run.directory for run in runs[:MAX_RUNS]}
    if len(runs) > MAX_RUNS:
        shown["others"] = f"{len(runs) - MAX_RUNS} more runs, in compare.json"
    return shown


def _curves(runs: list[Run], scores: Scores, metric: str) -> build.Section:
    labels, is_single = scores.labels, len(scores.tasks) == 1
    series = [
        {"label": label, "color": i, "bold": True} for i, label in enumerate(labels)
    ]
    charts = [
        curves.Chart(
            task,
            [
                curves.Curve(labels.index(run.label), run.steps, run.curves)
                for run in runs
                if run.task == task
            ],
            _levels(next(run for run in runs if run.task == task)),
            is_single,
        )
        for task in scores.tasks
    ]
    notes = ["Lines are IQMs over seeds, with 95 % intervals where there are several."]
    return curves.statistics(f"Curves: {METRICS[metric]}", series, charts, notes)


def _levels(run: Run) -> dict[str, float]:
    return {name: level for name, level in run.levels.items() if level is not None}


def _final(result: dict[str, Any]) -> build.Section:
    rows = [
        (task, label, result["seeds"][f"{label} / {task}"], *estimate)
        for task, estimates in result["tasks"].items()
        for label, estimate in estimates.items()
    ]
    columns = "task", "algorithm", "seeds", *INTERVAL
    return _table(f"Scores: {result['score']} return", columns, rows)


def _aggregates(result: dict[str, Any], tasks: list[str]) -> list[build.Section]:
    """Aggregates over tasks; a single task has none."""
    if len(tasks) == 1:
        return []
    rows = [
        (label, name, *estimate)
        for label, estimates in result["aggregates"].items()
        for name, estimate in estimates.items()
    ]
    columns = "algorithm", "statistic", "value", *INTERVAL[1:]
    return [_table("Over tasks, normalised", columns, rows)]


def _pairs(result: dict[str, Any]) -> list[build.Section]:
    """Probabilities of improvement, and tests of equal means."""
    pairs = [(pair["a"], pair["b"], *pair["a_above_b"]) for pair in result["pairs"]]
    names = "difference_of_means", "welch_holm_p", "permutation_holm_p"
    tests = [
        (row["task"], row["a"], row["b"], *(row[name] for name in names))
        for row in result["tests"]
        if "welch_holm_p" in row
    ]
    sections = []
    if pairs:
        columns = ["a", "b", "P(a > b)", *INTERVAL[1:]]
        sections.append(_table("Probability of improvement", columns, pairs))
    if tests:
        columns = ["task", "a", "b", "mean(a) - mean(b)", "Welch p", "permutation p"]
        heading = "Tests of equal means, p adjusted by Holm"
        sections.append(_table(heading, columns, tests))
    return sections


def differences(runs: list[Run]) -> build.Section:
    """The fields of the configuration that differ between runs."""
    notes = []
    if len(runs) > MAX_RUNS:
        notes = [f"The first {MAX_RUNS} of {len(runs)} runs."]
    runs = runs[:MAX_RUNS]
    fields = dict.fromkeys(itertools.chain(*(run.config for run in runs)))
    rows = []
    for field in fields:
        values = [run.config.get(field, "") for run in runs]
        if any(value != values[0] for value in values):
            rows.append((field, *values))
    names = [f"{run.label} on {run.task}" for run in runs]
    notes += [] if rows else ["The configurations are equal."]
    return _table("Configuration: fields that differ", ("field", *names), rows, notes)


def _table(heading: str, columns: Any, rows: Any, notes: Any = ()) -> build.Section:
    """A table with a quarter of the room of all tables."""
    room = build.TABLE_BYTES // 4
    return build.table(heading, columns, rows, notes, "compare.json", room)
