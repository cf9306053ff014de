"""The page of a sweep: curves of the best settings, parallel coordinates, ranking."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxq.runs.page import build
from jaxq.runs.page import curves as curve_sections
from jaxq.runs.page import run as run_page
from jaxq.stats import intervals
from jaxq.sweeps import ranking, search_space
from jaxq.sweeps.planning import Curves, Sweep

TOP = 7  # settings that have curves, one per colour
SHOWN = 3  # of these, until others are ticked
STATISTICS = {
    "iqm": "IQM",
    "low": "95 % low",
    "high": "95 % high",
    "behind": "gap to the best",
    "mean": "mean",
    "median": "median",
    "diverged": "diverged seeds",
    "nan_seeds": "nan seeds",
}
SCORES = {"final": "final return", "area": "mean return over the steps"}


def page(
    sweep: Sweep,
    rankings: Sequence[ranking.Ranking],
    score: ranking.Score,
    curves: Sequence[Curves],
    manifest: Mapping[str, Any],
) -> build.Page:
    """The page of a sweep.

    Args:
        sweep: the sweep.
        rankings: of every environment.
        score: the score that settings are ranked by.
        curves: of every setting; empty if they are not known.
        manifest: its provenance.
    """
    sections: list[build.Section] = []
    warnings = []
    for ranked in rankings:
        suffix = f" on {ranked.environment}" if len(rankings) > 1 else ""
        fields = _fields(sweep, ranked)
        table = _table(sweep, ranked, fields, suffix, len(rankings))
        if fields:
            index = len(sections) + 1
            sections.append(_parallel(sweep, ranked, fields, table, index, suffix))
        sections.append(table)
        if curves:
            room = curve_sections.CURVE_BYTES // len(rankings)
            sections.append(_best_curves(sweep, ranked, curves, suffix, room))
        warnings += [f"{text}{suffix}" for text in ranked.warnings]
    return build.Page(
        f"Sweep of {sweep.base.algorithm} on "
        f"{', '.join(ranked.environment for ranked in rankings)}",
        _headline(sweep, rankings, score),
        warnings,
        run_page.facts(manifest),
        [*sections, *run_page.configuration(sweep.base, sweep.settings[0])],
    )


def _headline(
    sweep: Sweep, rankings: Sequence[ranking.Ranking], score: ranking.Score
) -> str:
    seeds = sweep.base.num_seeds
    text = f"{len(sweep.settings)} settings x {seeds} seeds, ranked by {SCORES[score]}"
    if len(rankings) > 1:
        return text
    best = rankings[0].rows[0]
    value = intervals.text(best.iqm, best.low, best.high, ", 95 % CI ")
    setting = ranking.format_setting(sweep.settings[best.setting])
    return f"{text}. The best: {setting}, {value}, biased upwards by the selection."


def _fields(sweep: Sweep, ranked: ranking.Ranking) -> list[str]:
    settings = [sweep.settings[row.setting] for row in ranked.rows]
    return [f for f in ranking.varied_fields(settings) if f != "environment"]


def _best_curves(
    sweep: Sweep,
    ranked: ranking.Ranking,
    curves: Sequence[Curves],
    suffix: str,
    room: int,
) -> build.Section:
    fields, best = _fields(sweep, ranked), ranked.rows[:TOP]
    series: list[dict[str, Any]] = []
    for place, row in enumerate(best):
        setting = {name: sweep.settings[row.setting][name] for name in fields}
        label = f"{place + 1}: {ranking.format_setting(setting)}"[: build.MAX_TEXT]
        series.append({"label": label, "color": place, "bold": True})
        series[-1]["off"] = place >= SHOWN
    names = [name for name in curve_sections.LABELS if name in curves[0].arrays]
    charts = [
        curve_sections.Chart(
            name,
            [
                curve_sections.Curve(
                    place, curves[row.setting].steps, curves[row.setting].arrays[name]
                )
                for place, row in enumerate(best)
            ],
            wide=not i,
        )
        for i, name in enumerate(names)
    ]
    heading = f"Curves of the best {len(best)} settings{suffix}"
    notes = ["Lines are IQMs over seeds, with 95 % intervals."]
    if sweep.base.num_seeds == 1:
        notes = ["Lines are of one seed, and have no interval."]
    return curve_sections.statistics(heading, series, charts, notes, room)


def _table(
    sweep: Sweep,
    ranked: ranking.Ranking,
    fields: Sequence[str],
    suffix: str,
    share: int,
) -> build.Section:
    """The settings from best to worst; fields first, then statistics."""
    is_number = {name: _is_numeric(sweep, ranked, name) for name in fields}
    rows = []
    for place, row in enumerate(ranked.rows, 1):
        setting = sweep.settings[row.setting]
        values = [
            setting[name] if is_number[name] else ranking.format_value(setting[name])
            for name in fields
        ]
        statistics = [getattr(row, name) for name in STATISTICS]
        rows.append([place, *values, *statistics])
    columns = ["rank", *fields, *STATISTICS.values()]
    room = 2 * build.TABLE_BYTES // share
    heading = f"Settings{suffix}"
    return build.table(heading, columns, rows, (), "settings.csv", room)


def _is_numeric(sweep: Sweep, ranked: ranking.Ranking, field: str) -> bool:
    values = [sweep.settings[row.setting][field] for row in ranked.rows]
    return all(ranking.is_number(value) for value in values)


def _parallel(
    sweep: Sweep,
    ranked: ranking.Ranking,
    fields: Sequence[str],
    table: build.Section,
    index: int,
    suffix: str,
) -> build.Section:
    """Parallel coordinates of a table of settings.

    Args:
        sweep: the sweep.
        ranked: its ranked settings.
        fields: that vary, in the order of the table's columns.
        table: the table.
        index: of the table among the sections.
        suffix: of the heading.
    """
    ranges = [search_space.parse(text) for text in sweep.ranges]
    axes: list[dict[str, Any]] = []
    for column, name in enumerate(fields, 1):
        values = [row[column] for row in table["rows"]]
        axis = {"name": name, "column": column, "log": False, "labels": None}
        if _is_numeric(sweep, ranked, name):
            axis["log"] = ranking.is_log(np.array(values, float), name, ranges)
        else:
            axis["labels"] = sorted(set(values))
        axes.append(axis)
    score = {"name": "IQM", "column": len(fields) + 1, "log": False, "labels": None}
    return {
        "kind": "parallel",
        "heading": f"Parallel coordinates{suffix}",
        "table": index,
        "axes": [*axes, score],
        "notes": table["notes"],
    }
