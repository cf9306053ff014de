"""Plots of learning curves."""

import math
import pathlib
from collections.abc import Mapping

import matplotlib
import matplotlib.figure
import numpy as np

from jaxq.runs import files, matplotlib_check, results
from jaxq.stats import intervals

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#555555"
# Okabe and Ito's colours, distinct for colour-blind readers; yellow is too light.
PALETTE = BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"


def statistic(num_seeds: int) -> str:
    """Label of the IQM over seeds; one seed has no interval."""
    return "IQM, 95 % interval" if num_seeds > 1 else "one seed"


def draw_seeds(
    axes: matplotlib.axes.Axes,
    steps: np.ndarray,
    scores: np.ndarray,
    color: str = BLUE,
    label: str = "",
) -> None:
    """Draw a thin line per seed, their IQM, and its bootstrap interval, if it has one.

    Args:
        axes: axes to draw on.
        steps: [P].
        scores: [S, P]; points at which any seed is nan are left out.
        color: of all lines.
        label: before the name of the statistic, in the legend.
    """
    finite = np.isfinite(scores).all(axis=0)
    steps, scores = steps[finite], scores[:, finite]
    if not steps.size:
        return
    axes.plot(steps, scores.T, color=color, alpha=0.25, linewidth=0.7)
    curve = intervals.bootstrap_iqm(scores)
    if len(scores) > 1:
        axes.fill_between(
            steps, curve.low, curve.high, color=color, alpha=0.25, linewidth=0
        )
    label += statistic(len(scores))
    axes.plot(steps, curve.value, color=color, linewidth=2.2, label=label)


def learning_curve(
    path: pathlib.Path,
    title: str,
    curve: results.Curve,
    levels: Mapping[str, float],
    ylabel: str = "return of the greedy policy",
    figure_format: matplotlib_check.Format = "png",
) -> None:
    """Plot the evaluation returns of all seeds.

    Args:
        path: of the PNG file.
        title: title of the plot, without the number of seeds.
        curve: the measurements.
        levels: name -> return of each horizontal line; nan draws none.
        ylabel: label of the vertical axis.
        figure_format: see `save`.
    """
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    draw_seeds(axes, curve.steps, curve.eval_return)
    for (name, level), line in zip(levels.items(), ("--", ":", "-."), strict=False):
        if math.isfinite(level):
            axes.axhline(level, color=GREY, linestyle=line, linewidth=1, label=name)
    num_seeds = curve.eval_return.shape[0]
    diverged = int(curve.diverged[:, -1].sum())
    note = f", {diverged} diverged" if diverged else ""
    axes.set_title(f"{title} (n = {num_seeds} seeds{note})")
    finish(axes, ylabel)
    save(figure, path, figure_format)


def finish(axes: matplotlib.axes.Axes, ylabel: str) -> None:
    """Add labels, grid and legend to the axes of a learning curve."""
    axes.set_xlabel("environment steps per seed")
    axes.set_ylabel(ylabel)
    style(axes)
    legend_below(axes, 4)


def legend_below(axes: matplotlib.axes.Axes, columns: int) -> None:
    """Add a legend below the axes."""
    axes.legend(
        frameon=False,
        fontsize=9,
        ncols=columns,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.15),
    )


def style(axes: matplotlib.axes.Axes) -> None:
    """Add a grid, start the steps at 0, and label them in thousands or millions.

    The curves must have been drawn: their end is the end of the axis.
    """
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    frame(axes)
    axes.margins(x=0.01)
    axes.set_xlim(left=0)


def frame(axes: matplotlib.axes.Axes) -> None:
    """Add a grid, and remove the top and right spines."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save(
    figure: matplotlib.figure.Figure,
    path: pathlib.Path,
    figure_format: matplotlib_check.Format = "png",
) -> None:
    """Write a figure as PNG, atomically; with "pdf", also as PDF beside it.

    The PDF embeds its fonts as TrueType, as journals require.
    """
    files.write(path, lambda file: figure.savefig(file, format="png", dpi=160))
    if figure_format == "pdf":
        with matplotlib.rc_context({"pdf.fonttype": 42}):
            files.write(
                path.with_suffix(".pdf"),
                lambda file: figure.savefig(
                    file, format="pdf", metadata={"CreationDate": None}
                ),
            )


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
