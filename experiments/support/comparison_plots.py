"""Plots of a comparison of runs: learning curves, aggregates and profiles."""

import pathlib
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np

from experiments.support.comparison import Run, Scores
from jaxq.runs import plots
from jaxq.stats import comparisons, intervals

Colors = dict[str, Any]  # label -> colour


def draw(
    directory: pathlib.Path, runs: list[Run], scores: Scores, result: dict[str, Any]
) -> list[str]:
    """Draw all plots.

    Returns:
        Names of their files.
    """
    labels = scores.labels
    wheel = matplotlib.colormaps["tab10" if len(labels) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    colors = {label: wheel[i % len(wheel)] for i, label in enumerate(labels)}
    figures = {
        "curves.png": draw_curves(runs, scores.tasks, colors),
        "aggregates.png": draw_aggregates(result["aggregates"], colors),
        "profile.png": draw_profiles(scores, colors),
    }
    for name, figure in figures.items():
        plots.save(figure, directory / name)
    return list(figures)


def draw_curves(
    runs: list[Run], tasks: list[str], colors: Colors
) -> matplotlib.figure.Figure:
    """A panel of learning curves for every task."""
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    size = 5.2 * columns, 3.8 * rows
    figure = matplotlib.figure.Figure(size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, task in zip(panels, tasks, strict=False):
        for run in runs:
            if run.task == task:
                _draw_curve(axes, run, colors[run.label])
        axes.set_title(task)
        label = plots.statistic(max(run.curves.shape[0] for run in runs))
        axes.set(xlabel="environment steps per seed", ylabel=f"return, {label}")
        plots.style(axes)
        axes.legend(frameon=False, fontsize=8)
    for axes in figure.axes[len(tasks) :]:
        axes.set_visible(False)
    return figure


def _draw_curve(axes: matplotlib.axes.Axes, run: Run, color: Any) -> None:
    curve = intervals.bootstrap_iqm(run.curves, resamples=500)
    axes.fill_between(
        run.steps, curve.low, curve.high, color=color, alpha=0.2, linewidth=0
    )
    label = f"{run.label} (n = {run.curves.shape[0]})"
    axes.plot(run.steps, curve.value, color=color, label=label)


def draw_aggregates(
    aggregates: dict[str, dict[str, list[float]]], colors: Colors
) -> matplotlib.figure.Figure:
    """A panel of intervals for every aggregate statistic."""
    names, labels = list(comparisons.AGGREGATES), list(reversed(aggregates))
    size = 3.2 * len(names), 1.2 + 0.3 * len(labels)
    figure = matplotlib.figure.Figure(size, layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True)
    for axes, name in zip(panels, names, strict=True):
        for row, label in enumerate(labels):
            value, low, high = aggregates[label][name]
            if not np.isnan(low):  # of a single run
                axes.barh(row, high - low, 0.6, low, color=colors[label], alpha=0.6)
            axes.plot([value, value], [row - 0.3, row + 0.3], color="black")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_title(name)
        axes.use_sticky_edges = False
        axes.grid(alpha=0.25, axis="x")
        axes.spines[["top", "right", "left"]].set_visible(False)
    several = any(not np.isnan(row[names[0]][1]) for row in aggregates.values())
    text = "normalised score" + (", 95 % interval" if several else "")
    figure.supxlabel(text, fontsize=9)
    return figure


def draw_profiles(scores: Scores, colors: Colors) -> matplotlib.figure.Figure:
    """Performance profiles with pointwise bands."""
    every = np.concatenate([values.ravel() for values in scores.normalised.values()])
    levels = np.linspace(min(0.0, every.min()), max(1.0, every.max()), 201)
    figure = matplotlib.figure.Figure((6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for label, values in scores.normalised.items():
        color = colors[label]
        low, high = comparisons.profile_band(values, levels)
        axes.fill_between(levels, low, high, color=color, alpha=0.2, linewidth=0)
        profile = comparisons.profile(values, levels)
        axes.plot(levels, profile, color=color, label=label)
    axes.set(
        xlabel="normalised score s", ylabel="share of runs above s", ylim=(-0.02, 1.02)
    )
    several = max(map(len, scores.normalised.values())) > 1
    band = ", pointwise 95 % band" if several else ""
    axes.set_title(f"performance profile{band}")
    plots.frame(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure
