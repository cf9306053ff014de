"""What a run leaves on disk: curves, statistics and parameters, in plain files."""

import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxq.config.config import Config
from jaxq.runs import files
from jaxq.runs.manifest import SCHEMA
from jaxq.stats import intervals


class Curve(NamedTuple):
    """The measurements of every seed at every point; [S, P] unless said otherwise."""

    steps: np.ndarray  # [P] environment steps per seed
    epsilon: np.ndarray  # probability of a random action
    train_return: np.ndarray  # mean over episodes finished since the last point, or nan
    train_length: np.ndarray
    train_episodes: np.ndarray  # how many those are
    eval_return: np.ndarray  # mean over the evaluation's episodes
    eval_length: np.ndarray
    eval_unfinished: np.ndarray  # share of its episodes that were cut off
    loss: np.ndarray  # means over gradient steps since the last point
    td_error: np.ndarray
    q_value: np.ndarray
    grad_norm: np.ndarray
    diverged: np.ndarray  # bool: frozen by then


class Arrays(NamedTuple):
    """Everything that was measured."""

    curve: Curve
    eval_returns: np.ndarray  # [S, P, K] return of every evaluation episode
    extra: dict[str, np.ndarray]  # what an experiment measured besides; [S, P]


def config_hash(config: Config) -> str:
    """Six hexadecimal digits that stand for a configuration."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def make_directory(root: pathlib.Path, config: Config, name: str) -> pathlib.Path:
    """A new directory root/algorithm/environment/time-hash, never an old one."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    parent = root / config.algorithm / file_name(name)
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1_000):
        suffix = "" if number == 1 else f"-{number}"
        directory = parent / f"{now}-{config_hash(config)}{suffix}"
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        return directory
    raise FileExistsError(f"no free name for a run in {parent}")


def file_name(text: str) -> str:
    """Text of a user as part of a path."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in text[:100])
    return plain.lstrip(".")


def write_config(directory: pathlib.Path, config: Config) -> None:
    """Write every field of the configuration."""
    content = {"schema": SCHEMA, **dataclasses.asdict(config)}
    files.write_json(directory / "config.json", content)


def write_curve(
    directory: pathlib.Path,
    config: Config,
    curve: Curve,
    eval_returns: np.ndarray,
    extra: Mapping[str, np.ndarray],
) -> None:
    """Write metrics.csv, one row a seed and point, and metrics.npz.

    Args:
        directory: of the run.
        config: names the seeds.
        curve: the measurements.
        eval_returns: [S, P, K] return of every evaluation episode.
        extra: what an experiment measured besides; [S, P].
    """
    seeds = config.first_seed + np.arange(config.num_seeds)
    columns = {k: v for k, v in curve._asdict().items() if k != "steps"}
    columns.update(extra)
    arrays = {"seed": seeds, "steps": curve.steps, "eval_returns": eval_returns}
    files.write_arrays(directory / "metrics.npz", arrays | columns)
    rows: list[list[Any]] = [["seed", "step", *columns]]
    for i, seed in enumerate(seeds):
        for p, step in enumerate(curve.steps):
            cells = [_cell(values[i, p]) for values in columns.values()]
            rows.append([seed, step, *cells])
    files.write_csv(directory / "metrics.csv", rows)


def _cell(value: np.generic) -> str:
    return str(int(value)) if value.dtype.kind in "bi" else f"{value:.6g}"


def summarize(
    config: Config,
    arrays: Arrays,
    levels: Mapping[str, float],
    timing: Mapping[str, Any],
) -> dict[str, Any]:
    """The statistics of a run.

    A seed that diverged counts, with the policy it was frozen with.

    Args:
        config: names the seeds.
        arrays: the measurements.
        levels: reference returns, such as the random policy's.
        timing: seconds and steps per second.
    """
    curve = arrays.curve
    final = intervals.bootstrap_iqm(curve.eval_return[:, -1:])
    seeds = config.first_seed + np.arange(config.num_seeds)
    diverged = curve.diverged[:, -1]
    ended = curve.train_return[:, -1]
    ended = ended[np.isfinite(ended)]  # of seeds in which an episode did
    return {
        "schema": SCHEMA,
        "steps_per_seed": int(curve.steps[-1]),
        "final_eval_return": {
            "iqm": float(final.value[0]),
            "confidence_95": [float(final.low[0]), float(final.high[0])],
            "mean": float(curve.eval_return[:, -1].mean()),
            "median": float(np.median(curve.eval_return[:, -1])),
            "std_over_seeds": float(curve.eval_return[:, -1].std()),
            "per_seed": curve.eval_return[:, -1],
        },
        "final_eval_length": {"mean": float(curve.eval_length[:, -1].mean())},
        "final_train_return": {
            "iqm": float(intervals.iqm(ended)) if ended.size else float("nan"),
            "per_seed": curve.train_return[:, -1],
        },
        "mean_eval_return_over_steps": intervals.area_under_curve(
            curve.steps, curve.eval_return
        ),
        "levels": dict(levels),
        "num_seeds": config.num_seeds,
        "diverged_seeds": seeds[diverged],
        "extra": {
            name: {
                "first": values[:, 0].mean(),
                "final": values[:, -1].mean(),
                "final_std": values[:, -1].std(),
            }
            for name, values in arrays.extra.items()
        },
        **timing,
    }
