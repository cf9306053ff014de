"""Figures: our curves over the published ones, or numbers per seed beside them."""

import csv
import pathlib

import matplotlib.axes
import matplotlib.figure
import numpy as np

from experiments.reproductions.criteria import (
    Criterion,
    Equivalent,
    Exact,
    SameLandscape,
)
from experiments.reproductions.records import Record
from experiments.reproductions.target import Run, Target
from experiments.support.provenance import ROOT
from jaxq.runs import plots


def published_curves(name: str) -> dict[str, np.ndarray]:
    """Published curves by label, [4, P]: step, mean, and a band that may be nan."""
    path = ROOT / "results" / "published" / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = ("step", "mean", "low", "high")
    labels = dict.fromkeys(row.get("label", "") for row in rows)
    return {
        label: np.array(
            [
                [float(row.get(column) or "nan") for row in rows
                 if row.get("label", "") == label]
                for column in columns
            ]
        )
        for label in labels
    }  # fmt: skip


def draw(path: pathlib.Path, target: Target, record: Record) -> None:
    """Draw the figure of a target."""
    if target.simulate is not None:
        return draw_values(path, target, record)
    if isinstance(target.criterion, SameLandscape):
        return draw_landscape(path, target, record, target.criterion)
    labels = list(target.runs)
    columns = min(len(labels), 4)
    height = -(-len(labels) // columns)
    figure = matplotlib.figure.Figure(
        figsize=(max(6.4, 3.2 * columns), 1.2 + 2.6 * height), layout="constrained"
    )
    panels = figure.subplots(height, columns, sharey=True, squeeze=False)
    theirs = published_curves(target.curve) if target.curve else {}
    for axes, label in zip(panels.flat, labels, strict=False):
        _panel(axes, record.runs[label], theirs.get(label, theirs.get("")), target)
        if len(labels) > 1:
            axes.set_title(label, fontsize=9)
    for axes in panels.flat[len(labels) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("environment steps per seed", fontsize=9)
    figure.suptitle(target.title)
    figure.supylabel(target.metric, fontsize=9)
    handles = dict(
        (text, handle)
        for axes in panels.flat
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    )
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=4,
        frameon=False, fontsize=9,
    )  # fmt: skip
    plots.save(figure, path)
    return None


def _panel(
    axes: matplotlib.axes.Axes, run: Run, theirs: np.ndarray | None, target: Target
) -> None:
    """One run, and the published curve behind it."""
    ours = run.train_return if target.metric == "training return" else run.eval_return
    if theirs is not None:
        step, mean, low, high = theirs
        band = np.isfinite(low) & np.isfinite(high)
        axes.fill_between(
            step[band], low[band], high[band],
            color=plots.ORANGE, alpha=0.2, linewidth=0,
        )  # fmt: skip
        known = np.isfinite(mean)
        axes.plot(
            step[known], mean[known], color=plots.ORANGE, linestyle="--",
            linewidth=1.8, label="published mean",
        )  # fmt: skip
    some = np.isfinite(ours).any(axis=0)
    steps, ours = run.steps[some], ours[:, some]
    if len(ours) <= 10:
        axes.plot(steps, ours.T, color=plots.BLUE, alpha=0.25, linewidth=0.7)
    mean = np.nanmean(ours, axis=0)
    error = 1.96 * np.nanstd(ours, axis=0, ddof=1) / len(ours) ** 0.5
    axes.fill_between(
        steps, mean - error, mean + error, color=plots.BLUE, alpha=0.25, linewidth=0
    )
    axes.plot(
        steps, mean, color=plots.BLUE, linewidth=2.0,
        label=f"jaxq, mean of {len(ours)} seeds and its 95 % interval",
    )  # fmt: skip
    plots.style(axes)


def draw_landscape(
    path: pathlib.Path, target: Target, record: Record, criterion: SameLandscape
) -> None:
    """Our mean of every setting against the published one."""
    figure = matplotlib.figure.Figure(figsize=(5.2, 4.8), layout="constrained")
    axes = figure.subplots()
    ours = [record.values[label] for label in criterion.published]
    theirs = list(criterion.published.values())
    axes.errorbar(
        [published.mean for published in theirs],
        [values.mean() for values in ours],
        [values.std(ddof=1) for values in ours],
        [published.std for published in theirs],
        fmt="o", markersize=4, linewidth=0.6, alpha=0.7, color=plots.BLUE,
    )  # fmt: skip
    means = [x.mean() for x in ours] + [x.mean for x in theirs]
    ends = [min(means), max(means)]
    axes.plot(ends, ends, color=plots.GREY, linewidth=1, linestyle="--")
    axes.set_title(target.title)
    axes.set(
        xlabel="published, mean and standard deviation", ylabel=f"ours, {target.metric}"
    )
    plots.frame(axes)
    plots.save(figure, path)


def draw_values(path: pathlib.Path, target: Target, record: Record) -> None:
    """The numbers of every quantity, with the published or exact ones as lines."""
    labels = list(record.values)
    figure = matplotlib.figure.Figure(
        figsize=(6.4, 1.2 + 0.5 * len(labels)), layout="constrained"
    )
    axes = figure.subplots()
    known = _references(target.criterion)
    for row, label in enumerate(labels):
        values = record.values[label]
        low, high = np.percentile(values, [2.5, 97.5])
        axes.plot([low, high], [row, row], color=plots.BLUE, alpha=0.3, linewidth=6)
        error = 1.96 * values.std(ddof=1) / values.size**0.5
        axes.errorbar(
            values.mean(), row, xerr=error, color=plots.BLUE, marker="o", capsize=4,
            label=None if row else "mean, its 95 % interval, and 95 % of the runs",
        )  # fmt: skip
        if label in known:
            axes.plot(
                known[label], row, color=plots.ORANGE, marker="|", markersize=22,
                markeredgewidth=2, linestyle="none",
                label=None if row else "published or exact",
            )  # fmt: skip
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_title(target.title)
    axes.set_xlabel(target.metric)
    plots.frame(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    plots.save(figure, path)


def _references(criterion: Criterion) -> dict[str, float]:
    if isinstance(criterion, Equivalent):
        return {label: theirs.mean for label, theirs in criterion.published.items()}
    return dict(criterion.values) if isinstance(criterion, Exact) else {}
