"""Plots of a comparison of runs: learning curves, aggregates and profiles."""

import pathlib
from collections.abc import Callable
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np

from experiments.support import comparison
from experiments.support.comparison import Run, Scores
from jaxq.runs import matplotlib_check, plots
from jaxq.stats import comparisons, intervals

Colors = dict[str, Any]  # label -> colour
XLABEL = "environment steps per seed"


def draw(
    directory: pathlib.Path,
    runs: list[Run],
    scores: Scores,
    result: dict[str, Any],
    figure_format: matplotlib_check.Format = "png",
) -> list[str]:
    """Draw all figures that the runs allow; the others are reported.

    Returns:
        Names of their files.
    """
    labels, wheel = scores.labels, plots.PALETTE
    if len(labels) > len(wheel):
        wheel = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    colors = {label: wheel[i % len(wheel)] for i, label in enumerate(labels)}
    figures = {
        "curves.png": draw_curves(runs, scores.tasks, colors),
        "wall_clock.png": draw_wall_clock(runs, scores.tasks, colors),
        "iqm.png": draw_iqm(runs, scores, colors),
        "improvement.png": draw_improvement(result["pairs"]),
        "aggregates.png": draw_aggregates(result["aggregates"], colors),
        "profile.png": draw_profiles(scores, colors),
    }
    drawn = {name: figure for name, figure in figures.items() if figure}
    for name in figures.keys() - drawn.keys():
        if (directory / name).exists():
            print(f"{directory / name} belongs to an earlier comparison")
    for name, figure in drawn.items():
        plots.save(figure, directory / name, figure_format)
    if figure_format == "png":
        return list(drawn)
    return [*drawn, *(name.replace(".png", ".pdf") for name in drawn)]


def draw_curves(
    runs: list[Run], tasks: list[str], colors: Colors
) -> matplotlib.figure.Figure:
    """A panel of learning curves for every task."""
    return _panels(runs, tasks, colors, XLABEL, lambda run: run.steps)


def draw_wall_clock(
    runs: list[Run], tasks: list[str], colors: Colors
) -> matplotlib.figure.Figure | None:
    """A panel of returns over the seconds of the run for every task.

    The steps after the first call count as evenly fast. If the time of a run is not
    known, a message is printed instead.
    """
    unknown = [run.directory for run in runs if run.timing is None]
    if unknown:
        print(
            "no wall_clock.png: a run that was resumed, or of which no time was saved, "
            f"has no known total: {', '.join(unknown)}"
        )
        return None
    xlabel = "seconds with compilation, spread evenly over the steps"
    return _panels(runs, tasks, colors, xlabel, _seconds)


def _seconds(run: Run) -> np.ndarray:
    """Seconds from the start of a run to each of its points, [P]."""
    assert run.timing is not None
    seconds, first, _ = run.timing
    return first + (seconds - first) * run.steps / run.steps[-1]


def _panels(
    runs: list[Run],
    tasks: list[str],
    colors: Colors,
    xlabel: str,
    positions: Callable[[Run], np.ndarray],
) -> matplotlib.figure.Figure:
    """A panel for every task, with the IQM and interval of its runs.

    Args:
        runs: one per label and task.
        tasks: their tasks.
        colors: of the labels.
        xlabel: label of the horizontal axes.
        positions: run -> horizontal positions of its points, [P].
    """
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    size = 5.2 * columns, 3.8 * rows
    figure = matplotlib.figure.Figure(size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, task in zip(panels, tasks, strict=False):
        for run in runs:
            if run.task == task:
                label = f"{run.label} (n = {run.curves.shape[0]})"
                if xlabel != XLABEL and run.timing:
                    label = f"{run.label}, {run.timing.devices}"
                curve = intervals.bootstrap_iqm(run.curves, resamples=500)
                _draw_curve(axes, positions(run), curve, colors[run.label], label)
        axes.set_title(task)
        statistic = plots.statistic(max(run.curves.shape[0] for run in runs))
        axes.set(xlabel=xlabel, ylabel=f"return, {statistic}")
        plots.style(axes)
        axes.legend(frameon=False, fontsize=8)
    for axes in figure.axes[len(tasks) :]:
        axes.set_visible(False)
    return figure


def _draw_curve(
    axes: matplotlib.axes.Axes,
    positions: np.ndarray,
    curve: intervals.Interval,
    color: Any,
    label: str,
) -> None:
    axes.fill_between(
        positions, curve.low, curve.high, color=color, alpha=0.2, linewidth=0
    )
    axes.plot(positions, curve.value, color=color, label=label)


def draw_iqm(
    runs: list[Run], scores: Scores, colors: Colors
) -> matplotlib.figure.Figure | None:
    """IQM of the normalised score over all tasks; of one task, curves.png shows it."""
    if len(scores.tasks) == 1:
        return None
    unit, points, curves = comparison.normalised_curves(runs, scores)
    figure = matplotlib.figure.Figure((6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for label, values in curves.items():
        curve = comparisons.iqm_curve(values)
        text = f"{label} (n = {len(values)})"
        _draw_curve(axes, points, curve, colors[label], text)
    statistic = plots.statistic(max(map(len, curves.values())))
    axes.set(xlabel=unit, ylabel=f"normalised score, {statistic}")
    axes.set_title(f"{len(scores.tasks)} tasks")
    plots.style(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def draw_improvement(pairs: list[dict[str, Any]]) -> matplotlib.figure.Figure | None:
    """Probability of improvement of every pair, from 0 to 1; None without a pair."""
    if not pairs:
        return None
    size = 6.4, 1.2 + 0.32 * len(pairs)
    figure = matplotlib.figure.Figure(size, layout="constrained")
    axes = figure.subplots()
    for row, pair in enumerate(reversed(pairs)):
        value, low, high = pair["a_above_b"]
        axes.plot([low, high], [row, row], color=plots.BLUE, linewidth=3, alpha=0.5)
        axes.plot(value, row, "o", color=plots.BLUE)
    axes.axvline(0.5, color=plots.GREY, linestyle="--", linewidth=1)
    names = [f"{pair['a']} > {pair['b']}" for pair in reversed(pairs)]
    axes.set_yticks(range(len(pairs)), names)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(pairs) - 0.4))
    has_interval = any(not np.isnan(pair["a_above_b"][1]) for pair in pairs)
    interval = ", 95 % interval" if has_interval else ""
    axes.set_xlabel(f"probability of improvement{interval}")
    plots.frame(axes)
    return figure


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
