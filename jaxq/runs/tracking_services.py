"""Trackers that send a run to TensorBoard, Weights & Biases or Trackio.

Every metric is recorded as its interquartile mean over the seeds, and for each of the
first `MAX_SEEDS` seeds. Metrics that are nan, such as a loss before the first update,
are left out.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from jaxq.config.fields import ConfigError
from jaxq.runs.trackers import Point, RunInfo, Tracker
from jaxq.stats import intervals

Service = Literal["tensorboard", "wandb", "trackio"]
MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}
MAX_SEEDS = 32
FLUSH_SECONDS = 5  # more often than checkpoints are written
PROJECT = "jaxq"


def make(name: Service) -> Tracker:
    """The tracker of a service.

    Raises:
        ConfigError: if its package is not installed.
    """
    module = _import(name)
    return TensorBoard(module) if name == "tensorboard" else Dashboard(module, name)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(MODULES[name])
    except ImportError as error:
        raise ConfigError(
            f"track = {name!r} needs the package {MODULES[name]}: pip install "
            f"{MODULES[name]}."
        ) from error


def scalars(point: Point) -> Iterator[tuple[str, str, float]]:
    """Group, name and value of everything that is recorded of a point.

    The group is "iqm" or "seed_N". Flags and integers become floats.
    """
    for name, values in point.metrics.items():
        numbers = np.asarray(values, np.float64)
        finite = numbers[np.isfinite(numbers)]
        if finite.size:
            yield "iqm", name, float(intervals.iqm(finite))
        for seed, value in list(zip(point.seeds, numbers, strict=True))[:MAX_SEEDS]:
            if np.isfinite(value):
                yield f"seed_{seed}", name, float(value)


class TensorBoard:
    """Writes event files: a directory for the mean, and one for each seed."""

    def __init__(self, module: Any, directory: str | pathlib.Path | None = None):
        """A tracker that writes with tensorboardX.

        Args:
            module: tensorboardX.
            directory: of the event files; None means "tensorboard" in the directory of
                the run.
        """
        self._module = module
        self._directory = pathlib.Path(directory) if directory else None
        self._root = pathlib.Path()
        self._writers: dict[str, Any] = {}
        self._purge: int | None = None

    def start(self, run: RunInfo) -> None:
        """Choose the directory."""
        self._root = self._directory or _directory_of(run) / "tensorboard"
        self._writers = {}
        # Points after the checkpoint of a stopped run are measured again.
        self._purge = None if run.step is None else run.step + 1

    def record(self, point: Point) -> None:
        """Add a scalar to the event file of every group."""
        for group, name, value in scalars(point):
            if group not in self._writers:
                self._writers[group] = self._module.SummaryWriter(
                    str(self._root / group),
                    purge_step=self._purge,
                    # The names of files have the second in which they are created.
                    filename_suffix="" if self._purge is None else f".{self._purge}",
                    flush_secs=FLUSH_SECONDS,
                )
            self._writers[group].add_scalar(name, value, point.step)

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Close the files."""
        del status, summary
        for writer in self._writers.values():
            writer.close()


class Dashboard:
    """Logs to a service with the interface of wandb: init, log and finish."""

    def __init__(self, module: Any, name: str, **options: Any):
        """A tracker that logs with a module.

        Args:
            module: wandb, trackio, or one with the same interface.
            name: of the service, for messages.
            options: arguments of `init`, such as project, group or mode; "project" is
                "jaxq" unless it is given.
        """
        self._module, self._name, self._options = module, name, options

    def start(self, run: RunInfo) -> None:
        """Start a run of the service, or continue that of a run that resumes."""
        options: dict[str, Any] = {"project": PROJECT, "name": _title(run)}
        options |= self._options
        config = dataclasses.asdict(run.config) | {"environment_name": run.environment}
        options = {"resume": "allow", **options}
        if self._name == "wandb" and run.directory:
            options = {
                "dir": str(run.directory), "id": run.directory.name, **options
            }  # fmt: skip
        self._module.init(config=config, **options)

    def record(self, point: Point) -> None:
        """Log all scalars of a point."""
        values = {f"{group}/{name}": value for group, name, value in scalars(point)}
        self._module.log(values, step=point.step)

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """End the run of the service."""
        del summary
        if self._name == "wandb":
            complete = status in ("finished", "diverged")
            self._module.finish(exit_code=0 if complete else 1)
        else:
            self._module.finish()


def _title(run: RunInfo) -> str:
    title = f"{run.config.algorithm}-{run.environment}"
    return f"{title}-{run.directory.name}" if run.directory else title


def _directory_of(run: RunInfo) -> pathlib.Path:
    if run.directory is None:
        raise ConfigError(
            "TensorBoard writes to the directory of a run: give output=, or pass "
            "a TensorBoard with a directory of its own."
        )
    return run.directory
