"""Report on a finished sweep: ranked tables, plots, warnings and the best setting."""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxq.config.config import Config
from jaxq.runs import files, matplotlib_check, results, resume
from jaxq.runs.page import build
from jaxq.stats import intervals
from jaxq.sweeps import page, ranking, search_space
from jaxq.sweeps.planning import SCHEMA, Curves, Sweep
from jaxq.sweeps.ranking import RankedSetting, Ranking, Score

MAX_PAIRS = 15  # of fields, that are plotted


def rank_settings(
    sweep: Sweep, curves: Sequence[Curves], score: Score
) -> list[Ranking]:
    """Rank the settings of every environment."""
    names = dict.fromkeys(config.environment for config in sweep.configs)
    return [_rank_environment(name, sweep, curves, score) for name in names]


def _rank_environment(
    environment: str, sweep: Sweep, curves: Sequence[Curves], score: Score
) -> Ranking:
    indices = [i for i, c in enumerate(sweep.configs) if c.environment == environment]
    selected = [curves[i] for i in indices]
    diverged = np.array([c.arrays["diverged"][:, -1].sum() for c in selected])
    rows = ranking.rank(ranking.scores(selected, score), diverged)
    ranges = [search_space.parse(text) for text in sweep.ranges]
    settings = [sweep.settings[i] for i in indices]
    warnings = ranking.edge_warnings(settings, rows[0].setting, ranges)
    warnings += ranking.nan_warnings(rows)
    rows = [row._replace(setting=indices[row.setting]) for row in rows]
    return Ranking(environment, rows, warnings)


def write(
    directory: pathlib.Path,
    sweep: Sweep,
    curves: Sequence[Curves],
    rankings: Sequence[Ranking],
    score: Score,
    plot: bool = True,
    figure_format: matplotlib_check.Format = "png",
) -> None:
    """Write settings.csv, metrics.npz and summary.json; the plots and report.html."""
    write_table(directory, sweep, rankings)
    files.write_arrays(directory / "metrics.npz", _metrics(sweep, curves))
    files.write_json(directory / "summary.json", _summary(sweep, rankings, score))
    if plot:
        draw(directory, sweep, curves, rankings, score, figure_format)


def _metrics(sweep: Sweep, curves: Sequence[Curves]) -> dict[str, np.ndarray]:
    """The curves of all settings, stacked by program: [H, S, P]."""
    arrays: dict[str, np.ndarray] = {}
    for number, program in enumerate(sweep.programs):
        selected = [curves[i] for i in program.settings]
        arrays[f"program{number}/setting"] = np.array(program.settings)
        arrays[f"program{number}/steps"] = selected[0].steps
        for name in selected[0].arrays:
            values = np.stack([curve.arrays[name] for curve in selected])
            arrays[f"program{number}/{name}"] = values
    return arrays


def _summary(sweep: Sweep, rankings: Sequence[Ranking], score: Score) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "score": score,
        "num_seeds": sweep.base.num_seeds,
        "programs": len(sweep.programs),
        "environments": [
            {
                "environment": environment,
                "warnings": warnings,
                "ranked": [
                    row._asdict() | {"fields": sweep.settings[row.setting]}
                    for row in rows
                ],
            }
            for environment, rows, warnings in rankings
        ],
    }


def write_table(
    directory: pathlib.Path, sweep: Sweep, rankings: Sequence[Ranking]
) -> None:
    """Write settings.csv: the settings of every environment from best to worst."""
    fields = list(sweep.settings[0])
    header = ("rank", "environment", "setting", *fields, *RankedSetting._fields[1:])
    rows: list[Sequence[Any]] = [header]
    for environment, ranked, _ in rankings:
        for place, row in enumerate(ranked, 1):
            setting = sweep.settings[row.setting]
            cells = [_cell(setting[name]) for name in fields]
            rows.append([place, environment, row.setting, *cells, *row[1:]])
    files.write_csv(directory / "settings.csv", rows)


def _cell(value: Any) -> Any:
    """A value that `search_space.parse_value` reads back exactly."""
    return value if isinstance(value, float) else ranking.format_value(value)


def draw(
    directory: pathlib.Path,
    sweep: Sweep,
    curves: Sequence[Curves],
    rankings: Sequence[Ranking],
    score: Score,
    figure_format: matplotlib_check.Format = "png",
) -> None:
    """Plot the scores, and write report.html.

    Args:
        directory: of the sweep.
        sweep: the sweep.
        curves: of every setting; empty if they are not known.
        rankings: of every environment.
        score: the score that settings are ranked by.
        figure_format: see `jaxq.runs.plots.save`.
    """
    for ranked in rankings:
        _draw_environment(directory, sweep, ranked, figure_format)
    write_page(directory, sweep, curves, rankings, score)


def write_page(
    directory: pathlib.Path,
    sweep: Sweep,
    curves: Sequence[Curves],
    rankings: Sequence[Ranking],
    score: Score,
) -> None:
    """Write report.html; see `draw`."""
    provenance = resume.read_manifest(directory)
    content = page.page(sweep, rankings, score, curves, provenance)
    build.write(directory / "report.html", content)


def _draw_environment(
    directory: pathlib.Path,
    sweep: Sweep,
    ranked: Ranking,
    figure_format: matplotlib_check.Format,
) -> None:
    """Plot the score against every varied field, and every pair of them."""
    from jaxq.sweeps import plots

    data = plots.Data(
        title=f"{sweep.base.algorithm} on {ranked.environment} "
        f"(n = {sweep.base.num_seeds} seeds)",
        settings=[sweep.settings[row.setting] for row in ranked.rows],
        rows=ranked.rows,
        ranges=[search_space.parse(text) for text in sweep.ranges],
        figure_format=figure_format,
    )
    several = len({config.environment for config in sweep.configs}) > 1
    suffix = f"-{results.file_name(ranked.environment)}.png" if several else ".png"
    fields = [f for f in ranking.varied_fields(data.settings) if f != "environment"]
    for field in fields:
        path = directory / f"sensitivity-{field}{suffix}"
        plots.sensitivity(path, data, field)
    for first, second in list(itertools.combinations(fields, 2))[:MAX_PAIRS]:
        path = directory / f"pair-{first}-{second}{suffix}"
        plots.pair(path, data, first, second)


def table(sweep: Sweep, ranked: Ranking, top: int = 10) -> str:
    """The best settings, in aligned columns."""
    settings = [sweep.settings[row.setting] for row in ranked.rows]
    fields = ranking.varied_fields(settings)
    lines = [["", *fields, "IQM and 95 % interval", "gap to the best"]]
    if sweep.base.num_seeds == 1:
        lines = [["", *fields, "return", "gap to the best"]]
    for place, row in enumerate(ranked.rows[:top], 1):
        setting = sweep.settings[row.setting]
        gap = intervals.text(row.behind, row.behind_low, row.behind_high)
        lines.append(
            [
                str(place),
                *(ranking.format_value(setting[name]) for name in fields),
                f"nan in {row.nan_seeds} seeds"
                if row.nan_seeds
                else intervals.text(row.iqm, row.low, row.high),
                gap if place > 1 else "",
            ]
        )
    text = _align(lines)
    rest = len(ranked.rows) - top
    return f"{text}\nand {rest} more in settings.csv" if rest > 0 else text


def _align(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text with right-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def confirmation(config: Config, seeds: int) -> Config:
    """The configuration of a setting on held-out seeds."""
    first = config.first_seed + config.num_seeds
    if first + seeds > 2**32:
        first = config.first_seed - seeds
    return dataclasses.replace(config, first_seed=first, num_seeds=seeds)
