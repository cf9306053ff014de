"""What a sweep tells: a ranked table, pictures, warnings, and the best setting."""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxq.config.config import Config
from jaxq.runs import files, results
from jaxq.sweeps import ranking, search_space
from jaxq.sweeps.ranking import Row, Score
from jaxq.sweeps.sweep import (
    SCHEMA,
    Curves,
    Sweep,
)

MAX_PAIRS = 15


class Verdict(NamedTuple):
    """The settings of one environment, ranked."""

    environment: str
    rows: list[Row]
    warnings: list[str]

    @property
    def best(self) -> int:
        """The best setting."""
        return self.rows[0].setting


def judge(tried: Sweep, curves: Sequence[Curves], score: Score) -> list[Verdict]:
    """Rank the settings of every environment."""
    ranges = [search_space.parse(word) for word in tried.ranges]
    found = []
    for name in dict.fromkeys(config.environment for config in tried.configs):
        own = [i for i, c in enumerate(tried.configs) if c.environment == name]
        values = ranking.scores([curves[i] for i in own], score)
        diverged = np.array([curves[i].arrays["diverged"][:, -1].sum() for i in own])
        rows = [
            row._replace(setting=own[row.setting])
            for row in ranking.rank(values, diverged)
        ]
        settings = [tried.settings[i] for i in own]
        best = own.index(rows[0].setting)
        found.append(Verdict(name, rows, ranking.at_edge(settings, best, ranges)))
    return found


def write(
    directory: pathlib.Path,
    tried: Sweep,
    curves: Sequence[Curves],
    verdicts: Sequence[Verdict],
    score: Score,
    plot: bool = True,
) -> None:
    """Write settings.csv, metrics.npz, summary.json and the pictures."""
    write_table(directory, tried, verdicts)
    arrays: dict[str, np.ndarray] = {}
    for number, program in enumerate(tried.programs):
        own = [curves[i] for i in program.settings]
        arrays[f"program{number}/setting"] = np.array(program.settings)
        arrays[f"program{number}/steps"] = own[0].steps
        for name in own[0].arrays:
            values = np.stack([curve.arrays[name] for curve in own])
            arrays[f"program{number}/{name}"] = values
    files.write_arrays(directory / "metrics.npz", arrays)
    summary = {
        "schema": SCHEMA,
        "score": score,
        "num_seeds": tried.base.num_seeds,
        "programs": len(tried.programs),
        "environments": [
            {
                "environment": verdict.environment,
                "warnings": verdict.warnings,
                "ranked": [
                    row._asdict() | {"fields": tried.settings[row.setting]}
                    for row in verdict.rows
                ],
            }
            for verdict in verdicts
        ],
    }
    files.write_json(directory / "summary.json", summary)
    if plot:
        for verdict in verdicts:
            draw(directory, tried, verdict)


def write_table(
    directory: pathlib.Path, tried: Sweep, verdicts: Sequence[Verdict]
) -> None:
    """Write settings.csv, the settings of every environment from best to worst."""
    columns = list(tried.settings[0])
    names = ("rank", "environment", "setting", *columns, *Row._fields[1:])
    rows: list[Sequence[Any]] = [names]
    for verdict in verdicts:
        for place, row in enumerate(verdict.rows, 1):
            setting = tried.settings[row.setting]
            cells = [ranking.text_of(setting[name]) for name in columns]
            numbers = [f"{value:.6g}" for value in row[1:]]
            rows.append([place, verdict.environment, row.setting, *cells, *numbers])
    files.write_csv(directory / "settings.csv", rows)


def draw(directory: pathlib.Path, tried: Sweep, verdict: Verdict) -> None:
    """Draw the score over every field, and over every pair."""
    from jaxq.sweeps import plots

    ranges = [search_space.parse(word) for word in tried.ranges]
    own = [tried.settings[row.setting] for row in verdict.rows]
    title = (
        f"{tried.base.algorithm} on {verdict.environment} "
        f"(n = {tried.base.num_seeds} seeds)"
    )
    several = len({config.environment for config in tried.configs}) > 1
    end = f"-{results.file_name(verdict.environment)}.png" if several else ".png"
    names = [name for name in ranking.fields(own) if name != "environment"]
    for name in names:
        path = directory / f"sensitivity-{name}{end}"
        plots.sensitivity(path, title, name, tried.settings, verdict.rows, ranges)
    for first, second in list(itertools.combinations(names, 2))[:MAX_PAIRS]:
        path = directory / f"pair-{first}-{second}{end}"
        plots.pair(path, title, first, second, tried.settings, verdict.rows, ranges)


def table(tried: Sweep, verdict: Verdict, top: int = 10) -> str:
    """The best settings, in aligned columns."""
    own = [tried.settings[row.setting] for row in verdict.rows]
    names = ranking.fields(own)
    head = ["", *names, "IQM", "95 % interval", "behind the best"]
    lines = [head]
    for place, row in enumerate(verdict.rows[:top], 1):
        setting = tried.settings[row.setting]
        behind = f"{row.behind:.4g} [{row.behind_low:.4g}, {row.behind_high:.4g}]"
        lines.append(
            [
                str(place),
                *(ranking.text_of(setting[name]) for name in names),
                f"{row.iqm:.4g}",
                f"[{row.low:.4g}, {row.high:.4g}]",
                behind if place > 1 else "",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    rest = len(verdict.rows) - top
    return "\n".join(text + ([f"and {rest} more in settings.csv"] if rest > 0 else []))


def confirmation(config: Config, seeds: int) -> Config:
    """The configuration of the best setting on seeds that it was not chosen by."""
    first = config.first_seed + config.num_seeds
    if first + seeds > 2**32:
        first = config.first_seed - seeds
    return dataclasses.replace(config, first_seed=first, num_seeds=seeds)
