"""What a run keeps: in memory while it goes, and in its directory now and then."""

import contextlib
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from jaxq.config.config import Config
from jaxq.runs import checkpoint, curves, files, results, resume
from jaxq.training import pytree_arrays
from jaxq.training.population import Measurement, Population

SHARE = 0.05  # of the time that checkpoints may take


class RunWriter:
    """The measurements of a run, and its files.

    Metrics are rewritten together with the checkpoint, from the same measurements, so
    what the files say never disagrees with the state to go on from.
    """

    def __init__(
        self,
        config: Config,
        manifest: Mapping[str, Any],
        width: int,
        title: str,
        directory: pathlib.Path | None,
        saved: resume.ResumePoint | None = None,
        seconds: float | None = 60.0,
        plot: bool = True,
    ):
        """Begin the files of a run, or go on with those of `saved`.

        Args:
            config: what is run.
            manifest: what its numbers depend on besides.
            width: of a block of seeds.
            title: of the plot.
            directory: of the run, which the process must hold; None writes nothing.
            saved: what is gone on from.
            seconds: between checkpoints, unless they take more than `SHARE` of the
                time; None keeps none.
            plot: draw the learning curve.
        """
        self.points: list[Measurement] = list(saved.points) if saved else []
        self.levels: dict[str, float] = dict(saved.levels) if saved else {}
        self.directory = directory
        self._config, self._width = config, width
        self._made_with, self._manifest = manifest, dict(manifest)
        self._title, self._plot, self._seconds = title, plot, seconds
        self._last, self._took = time.monotonic(), 0.0
        if not directory:
            return
        files.clear(directory)
        if saved:
            self._manifest = _resumed(directory, manifest)
        results.write_config(directory, config)
        self.status("running")

    def status(self, status: str) -> None:
        """Say how the run stands."""
        self._manifest["status"] = status
        if self.directory:
            files.write_json(self.directory / "manifest.json", self._manifest)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        if not self.directory:
            return False
        wait = 30.0 if self._seconds is None else self._seconds
        if wait > 0:
            wait = max(wait, self._took / SHARE)
        return time.monotonic() - self._last >= wait

    def save(self, population: Population | None) -> None:
        """Write a checkpoint, where one is wanted, and the metrics."""
        if not self.directory:
            return
        began = time.monotonic()
        if population is not None and self._seconds is not None:
            said = resume.about(
                self._config, self._made_with, self._width, population.iterations,
                self.levels, self.points,
            )  # fmt: skip
            arrays = population.arrays() | resume.pack(self.points)
            checkpoint.keep(self.directory, said, arrays)
        self._took = time.monotonic() - began
        self._save_metrics(self.directory)
        self._last = time.monotonic()

    def _save_metrics(self, directory: pathlib.Path) -> None:
        if not self.points:
            return
        arrays = curves.to_arrays(self._config, self.points)
        results.write_curve(directory, self._config, *arrays)
        if self._plot:
            from jaxq.runs import plots

            path = directory / "curve.png"
            plots.learning_curve(path, self._title, arrays.curve, self.levels)

    def finish(
        self, population: Population, summary: Mapping[str, Any], status: str
    ) -> None:
        """Write everything at the end."""
        if not self.directory:
            return
        self.save(population)
        params = pytree_arrays.flatten(population.params)
        files.write_arrays(self.directory / "params.npz", params)
        files.write_json(self.directory / "summary.json", summary)
        self.status(status)

    def abort(self, population: Population | None, status: str) -> Exception | None:
        """Keep what can be kept of a run that ends early.

        Returns:
            What kept it from being saved; the cause of the end matters more.
        """
        failure = None
        try:
            intact = population is not None and population.intact
            self.save(population if intact else None)
        except Exception as error:
            failure = error
        with contextlib.suppress(Exception):
            self.status(status)
        return failure


def _resumed(directory: pathlib.Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the run's beginning, with what goes on with it."""
    first = resume.read_manifest(directory)
    if not first:
        return dict(manifest)
    kept = ("command", "commit", "started", "versions", "devices")
    again = {name: manifest[name] for name in kept}
    return {**first, "resumed": [*first.get("resumed", []), again]}
