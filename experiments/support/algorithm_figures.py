"""Figures of the algorithms' pages: learning curves, with DQN's behind them."""

import pathlib
from typing import Any

import matplotlib.axes
import matplotlib.figure
import numpy as np

from experiments.support import tables_returns
from experiments.support.provenance import ROOT
from jaxq.runs import files, plots
from jaxq.stats import intervals

ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")
DIRECTORY = ROOT / "results" / "figures" / "algorithms"


def draw_all() -> None:
    """Draw one figure per algorithm with records on classic control."""
    rows = tables_returns.classic_rows()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(algorithm for algorithm, _ in rows):
        draw(DIRECTORY / f"{name}.png", name, rows)


def draw(
    path: pathlib.Path, name: str, rows: dict[tuple[str, str], dict[str, Any]]
) -> None:
    """Draw the curves of one algorithm, a panel per environment."""
    figure = matplotlib.figure.Figure(figsize=(7.8, 2.5), layout="constrained")
    panels = figure.subplots(1, len(ENVIRONMENTS))
    for axes, environment in zip(panels, ENVIRONMENTS, strict=True):
        if name != "dqn":
            draw_band(axes, rows["dqn", environment], plots.GREY, "dqn")
        draw_band(axes, rows[name, environment], plots.BLUE, name)
        axes.set_title(environment, fontsize=9)
        axes.tick_params(labelsize=8)
        plots.style(axes)
    panels[0].set_ylabel("greedy return, IQM", fontsize=9)
    panels[1].set_xlabel("environment steps per seed", fontsize=9)
    panels[0].legend(frameon=False, fontsize=8)
    files.write(path, lambda file: figure.savefig(file, format="png", dpi=90))


def draw_band(
    axes: matplotlib.axes.Axes, row: dict[str, Any], color: str, label: str
) -> None:
    """Draw the IQM over seeds and its 95 % interval."""
    steps = np.array(row["curve"]["steps"])
    curve = intervals.bootstrap_iqm(np.array(row["curve"]["eval_return"], float))
    axes.fill_between(steps, curve.low, curve.high, color=color, alpha=0.2, linewidth=0)
    axes.plot(steps, curve.value, color=color, linewidth=1.6, label=label)
