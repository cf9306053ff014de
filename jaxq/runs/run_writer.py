"""Writes the files of a run: checkpoints, metrics, parameters and status."""

import contextlib
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.runs import checkpoint, curves, files, matplotlib_check, results, resume
from jaxq.runs.page import build
from jaxq.runs.page import run as run_page
from jaxq.training import metrics, pytree_arrays
from jaxq.training import population as populations

MAX_SHARE = 0.05  # of the time spent on writing checkpoints
METRICS_SECONDS = 30.0  # between writes of the metrics if no checkpoints are kept


class RunWriter:
    """Holds the measurements of a run, and writes its files.

    Metrics are written together with the checkpoint and from the same measurements, so
    they always agree with the state from which the run would resume.
    """

    def __init__(
        self,
        config: Config,
        lengths: loop_lengths.LoopLengths,
        manifest: Mapping[str, Any],
        directory: pathlib.Path | None,
        saved: resume.ResumePoint | None = None,
        seconds: float | None = 60.0,
        plot: bool = True,
        figure_format: matplotlib_check.Format = "png",
    ):
        """Start the files of a run, or continue those of `saved`.

        Args:
            config: configuration of the run.
            lengths: its loop lengths.
            manifest: provenance of this process; see `manifest.collect`.
            directory: directory of the run, whose lock the caller holds; None writes
                nothing.
            saved: checkpoint to resume from.
            seconds: minimum between checkpoints; longer if writing them would take more
                than `MAX_SHARE` of the time; None writes no checkpoints.
            plot: whether to draw the learning curve and write report.html.
            figure_format: pdf writes the curve as PDF, beside the PNG.
        """
        self.points: list[metrics.Measurement] = list(saved.points) if saved else []
        self.levels: dict[str, float] = dict(saved.levels) if saved else {}
        self.title = f"{config.algorithm} on {manifest['environment']}"
        self.directory = directory
        self._config, self._lengths = config, lengths
        self._provenance, self._manifest = manifest, dict(manifest)
        self._plot, self._format, self._seconds = plot, figure_format, seconds
        self._last_save, self._save_seconds = time.monotonic(), 0.0
        if not directory:
            return
        files.clear(directory)
        if saved:
            self._manifest = _resumed(directory, manifest)
        results.write_config(directory, config)
        self.write_status("running")

    def write_status(self, status: str) -> None:
        """Write manifest.json with a new status."""
        self._manifest["status"] = status
        if self.directory:
            files.write_json(self.directory / "manifest.json", self._manifest)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        if not self.directory:
            return False
        wait = METRICS_SECONDS if self._seconds is None else self._seconds
        if wait > 0:
            wait = max(wait, self._save_seconds / MAX_SHARE)
        return time.monotonic() - self._last_save >= wait

    def save(self, population: populations.Population | None) -> None:
        """Write a checkpoint, if checkpoints are kept, and the metrics.

        Args:
            population: the states to save; None writes the metrics only.
        """
        if not self.directory:
            return
        started = time.monotonic()
        if population is not None and self._seconds is not None:
            header = resume.header(
                self._config,
                self._provenance,
                population.iterations,
                self.levels,
                self.points,
            )
            arrays = population.arrays() | resume.pack(self.points)
            checkpoint.keep(self.directory, header, arrays)
        self._save_seconds = time.monotonic() - started
        self._write_metrics(self.directory)
        self._last_save = time.monotonic()

    def _write_metrics(self, directory: pathlib.Path) -> None:
        if not self.points:
            return
        arrays = curves.to_arrays(self._config, self._lengths, self.points)
        results.write_curve(directory, self._config, *arrays)
        if self._plot:
            self._write_report(directory, arrays)

    def _write_report(self, directory: pathlib.Path, arrays: results.Arrays) -> None:
        """Draw the learning curve, and write report.html."""
        from jaxq.runs import plots

        plots.learning_curve(
            directory / "curve.png",
            self.title,
            arrays.curve,
            self.levels,
            figure_format=self._format,
        )
        page = run_page.page(
            self.title,
            self._config,
            self._lengths,
            self._manifest,
            arrays,
            self.levels,
        )
        build.write(directory / "report.html", page)

    def finish(
        self,
        population: populations.Population,
        summary: Mapping[str, Any],
        status: str,
    ) -> None:
        """Write all files at the end of a run."""
        if not self.directory:
            return
        self.save(population)
        params = pytree_arrays.flatten(population.params)
        files.write_arrays(self.directory / "params.npz", params)
        files.write_json(self.directory / "summary.json", summary)
        self.write_status(status)

    def abort(
        self, population: populations.Population | None, status: str
    ) -> Exception | None:
        """Save as much as possible of a run that ends early.

        Returns:
            The error that prevented saving, if any; not raised, because the error that
            ended the run matters more.
        """
        failure = None
        try:
            intact = population is not None and population.intact
            self.save(population if intact else None)
        except Exception as error:
            failure = error
        with contextlib.suppress(Exception):
            self.write_status(status)
        return failure


def _resumed(directory: pathlib.Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The original manifest, plus an entry for this resume."""
    original = resume.read_manifest(directory)
    if not original:
        return dict(manifest)
    names = ("command", "commit", "started", "versions", "devices")
    entry = {name: manifest[name] for name in names}
    return {**original, "resumed": [*original.get("resumed", []), entry]}
