"""Results of a run: curves, and the files that hold them."""

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
    summary: dict[str, Any]  # see `summary.summarize`
    directory: pathlib.Path | None
    environment: str = ""  # display name

    def __repr__(self) -> str:
        final = np.asarray(self.summary["final_eval_return"]["per_seed"], float)
        lines = [
            f"{self.config.algorithm} on {self.environment or self.config.environment}",
            f"seeds: {len(final)}, {self.summary['steps_per_seed']:,} steps per seed, "
            f"{self.summary['seconds']:.1f} s",
            f"final return {intervals.describe(final, label=', 95 % CI ')}",
            f"diverged seeds: {', '.join(map(str, self._diverged())) or 'none'}",
            f"directory: {self.directory or 'none, nothing was saved'}",
        ]
        return "\n".join(lines)

    def _diverged(self) -> list[int]:
        return [int(seed) for seed in self.summary["diverged_seeds"]]

    def to_pandas(self) -> Any:
        """The curves as a DataFrame with a row per seed and point, as metrics.csv.

        Raises:
            ImportError: if pandas is not installed.
        """
        return import_pandas().DataFrame(table(self.config, self.curve, self.extra))


class ExtraMetrics(NamedTuple):
    """Metrics that an experiment adds to a run."""

    # params[S] -> name -> [S], computed at every point of the curve
    measure: Callable[[PyTree], dict[str, np.ndarray]] | None
    levels: dict[str, float]  # name -> return of horizontal lines in the plot


NO_EXTRAS = ExtraMetrics(None, {})


def import_pandas() -> Any:
    """The module pandas.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_pandas needs pandas: pip install pandas") from error
    return pandas


def config_hash(config: Config) -> str:
    """Six hexadecimal digits that identify a configuration."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def make_directory(root: pathlib.Path, config: Config, name: str) -> pathlib.Path:
    """Create a new directory root/algorithm/environment/time-hash."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    parent = root / file_name(config.algorithm) / file_name(name)
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
    arrays = {
        "seed": seeds(config),
        "steps": curve.steps,
        "eval_returns": eval_returns,
        **per_seed(curve, extra),
    }
    files.write_arrays(directory / "metrics.npz", arrays)
    columns = table(config, curve, extra)
    rows = zip(*columns.values(), strict=True)
    files.write_csv(directory / "metrics.csv", [list(columns), *map(list, rows)])


def table(
    config: Config, curve: Curve, extra: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Columns of a table with a row per seed and point; [S P].

    Args:
        config: gives the numbers of the seeds.
        curve: the measurements.
        extra: extra metrics of the experiment, [S, P].
    """
    numbers = seeds(config)
    columns = {
        "seed": np.repeat(numbers, len(curve.steps)),
        "step": np.tile(curve.steps, len(numbers)),
    }
    for name, values in per_seed(curve, extra).items():
        columns[name] = values.reshape(-1)
    return columns


def seeds(config: Config) -> np.ndarray:
    """The numbers of the seeds, [S]."""
    return config.first_seed + np.arange(config.num_seeds)


def per_seed(curve: Curve, extra: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Measurements with a value for every seed, [S, P]."""
    shared = {k: v for k, v in curve._asdict().items() if k != "steps"}
    return {**shared, **extra}
