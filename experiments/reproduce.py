"""Reproduce a published learning curve and plot ours over it.

The published curves are in results/published. `--target NAME` runs the protocol with
ten seeds and writes figures/NAME.png and tables/NAME.json below --output. The JSON file
records whether the final return lies within the published band and, where it is known,
when both curves cross a given level.
"""

import csv
import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.config.fields import check_name
from jaxq.runs import plotting

if TYPE_CHECKING:
    import numpy as np

    from jaxq import Result
    from jaxq.runs import results

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"

# CleanRL's dqn.py: MLP 120-84 with PyTorch's initialisation, Adam 2.5e-4, one update of
# 128 transitions every 10 steps, target network copied every 500 steps, epsilon 1 ->
# 0.05 over 250,000 of 500,000 steps. These are the plain defaults.
CLEANRL = Config(defaults="plain", num_seeds=10)
# CleanRL's c51.py: 101 atoms on [-100, 100], Adam's epsilon 0.01 / 128.
C51: dict[str, Any] = {
    "algorithm": "c51",
    "num_atoms": 101,
    "v_min": -100.0,
    "v_max": 100.0,
    "optimizer_eps": 0.01 / 128,
}
# CleanRL's pqn.py: 4 environments, rollouts of 128 steps, 4 epochs of 4 minibatches,
# RAdam 2.5e-4 annealed to zero over all 976 rollouts, lambda 0.65, time limits treated
# as terminations. Its loss is the squared error and ours is half of it. The gradient,
# which always exceeds the clipping norm, is therefore clipped at 10 there and 5 here.
PQN: dict[str, Any] = {
    "algorithm": "pqn",
    "num_envs": 4,
    "rollout_length": 128,
    "num_minibatches": 4,
    "num_epochs": 4,
    "max_grad_norm": 5.0,
    "learning_rate_schedule": "linear",
    "learning_rate_updates": 976 * 16.0,
    "trace_decay": 0.65,
    "weight_init": "orthogonal",
    "timeout_is_terminal": True,
}
ENVIRONMENTS = {
    "cartpole": "CartPole-v1",
    "acrobot": "Acrobot-v1",
    "mountaincar": "MountainCar-v0",
}
TARGETS = {
    f"cleanrl_{algorithm}_{short}": dataclasses.replace(
        CLEANRL, environment=environment, **fields
    )
    for algorithm, fields in {"dqn": {}, "c51": C51, "pqn": PQN}.items()
    for short, environment in ENVIRONMENTS.items()
    if short != "mountaincar" or algorithm == "c51"
}
SMOOTHING = 15_000  # steps; the published curves are running means over 10k to 20k


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    target: str
    """Published curve to reproduce; an unknown name lists all."""
    output: pathlib.Path = ROOT
    """Directory in which to write figures/ and tables/."""
    runs: pathlib.Path = ROOT / "runs"
    """Directory of the run directory."""


def published(name: str) -> tuple[dict[str, Any], list[list[float]]]:
    """Metadata of a published curve, and its rows of step, mean, low, high."""
    directory = ROOT / "published"
    facts = json.loads((directory / "published.json").read_text(encoding="utf-8"))[name]
    with (directory / f"{name}.csv").open(encoding="utf-8") as file:
        cells = list(csv.reader(file))[1:]
    rows = [[float(cell or "nan") for cell in row] for row in cells]
    return facts, rows


def main() -> None:
    """Run the protocol, compare, and write the table and the figure."""
    arguments = command_line.read(Arguments, __doc__)
    check_name("target", arguments.target, TARGETS)
    config = TARGETS[arguments.target]
    plotting.check_matplotlib()
    cli.set_up_jax(flags.Options())
    import numpy as np

    from jaxq import run
    from jaxq.runs import files

    facts, rows = published(arguments.target)
    result = run(config, output=arguments.runs, show_progress=True)
    window = max(1, SMOOTHING // int(np.diff(result.curve.steps)[0]))
    ours = running_mean(result.curve.train_return, window)
    comparison = compare(arguments.target, facts, result.curve, ours)
    assert result.directory is not None
    manifest = json.loads(
        (result.directory / "manifest.json").read_text(encoding="utf-8")
    )
    for name in ("figures", "tables"):
        (arguments.output / name).mkdir(parents=True, exist_ok=True)
    path = arguments.output / "tables" / f"{arguments.target}.json"
    files.write_json(path, comparison | {"manifest": manifest})
    figure_path = arguments.output / "figures" / f"{arguments.target}.png"
    draw(figure_path, config, result, ours, rows)
    print(json.dumps(files.plain(comparison), indent=2))


def compare(
    target: str, facts: dict[str, Any], curve: "results.Curve", ours: "np.ndarray"
) -> dict[str, Any]:
    """Final return and level crossing, ours and published.

    Args:
        target: name of the published curve.
        facts: its metadata.
        curve: learning curves of all seeds.
        ours: smoothed training return, [S, P].
    """
    final = ours[:, -1]
    if "final_episodes" in facts:
        final = last_episodes(curve, facts["final_episodes"])
    mean, std = facts["final_mean"], facts["final_std"]
    comparison = {
        "target": target,
        "environment": TARGETS[target].environment,
        "final_train_return_mean": final.mean(),
        "final_train_return_std_over_seeds": final.std(),
        "final_train_return_per_seed": final,
        "published_mean": mean,
        "published_std": std,
        "inside_published_band": bool(abs(final.mean() - mean) <= std),
        "smoothing_steps": SMOOTHING,
    }
    if "crosses" in facts:
        comparison |= {
            "level": facts["crosses"],
            "steps_at_level": crossing(curve, ours, facts["crosses"]),
            "published_steps_at_level": facts["crosses_at"],
        }
    return comparison


def crossing(curve: "results.Curve", ours: "np.ndarray", level: float) -> int | None:
    """Steps at which the mean over seeds first reaches `level`; None if it does not."""
    above = ours.mean(axis=0) >= level
    return int(curve.steps[above.argmax()]) if above.any() else None


def running_mean(curve: "np.ndarray", window: int) -> "np.ndarray":
    """Mean over the last `window` points of each seed, ignoring nan; [S, P]."""
    import numpy as np

    before = np.full((curve.shape[0], window - 1), np.nan)
    padded = np.concatenate([before, curve], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)
    return np.nanmean(windows, axis=-1)


def last_episodes(curve: "results.Curve", count: int) -> "np.ndarray":
    """Mean training return of each seed over the last points with `count` episodes."""
    import numpy as np

    episodes = curve.train_episodes.astype(float)
    later_episodes = np.cumsum(episodes[:, ::-1], axis=1)[:, ::-1] - episodes
    weight = np.where(later_episodes < count, episodes, 0.0)
    total = np.sum(weight * np.nan_to_num(curve.train_return), axis=1)
    return total / weight.sum(axis=1)


def draw(
    path: pathlib.Path,
    config: Config,
    result: "Result",
    ours: "np.ndarray",
    rows: list[list[float]],
) -> None:
    """Plot our curve over the published one."""
    import matplotlib.figure
    import numpy as np

    from jaxq.runs import plots

    figure = matplotlib.figure.Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    step, mean, low, high = np.array(rows).T
    axes.fill_between(step, low, high, color=plots.ORANGE, alpha=0.2, linewidth=0)
    known = np.isfinite(mean)
    axes.plot(
        step[known], mean[known], color=plots.ORANGE, linestyle="--", linewidth=1.8,
        label="CleanRL, mean and std of 3 seeds",
    )  # fmt: skip
    plots.draw_seeds(axes, result.curve.steps, ours, label="jaxq, ")
    axes.set_title(
        f"{config.algorithm.upper()} on {config.environment}, CleanRL's protocol "
        f"(n = {config.num_seeds})"
    )
    plots.finish(axes, "training return")
    plots.save(figure, path)


if __name__ == "__main__":
    with cli.exit_codes():
        main()
