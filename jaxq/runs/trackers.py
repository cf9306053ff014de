"""Trackers: objects and functions that follow a run, called on the host.

They are called at every point of the curve, between compiled calls: nothing of them
enters the compiled loop, and results do not depend on them.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.types import PyTree


class RunInfo(NamedTuple):
    """A run that starts."""

    config: Config
    environment: str  # its display name
    directory: pathlib.Path | None
    step: int | None  # of the last point before; None unless the run resumes


class Point(NamedTuple):
    """One point of the learning curve."""

    step: int  # environment steps per seed
    seeds: np.ndarray  # [S] their numbers
    metrics: Mapping[str, np.ndarray]  # name -> [S]: the columns of metrics.csv
    params: Callable[[], PyTree]  # () -> those of all seeds; only during `record`


class Tracker(Protocol):
    """Follows a run."""

    def start(self, run: RunInfo) -> None:
        """The run starts or resumes; called before its first point."""

    def record(self, point: Point) -> None:
        """A point was measured.

        An error ends the run; when it resumes, the same point is recorded again.
        """

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """The run ends.

        Args:
            status: "finished", "diverged", "interrupted" or "failed".
            summary: the content of summary.json; empty unless the run is complete.
        """


class Callback(NamedTuple):
    """A function of every point, as a tracker."""

    function: Callable[[Point], object]

    def start(self, run: RunInfo) -> None:
        """Does nothing."""
        del run

    def record(self, point: Point) -> None:
        """Call the function."""
        self.function(point)

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Does nothing."""
        del status, summary


def as_trackers(trackers: Sequence[Tracker | Callable[[Point], object]]) -> list[Any]:
    """Trackers, with functions wrapped as `Callback`.

    Raises:
        ConfigError: for an object that is neither.
    """
    result: list[Any] = []
    for tracker in trackers:
        if all(hasattr(tracker, name) for name in ("start", "record", "finish")):
            result.append(tracker)
        elif callable(tracker) and not isinstance(tracker, type):
            result.append(Callback(tracker))
        else:
            raise ConfigError(
                f"trackers: {tracker!r} is neither a function of a point nor an object "
                "with start, record and finish; see jaxq.runs.trackers.Tracker."
            )
    return result
