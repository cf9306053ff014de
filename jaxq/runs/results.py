"""Results of a run: curves, statistics, and the files that hold them."""

import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxq.config.config import Config
from jaxq.runs import files, manifest
from jaxq.stats import intervals
from jaxq.types import PyTree


class Curve(NamedTuple):
    """Measurements of all seeds at all points; [S, P] unless noted otherwise."""

    steps: np.ndarray  # [P] environment steps per seed
    epsilon: np.ndarray  # probability of a random action
    train_return: np.ndarray  # mean over episodes since the last point, or nan
    train_length: np.ndarray
    train_episodes: np.ndarray  # number of these episodes
    eval_return: np.ndarray  # mean over evaluation episodes
    eval_length: np.ndarray
    eval_unfinished: np.ndarray  # fraction cut off by eval_max_steps
    loss: np.ndarray  # mean over gradient steps since the last point, or nan
    td_error: np.ndarray
    q_value: np.ndarray
    grad_norm: np.ndarray
    diverged: np.ndarray  # bool: the seed is frozen


class Arrays(NamedTuple):
    """All measurements of a run."""

    curve: Curve
    eval_returns: np.ndarray  # [S, P, K] return of every evaluation episode
    extra: dict[str, np.ndarray]  # extra metrics of the experiment, [S, P]


class Result(NamedTuple):
    """Result of a run; leading axis [S] seeds."""

    config: Config
    curve: Curve
    eval_returns: np.ndarray  # [S, P, K] return of every evaluation episode
    extra: dict[str, np.ndarray]  # extra metrics of the experiment, [S, P]
    params: PyTree
    summary: dict[str, Any]  # see `summarize`
    directory: pathlib.Path | None


class ExtraMetrics(NamedTuple):
    """Metrics that an experiment adds to a run."""

    # params[S] -> name -> [S], computed at every point of the curve
    measure: Callable[[PyTree], dict[str, np.ndarray]] | None
    levels: dict[str, float]  # name -> return of horizontal lines in the plot


NO_EXTRAS = ExtraMetrics(None, {})


def config_hash(config: Config) -> str:
    """Six hexadecimal digits that identify a configuration."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def make_directory(root: pathlib.Path, config: Config, name: str) -> pathlib.Path:
    """Create a new directory root/algorithm/environment/time-hash."""
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
    raise FileExistsError(f"{parent} has no unused name for a new run")


def file_name(text: str) -> str:
    """Convert arbitrary text to a safe file name."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in text[:100])
    return plain.lstrip(".")


def write_config(directory: pathlib.Path, config: Config) -> None:
    """Write all fields of the configuration to config.json."""
    content = {"schema": manifest.SCHEMA, **dataclasses.asdict(config)}
    files.write_json(directory / "config.json", content)


def write_curve(
    directory: pathlib.Path,
    config: Config,
    curve: Curve,
    eval_returns: np.ndarray,
    extra: Mapping[str, np.ndarray],
) -> None:
    """Write metrics.npz, and metrics.csv with one row per seed and point.

    Args:
        directory: directory of the run.
        config: gives the numbers of the seeds.
        curve: the measurements.
        eval_returns: [S, P, K] return of every evaluation episode.
        extra: extra metrics of the experiment, [S, P].
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
    """Statistics of a run, the content of summary.json.

    Diverged seeds are included, with the policy at which they were frozen.

    Args:
        config: gives the numbers of the seeds.
        arrays: the measurements.
        levels: reference returns, such as the random policy's.
        timing: seconds and steps per second.
    """
    curve = arrays.curve
    seeds = config.first_seed + np.arange(config.num_seeds)
    return {
        "schema": manifest.SCHEMA,
        "steps_per_seed": int(curve.steps[-1]),
        "final_eval_return": _final_eval_return(curve.eval_return[:, -1]),
        "final_eval_length": {"mean": float(curve.eval_length[:, -1].mean())},
        "final_train_return": _final_train_return(curve.train_return[:, -1]),
        "mean_eval_return_over_steps": intervals.area_under_curve(
            curve.steps, curve.eval_return
        ),
        "levels": dict(levels),
        "num_seeds": config.num_seeds,
        "diverged_seeds": seeds[curve.diverged[:, -1]],
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


def _final_eval_return(returns: np.ndarray) -> dict[str, Any]:
    """Statistics of the last evaluation; returns: [S]."""
    final = intervals.bootstrap_iqm(returns[:, None])
    return {
        "iqm": float(final.value[0]),
        "confidence_95": [float(final.low[0]), float(final.high[0])],
        "mean": float(returns.mean()),
        "median": float(np.median(returns)),
        "std_over_seeds": float(returns.std()),
        "per_seed": returns,
    }


def _final_train_return(returns: np.ndarray) -> dict[str, Any]:
    """Statistics of the last training returns, [S]; nan if no episode ended."""
    finite = returns[np.isfinite(returns)]
    iqm = float(intervals.iqm(finite)) if finite.size else float("nan")
    return {"iqm": iqm, "per_seed": returns}
