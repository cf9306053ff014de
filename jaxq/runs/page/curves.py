"""Sections of a page with learning curves, thinned to a given size."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxq.runs.page.build import Section, encode, is_single
from jaxq.stats import intervals

CURVE_BYTES = 170_000  # of all curves of a page
MAX_POINTS = 200  # of a line
MIN_POINTS = 20  # of a line, if it has as many; charts that do not fit are left out
MAX_SEEDS = 64  # that have their own line
NUMBER_BYTES = 8 * 4 / 3  # of a number of double precision
LINE_BYTES = 60  # of a line, besides its numbers
RESAMPLES = 300  # bootstrap samples of a training statistic

XLABEL = "environment steps per seed"
LABELS = {
    "eval_return": "return of the greedy policy",
    "train_return": "training return",
    "loss": "loss",
    "td_error": "TD error (mean priority)",
    "q_value": "Q-value of replayed actions",
    "grad_norm": "gradient norm, before clipping",
    "epsilon": "epsilon",
    "eval_length": "evaluation episode length",
    "train_length": "training episode length",
    "train_episodes": "training episodes per point",
    "eval_unfinished": "share of evaluation episodes cut off",
}
FROM_ZERO = ("epsilon", "train_episodes", "eval_unfinished")


class Curve(NamedTuple):
    """The values of some seeds over steps."""

    series: int  # index of its label and colour
    steps: np.ndarray  # [P]
    values: np.ndarray  # [S, P]


class Chart(NamedTuple):
    """Curves of one measurement."""

    name: str  # of the measurement, or of the task
    curves: Sequence[Curve]
    levels: Mapping[str, float] = {}  # name -> horizontal line
    wide: bool = False


def statistics(
    heading: str,
    series: Sequence[Mapping[str, Any]],
    charts: Sequence[Chart],
    notes: Sequence[str] = (),
    max_bytes: int = CURVE_BYTES,
) -> Section:
    """Charts in which every line is an IQM over seeds, with its interval.

    Args:
        heading: above the charts.
        series: label, color, and bold of every line.
        charts: those that do not fit are left out, with a note.
        notes: below the charts.
        max_bytes: size of all lines.
    """
    notes = list(notes)
    most = max_bytes // int(MIN_POINTS * NUMBER_BYTES + LINE_BYTES)
    ends = np.cumsum([3 * len(chart.curves) for chart in charts])
    fitting = max(1, int(np.searchsorted(ends, most, side="right")))
    if fitting < len(charts):
        notes.append(f"The first {fitting} of {len(charts)} charts are drawn.")
    points = _num_points(int(ends[:fitting][-1]), max_bytes)
    drawn = [_chart(chart, points, (), ()) for chart in charts[:fitting]]
    longest = max(curve.steps.size for chart in charts for curve in chart.curves)
    return _section(heading, series, drawn, [*notes, *_thinned(points, longest)])


def of_seeds(
    heading: str,
    steps: np.ndarray,
    measured: Mapping[str, np.ndarray],
    seeds: np.ndarray,
    diverged: np.ndarray,
    levels: Mapping[str, float],
    max_bytes: int = CURVE_BYTES,
) -> Section:
    """A chart per measurement, with the IQM, its interval and a line per seed.

    The statistics are those of all seeds, however many have their own line.

    Args:
        heading: above the charts.
        steps: [P] environment steps.
        measured: name -> [S, P]; the first is drawn large.
        seeds: [S] numbers of the seeds.
        diverged: [S, P] whether a seed is frozen.
        levels: name -> return of a horizontal line.
        max_bytes: size of all lines.
    """
    most = max_bytes // int(4 * (MIN_POINTS * NUMBER_BYTES + LINE_BYTES))
    notes = []
    if len(measured) > most:
        notes = [f"The first {most} of {len(measured)} measurements are drawn."]
    measured = dict(itertools.islice(measured.items(), most))
    points = _num_points(4 * len(measured), max_bytes)
    kept = _thin(steps.size, points)
    # Of the statistics, the values may take double precision, and the ends take single.
    widths = [_number_bytes(values) for values in measured.values()]
    statistics = kept.size * 2 * NUMBER_BYTES * len(widths)
    line = kept.size * sum(widths) + LINE_BYTES * len(widths)
    room = int((max_bytes - statistics) / line)
    num_lines = max(1, min(len(seeds), room, MAX_SEEDS))
    series: list[dict[str, Any]]
    series = [{"label": f"seed {seeds[0]}", "color": 0, "bold": True}]
    if len(seeds) > 1:
        series = [{"label": "IQM, 95 % interval", "color": 0, "bold": True}]
        series += [
            {"label": f"seed {seed}", "color": i % 6 + 1 + 7 * (i // 6), "bold": False}
            for i, seed in enumerate(seeds[:num_lines])
        ]
    for i, entry in enumerate(series[len(seeds) > 1 :]):
        if diverged[i].any():
            entry["diverged_at"] = int(steps[diverged[i].argmax()])
            entry["label"] += ", diverged"
    lines = range(num_lines) if len(seeds) > 1 else ()
    drawn = [
        _chart(
            Chart(name, [Curve(0, steps, values)], {} if i else levels, wide=not i),
            points,
            lines,
            measured[name],
        )
        for i, (name, values) in enumerate(measured.items())
    ]
    notes += _thinned(points, steps.size)
    if len(seeds) > num_lines:
        notes.append(
            f"The first {num_lines} of {len(seeds)} seeds have a line of their own; "
            "IQM and interval are those of all seeds."
        )
    return _section(heading, series, drawn, notes, members="seeds")


def _section(
    heading: str,
    series: Sequence[Mapping[str, Any]],
    charts: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    members: str = "",
) -> Section:
    return {
        "kind": "curves",
        "heading": heading,
        "xlabel": XLABEL,
        "series": list(series),
        "members": members,
        "charts": list(charts),
        "notes": list(notes),
    }


def _number_bytes(values: np.ndarray) -> float:
    """Size of an encoded number of a measurement; those that seeds share are few."""
    if (values == values[:1]).all():
        return 0.0
    return NUMBER_BYTES / (2 if is_single(values) else 1)


def _num_points(num_lines: int, max_bytes: int) -> int:
    """Points of a line, so that all lines fit."""
    room = (max_bytes / num_lines - LINE_BYTES) / NUMBER_BYTES
    return int(min(MAX_POINTS, max(2, room)))


def _thin(num_points: int, limit: int) -> np.ndarray:
    """Indices of evenly spaced points, including the first and the last."""
    count = min(num_points, limit)
    return np.unique(np.linspace(0, num_points - 1, count).round().astype(int))


def _thinned(limit: int, num_points: int) -> list[str]:
    if num_points <= limit:
        return []
    return [f"{limit} of {num_points} points of a line are drawn, evenly spaced."]


def _chart(
    chart: Chart, points: int, seeds: Sequence[int], values: Any
) -> dict[str, Any]:
    """A chart with the statistics of its curves, and a line for some seeds."""
    lines: list[dict[str, Any]] = []
    steps: dict[str, int] = {}
    missing = total = 0
    resamples = 2_000 if chart.wide else RESAMPLES
    for curve in chart.curves:
        kept = _thin(curve.steps.size, points)
        index = steps.setdefault(encode(curve.steps[kept]), len(steps))
        shown = curve.values[:, kept]
        is_shared = len(shown) > 1 and np.array_equal(
            shown, np.broadcast_to(shown[0], shown.shape), equal_nan=True
        )
        shown = shown[:1] if is_shared else shown
        lines.append({"series": curve.series, "steps": index, **_iqm(shown, resamples)})
        total += kept.size
        if len(shown) > 1:
            has_value = np.isfinite(shown)
            missing += int((has_value.any(axis=0) & ~has_value.all(axis=0)).sum())
            lines += [
                {"series": seed + 1, "steps": index, "y": encode(values[seed][kept])}
                for seed in seeds
            ]
    notes = []
    if not any("low" in line for line in lines) and len(chart.curves[0].values) > 1:
        notes.append("The same for every seed.")
    if missing:
        notes.append(
            f"No IQM at {missing} of {total} points, where some seeds have no value."
        )
    return {
        "name": chart.name,
        "label": LABELS.get(chart.name, chart.name),
        "wide": chart.wide,
        "from_zero": chart.name in FROM_ZERO,
        "steps": list(steps),
        "lines": lines,
        "levels": {k: encode(np.array([v])) for k, v in chart.levels.items()},
        "notes": notes,
    }


def _iqm(values: np.ndarray, resamples: int) -> dict[str, str]:
    """IQM and interval, nan at points where a seed has no value; of one seed, itself.

    Args:
        values: [S, P].
        resamples: bootstrap samples.
    """
    if len(values) == 1:
        return {"y": encode(values[0])}
    known = np.isfinite(values).all(axis=0)
    rows = np.full((3, known.size), np.nan)
    if known.any():
        rows[:, known] = intervals.bootstrap_iqm(values[:, known], resamples=resamples)
    low, high = rows[1:].astype(np.float32)
    return {"y": encode(rows[0]), "low": encode(low), "high": encode(high)}
