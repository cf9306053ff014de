"""The figure of the textbook experiments (see ../textbook.py)."""

import pathlib
from typing import Any

import matplotlib.figure
import numpy as np

from jaxq.runs import plots


def draw(
    path: pathlib.Path, bias: dict[str, Any], walk: dict[str, Any], published: Any
) -> None:
    """Draw both figures, with our curves as lines and the published ones as dots."""
    figure = matplotlib.figure.Figure(figsize=(10, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_bias(left, bias, published["maximization_bias"])
    draw_cliff(right, walk, published["cliff_interim"]["mean_and_se"])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    plots.save(figure, path)


def draw_bias(axes: Any, bias: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Draw the share of left actions over episodes."""
    labels = {"q": "Q-learning", "double_q": "Double Q-learning"}
    colors = {"q": plots.BLUE, "double_q": plots.ORANGE}
    dots: dict[str, Any] = {"color": "0.25", "markersize": 4}
    episode = np.arange(1, 301)
    for name, label in labels.items():
        axes.plot(episode, 100 * bias[name]["left"], color=colors[name], label=label)
        left = 100 * np.array(theirs[name]["left"])
        axes.plot(episode[9::10], left[9::10], ".", **dots)
    axes.axhline(5, color="0.6", linestyle=":", linewidth=1)
    axes.set(
        title=f"Maximisation bias ({bias['runs']:,} runs)",
        xlabel="episode",
        ylabel="% left actions from A",
        ylim=(0, 100),
    )
    axes.legend(frameon=False)


def draw_cliff(axes: Any, walk: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Draw the returns of early and late episodes over step sizes."""
    colors = {"q": plots.BLUE, "sarsa": plots.ORANGE, "expsarsa": "#009E73"}
    labels = {"q": "Q-learning", "sarsa": "SARSA", "expsarsa": "Expected SARSA"}
    dots: dict[str, Any] = {"color": "0.25", "markersize": 5}
    step_sizes = walk["step_sizes"]
    for name, color in colors.items():
        interim, end = walk[name]["interim"]["mean"], walk[name]["end"]["mean"]
        axes.plot(step_sizes, interim, color=color, linestyle="--")
        axes.plot(step_sizes, end, color=color, label=labels[name])
        published_interim = [theirs[f"{name}/{a}"][0] for a in step_sizes]
        axes.plot(step_sizes, published_interim, ".", **dots)
    axes.set(
        title=f"Cliff walking ({walk['runs']:,} runs): first 100 episodes dashed",
        xlabel="step size",
        ylabel="return per episode",
        ylim=(-155, 0),
    )
    axes.legend(frameon=False, loc="lower right")
