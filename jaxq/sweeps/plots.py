"""Pictures of a sweep: what the score depends on."""

import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import matplotlib.ticker
import numpy as np

from jaxq.runs import plots
from jaxq.sweeps import search_space
from jaxq.sweeps.ranking import (
    Row,
    is_number,
    text_of,
)

LABEL = "IQM of the return of the greedy policy"


def _positions(values: Sequence[Any], field: str) -> tuple[np.ndarray, list[str]]:
    """Where values lie on an axis, and its labels where they are no numbers."""
    if all(is_number(value) for value in values):
        return np.array(values, float), []
    labels = sorted({text_of(value) for value in values})
    return np.array([labels.index(text_of(value)) for value in values], float), labels


def is_log(
    values: np.ndarray, field: str, ranges: Sequence[search_space.ParameterRange]
) -> bool:
    """Whether an axis is logarithmic: where the range is, or a list is wide."""
    given = [r.log for r in ranges if r.field == field and not r.values]
    wide = bool(values.min() > 0 and values.max() >= 20 * values.min())
    return given[0] if given else wide


def _scale(
    axes: matplotlib.axes.Axes,
    which: str,
    field: str,
    values: np.ndarray,
    labels: Sequence[str],
    ranges: Sequence[search_space.ParameterRange],
) -> None:
    """Label an axis; logarithmic where the range is, or is wide."""
    axes.set(**{f"{which}label": field})
    if labels:
        axes.set(**{f"{which}ticks": range(len(labels)), f"{which}ticklabels": labels})
    elif is_log(values, field, ranges):
        axes.set(**{f"{which}scale": "log"})
        few = values.max() < 300 * values.min()
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(
            matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,))
        )
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def sensitivity(
    path: pathlib.Path,
    title: str,
    field: str,
    settings: Sequence[search_space.Setting],
    rows: Sequence[Row],
    ranges: Sequence[search_space.ParameterRange],
) -> None:
    """Score of every setting over one field, with the best for each of its values."""
    values = [settings[row.setting][field] for row in rows]
    x, labels = _positions(values, field)
    y = np.array([row.iqm for row in rows])
    bars = np.array([[row.iqm - row.low, row.high - row.iqm] for row in rows]).T
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        x, y, bars, fmt="o", color=plots.BLUE, markersize=4, linewidth=0.8,
        alpha=0.6 if len(rows) < 60 else 0.3, label="a setting, 95 % interval",
    )  # fmt: skip
    places = np.unique(x)
    if places.size < len(x) and not labels:
        best = [y[x == place].max() for place in places]
        axes.plot(places, best, color=plots.GREY, linewidth=1, label="best of a value")
    axes.plot(x[0], y[0], "*", color=plots.ORANGE, markersize=14, label="best of all")
    _scale(axes, "x", field, x, labels, ranges)
    axes.set_ylabel(LABEL)
    axes.set_title(title)
    plots.frame(axes)
    plots.legend_below(axes, 3)
    plots.save(figure, path)


def pair(
    path: pathlib.Path,
    title: str,
    first: str,
    second: str,
    settings: Sequence[search_space.Setting],
    rows: Sequence[Row],
    ranges: Sequence[search_space.ParameterRange],
) -> None:
    """Score over two fields: a heat map of a grid, or coloured dots.

    A cell of the heat map is the best over the other fields.
    """
    figure = matplotlib.figure.Figure(figsize=(6.0, 4.6), layout="constrained")
    axes = figure.subplots()
    score = np.array([row.iqm for row in rows])
    x, x_labels = _positions([settings[r.setting][first] for r in rows], first)
    y, y_labels = _positions([settings[r.setting][second] for r in rows], second)
    columns, lines = np.unique(x), np.unique(y)
    cells = {(a, b) for a, b in zip(x, y, strict=True)}
    if len(cells) == columns.size * lines.size:
        grid = np.array(
            [[score[(x == a) & (y == b)].max() for a in columns] for b in lines]
        )
        drawn: Any = axes.imshow(grid, origin="lower", aspect="auto", cmap="viridis")
        for which, places, labels in (
            ("x", columns, x_labels), ("y", lines, y_labels),
        ):  # fmt: skip
            names = labels or [f"{place:.4g}" for place in places]
            some = range(0, len(names), -(-len(names) // 12))
            axes.set(
                **{
                    f"{which}ticks": some,
                    f"{which}ticklabels": [names[i] for i in some],
                }
            )
        axes.plot(
            np.searchsorted(columns, x[0]), np.searchsorted(lines, y[0]), "*",
            color=plots.ORANGE, markersize=14,
        )  # fmt: skip
        axes.set(xlabel=first, ylabel=second)
        axes.tick_params(axis="x", rotation=30)
    else:
        drawn = axes.scatter(x, y, c=score, cmap="viridis", s=36)
        axes.plot(
            x[0], y[0], "*", color=plots.ORANGE, markersize=16, markerfacecolor="none"
        )
        _scale(axes, "x", first, x, x_labels, ranges)
        _scale(axes, "y", second, y, y_labels, ranges)
    figure.colorbar(drawn, ax=axes, label=LABEL)
    axes.set_title(title)
    plots.save(figure, path)
