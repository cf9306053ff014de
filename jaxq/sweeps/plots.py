"""Plots of the score of a sweep's settings against their fields."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from jaxq.runs import matplotlib_check, plots
from jaxq.sweeps import ranking
from jaxq.sweeps.ranking import RankedSetting, format_value, is_number
from jaxq.sweeps.search_space import ParameterRange, Setting

LABEL = "IQM of the return of the greedy policy"
MAX_TICKS = 12  # of an axis of the heat map


class Data(NamedTuple):
    """The settings of one environment, from best to worst."""

    title: str
    settings: Sequence[Setting]  # in the order of `rows`
    rows: Sequence[RankedSetting]
    ranges: Sequence[ParameterRange]
    figure_format: matplotlib_check.Format = "png"


class _Axis(NamedTuple):
    field: str
    positions: np.ndarray  # [H]
    labels: list[str]  # of positions 0, 1, ...; empty for a field of numbers


def _axis(data: Data, field: str) -> _Axis:
    """Positions of the settings along the axis of a field."""
    values = [setting[field] for setting in data.settings]
    if all(is_number(value) for value in values):
        return _Axis(field, np.array(values, float), [])
    names = [format_value(value) for value in values]
    labels = sorted(set(names))
    return _Axis(field, np.array([labels.index(n) for n in names], float), labels)


def _format_axis(
    axes: matplotlib.axes.Axes,
    direction: str,
    axis: _Axis,
    ranges: Sequence[ParameterRange],
) -> None:
    """Set the label, ticks and scale of the x or the y axis."""
    axes.set(**{f"{direction}label": axis.field})
    values, labels = axis.positions, axis.labels
    if labels:
        axes.set(
            **{
                f"{direction}ticks": range(len(labels)),
                f"{direction}ticklabels": labels,
            }
        )
    elif ranking.is_log(values, axis.field, ranges):
        axes.set(**{f"{direction}scale": "log"})
        narrow = values.max() < 300 * values.min()
        ticks = axes.xaxis if direction == "x" else axes.yaxis
        ticks.set_major_locator(
            matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,))
        )
        ticks.set_major_formatter("{x:g}")
        ticks.set_minor_formatter(matplotlib.ticker.NullFormatter())


def sensitivity(path: pathlib.Path, data: Data, field: str) -> None:
    """Plot the score of every setting against one field.

    A line joins the best setting for each value of the field.
    """
    axis = _axis(data, field)
    x, y = axis.positions, np.array([row.iqm for row in data.rows])
    errors = np.array([[r.iqm - r.low, r.high - r.iqm] for r in data.rows]).T
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        x,
        y,
        errors,
        fmt="o",
        color=plots.BLUE,
        markersize=4,
        linewidth=0.8,
        alpha=0.6 if len(data.rows) < 60 else 0.3,
        label="a setting" + ("" if np.isnan(errors).all() else ", 95 % interval"),
    )
    unique = np.unique(x)
    if unique.size < len(x) and not axis.labels:
        best = [np.fmax.reduce(y[x == value]) for value in unique]
        axes.plot(unique, best, color=plots.GREY, linewidth=1, label="best per value")
    axes.plot(x[0], y[0], "*", color=plots.ORANGE, markersize=14, label="best overall")
    _format_axis(axes, "x", axis, data.ranges)
    axes.set_ylabel(LABEL)
    axes.set_title(data.title)
    plots.frame(axes)
    plots.legend_below(axes, 3)
    plots.save(figure, path, data.figure_format)


def pair(path: pathlib.Path, data: Data, first: str, second: str) -> None:
    """Plot the score against two fields: a heat map of a grid, or coloured dots.

    A cell of the heat map shows the best setting over the other fields.
    """
    figure = matplotlib.figure.Figure(figsize=(6.0, 4.6), layout="constrained")
    axes = figure.subplots()
    score = np.array([row.iqm for row in data.rows])
    x, y = _axis(data, first), _axis(data, second)
    cells = set(zip(x.positions, y.positions, strict=True))
    if len(cells) == np.unique(x.positions).size * np.unique(y.positions).size:
        artist = _heat_map(axes, score, x, y)
    else:
        artist = _dots(axes, score, x, y, data.ranges)
    figure.colorbar(artist, ax=axes, label=LABEL)
    axes.set_title(data.title)
    plots.save(figure, path, data.figure_format)


def _heat_map(axes: matplotlib.axes.Axes, score: np.ndarray, x: _Axis, y: _Axis) -> Any:
    columns, rows = np.unique(x.positions), np.unique(y.positions)
    grid = [
        [
            np.fmax.reduce(score[(x.positions == a) & (y.positions == b)])
            for a in columns
        ]
        for b in rows
    ]
    image = axes.imshow(np.array(grid), origin="lower", aspect="auto", cmap="viridis")
    for direction, values, labels in (("x", columns, x.labels), ("y", rows, y.labels)):
        names = labels or [f"{value:.4g}" for value in values]
        ticks = range(0, len(names), -(-len(names) // MAX_TICKS))
        ticklabels = [names[i] for i in ticks]
        axes.set(**{f"{direction}ticks": ticks, f"{direction}ticklabels": ticklabels})
    column = np.searchsorted(columns, x.positions[0])
    row = np.searchsorted(rows, y.positions[0])
    axes.plot(column, row, "*", color=plots.ORANGE, markersize=14)
    axes.set(xlabel=x.field, ylabel=y.field)
    axes.tick_params(axis="x", rotation=30)
    return image


def _dots(
    axes: matplotlib.axes.Axes,
    score: np.ndarray,
    x: _Axis,
    y: _Axis,
    ranges: Sequence[ParameterRange],
) -> Any:
    dots = axes.scatter(x.positions, y.positions, c=score, cmap="viridis", s=36)
    best = x.positions[0], y.positions[0]
    axes.plot(*best, "*", color=plots.ORANGE, markersize=16, markerfacecolor="none")
    _format_axis(axes, "x", x, ranges)
    _format_axis(axes, "y", y, ranges)
    return dots
