"""Sweeps from Python: settings x seeds in the fewest compiled programs."""

import contextlib
import pathlib
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError, UnusedFieldWarning
from jaxq.runs import files, manifest, progress, results, signals
from jaxq.sweeps import (
    effects,
    planning,
    ranking,
    report,
    sampling,
    search_space,
    storage,
    workers,
)
from jaxq.training import blocks

Grid = Mapping[str, Sequence[Any]]


class SweepResult(NamedTuple):
    """Result of a sweep; leading axes [H settings, S seeds]."""

    base: Config
    settings: list[search_space.Setting]  # field -> value
    configs: list[Config]  # of every setting
    curves: list[planning.Curves]  # of every setting, whose points may differ
    directory: pathlib.Path | None

    @property
    def curve(self) -> results.Curve:
        """The curves of all settings, [H, S, P]; `steps` is [P].

        Raises:
            ValueError: if the settings have different points.
        """
        steps = self.curves[0].steps
        if any(not np.array_equal(curves.steps, steps) for curves in self.curves):
            raise ValueError(
                "the settings were evaluated at different steps; use result.curves[i], "
                "with steps [P] and arrays [S, P]"
            )
        stacked = {
            name: np.stack([curves.arrays[name] for curves in self.curves])
            for name in results.Curve._fields
            if name != "steps"
        }
        return results.Curve(steps=steps, **stacked)

    def ranked(self, score: ranking.Score = "final") -> list[ranking.RankedSetting]:
        """The settings from the best to the worst, with intervals; see `ranking`.

        Meaningful for settings of one environment.

        Args:
            score: "final", the last return of the greedy policy, or "area", its mean
                over the steps.
        """
        values = ranking.scores(self.curves, score)
        diverged = [curves.arrays["diverged"][:, -1].sum() for curves in self.curves]
        return ranking.rank(values, np.array(diverged))

    @property
    def best(self) -> Config:
        """The configuration with the highest final return; confirm it on new seeds."""
        return self.configs[self.ranked()[0].setting]

    def to_pandas(self) -> Any:
        """The curves as a DataFrame with a row per setting, seed and point.

        Raises:
            ImportError: if pandas is not installed.
        """
        frames = []
        pandas = results.import_pandas()
        for number, (setting, curves) in enumerate(
            zip(self.settings, self.curves, strict=True)
        ):
            arrays = {name: curves.arrays[name] for name in _MEASURED}
            curve = results.Curve(steps=curves.steps, **arrays)
            named = {*_MEASURED, "eval_returns"}
            extra = {k: v for k, v in curves.arrays.items() if k not in named}
            columns = results.table(self.base, curve, extra)
            length = len(columns["seed"])
            fields: dict[str, Any] = {"setting": np.repeat(number, length)}
            fields |= {name: [value] * length for name, value in setting.items()}
            frames.append(pandas.DataFrame(fields | columns))
        return pandas.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        lines = [
            f"{len(self.settings)} settings x {self.base.num_seeds} seeds of "
            f"{self.base.algorithm} on {self.base.environment}"
        ]
        for row in self.ranked()[:_SHOWN]:
            setting = self.settings[row.setting]
            words = " ".join(f"{name}={value}" for name, value in setting.items())
            interval = "" if np.isnan(row.low) else f" [{row.low:.4g}, {row.high:.4g}]"
            lines.append(f"  IQM {row.iqm:.4g}{interval}  {words}")
        if len(self.settings) > _SHOWN:
            lines.append(f"  and {len(self.settings) - _SHOWN} more")
        return "\n".join([*lines, f"directory: {self.directory or 'none'}"])


_SHOWN = 5
_MEASURED = tuple(name for name in results.Curve._fields if name != "steps")


def sweep(
    config: Config,
    grid: Grid | Sequence[Mapping[str, Any]],
    *,
    output: str | pathlib.Path | None = None,
    force_resume: bool = False,
    show_progress: bool = False,
    devices: list[jax.Device] | None = None,
) -> SweepResult:
    """Train every setting with all seeds of a configuration.

    Settings that differ only in traced fields share one compiled program. Each seed
    gives the same bits as in a single run whose block has the same width.

    Args:
        config: the configuration that settings change.
        grid: field -> values, of which every combination is trained; or a list of
            settings, field -> value. "env.NAME" is a parameter of the environment.
        output: root directory of results. The same sweep gets the same directory, and
            its finished blocks are not trained again. It gets the files of
            experiments/sweep.py, except the plots. None keeps no files.
        force_resume: resume even if versions or devices differ.
        show_progress: print the plan and a progress bar.
        devices: one per worker; None uses `blocks.workers()`.

    Raises:
        ConfigError: for an unknown field, a setting that cannot run, or a field that is
            swept without effect; before anything is compiled.
        signals.Stopped: on Ctrl-C or SIGTERM; with `output`, the same call resumes.

    Warns:
        fields.UnusedFieldWarning: if settings are left out that differ from others only
            in fields without effect.
    """
    settings = settings_of(grid)
    for setting in settings:
        search_space.check_setting(config, setting)
    found = [effects.effect(config, setting) for setting in settings]
    effects.check_swept(settings, found)
    settings, note = effects.distinct(settings, found)
    if note:
        warnings.warn(note, UnusedFieldWarning, stacklevel=2)
    devices = devices or blocks.workers()
    plan = planning.plan(config, settings, [], devices)
    with contextlib.ExitStack() as stack:
        if output is None:
            root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            root = pathlib.Path(output)
        directory = planning.directory(root, "sweep", plan.base, plan.settings)
        directory.mkdir(parents=True, exist_ok=True)
        stack.enter_context(files.Lock(directory))
        plan, curves = _train(plan, directory, devices, force_resume, show_progress)
        if output is not None:
            rankings = report.rank_settings(plan, curves, "final")
            report.write(directory, plan, curves, rankings, "final", plot=False)
            report.write_page(directory, plan, curves, rankings, "final")
    kept = directory if output is not None else None
    return SweepResult(plan.base, plan.settings, plan.configs, curves, kept)


def settings_of(
    grid: Grid | Sequence[Mapping[str, Any]],
) -> list[search_space.Setting]:
    """The settings of a grid or of a list, with aliases resolved."""
    if isinstance(grid, Mapping):
        ranges = []
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise ConfigError(
                    f"{name} = {values!r} is not a list of values: write "
                    f"{{{name!r}: [{values!r}]}}."
                )
            choices = tuple(_plain(value) for value in values)
            ranges.append(search_space.ParameterRange(_field(name), choices))
        if not ranges or not all(r.values for r in ranges):
            raise ConfigError(f"grid = {dict(grid)!r} has no settings.")
        return sampling.grid(ranges)
    settings = [
        {_field(name): _plain(value) for name, value in setting.items()}
        for setting in grid
    ]
    if not settings or not all(settings):
        raise ConfigError(f"grid = {list(grid)!r} has no settings.")
    if any(setting.keys() != settings[0].keys() for setting in settings):
        raise ConfigError("the settings of a sweep must give the same fields.")
    return settings


def _field(name: str) -> str:
    field = search_space.canonical(name)
    search_space.check_field(field)
    return field


def _plain(value: Any) -> Any:
    """A value without NumPy's types, and with tuples in place of lists."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


def _train(
    plan: planning.Sweep,
    directory: pathlib.Path,
    devices: list[jax.Device],
    force_resume: bool,
    show_progress: bool,
) -> tuple[planning.Sweep, list[planning.Curves]]:
    """Train the blocks that are missing in a directory, whose lock the caller holds."""
    names = {program.env.spec.name for program in plan.programs}
    record = manifest.collect(", ".join(sorted(names)), devices, 0)
    plan = storage.start_or_resume(plan, directory, record, devices, force_resume)
    total = sum(plan.steps(job) for job in plan.jobs)
    with signals.Stopper() as stop, progress.Progress(total, 1, show_progress) as bar:
        bar.print(planning.describe(plan))
        workers.train(plan, directory, devices, (0, 1), bar, stop)
    storage.clean_up(directory, plan)
    return plan, storage.load_curves(directory, plan)
