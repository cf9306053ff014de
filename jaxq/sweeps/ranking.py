"""Ranking of a sweep's settings, with its uncertainty."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxq.stats import intervals
from jaxq.sweeps.planning import Curves
from jaxq.sweeps.search_space import ParameterRange, Setting

Score = Literal["final", "area"]
WIDE = 20  # ratio of the ends of a list above which its axis is logarithmic
EDGE = 0.05  # fraction of an interval that counts as its end


class RankedSetting(NamedTuple):
    """A setting's scores over its seeds; also a row of settings.csv.

    Statistics are nan if any score is, and the ends of intervals for a single seed.
    """

    setting: int
    iqm: float
    low: float  # of the 95 % interval
    high: float
    mean: float
    median: float
    behind: float  # the best setting's IQM minus this one's, on the same seeds
    behind_low: float
    behind_high: float
    diverged: int  # seeds
    nan_seeds: int  # seeds whose score is nan


class Ranking(NamedTuple):
    """The ranked settings of one environment."""

    environment: str
    rows: list[RankedSetting]
    warnings: list[str]

    @property
    def best(self) -> int:
        """Index of the best setting."""
        return self.rows[0].setting


def scores(curves: Sequence[Curves], score: Score) -> np.ndarray:
    """Final return of the greedy policy, or its mean over the steps; [H, S]."""
    return np.stack(
        [intervals.score(c.steps, c.arrays["eval_return"], score) for c in curves]
    )


def rank(
    values: np.ndarray, diverged: np.ndarray, resamples: int = 2_000
) -> list[RankedSetting]:
    """Settings from the highest IQM to the lowest; those with nan scores come last.

    Seeds are resampled jointly for all settings, as every setting has the same seeds.

    Args:
        values: [H, S] scores.
        diverged: [H] number of seeds that diverged.
        resamples: bootstrap samples.
    """
    draws = intervals.draws(values.shape[1], resamples)
    nan_seeds = np.isnan(values).sum(axis=1)
    point = np.full(len(values), np.nan)
    samples = np.full((len(values), resamples), np.nan)
    for h in np.flatnonzero(nan_seeds == 0):
        point[h] = intervals.iqm(values[h])
        samples[h] = intervals.iqm(values[h][draws], axis=1)
    order = np.lexsort((-values.mean(axis=1), -point, nan_seeds))
    best = order[0]
    low, high = _interval(samples, values.shape[1])
    gap_low, gap_high = _interval(samples[best] - samples, values.shape[1])
    return [
        RankedSetting(
            setting=int(h),
            iqm=point[h],
            low=low[h],
            high=high[h],
            mean=values[h].mean(),
            median=float(np.median(values[h])),
            behind=point[best] - point[h],
            behind_low=gap_low[h],
            behind_high=gap_high[h],
            diverged=int(diverged[h]),
            nan_seeds=int(nan_seeds[h]),
        )
        for h in order
    ]


def _interval(samples: np.ndarray, num_seeds: int) -> np.ndarray:
    """Ends of the 95 % interval of every setting, [2, H]; samples: [H, resamples]."""
    if num_seeds == 1:
        return np.full((2, len(samples)), np.nan)
    return np.percentile(samples, [2.5, 97.5], axis=1)


def varied_fields(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that differ between settings."""
    return [
        name
        for name in settings[0]
        if any(setting[name] != settings[0][name] for setting in settings)
    ]


def edge_warnings(
    settings: Sequence[Setting], best: int, ranges: Sequence[ParameterRange]
) -> list[str]:
    """A warning for every field whose best value is at the edge of its range.

    The edge of a list is its smallest or largest number; that of an interval, the
    outermost twentieth of it.
    """
    intervals_of = {r.field: r for r in ranges if not r.values}
    warnings = []
    for name in varied_fields(settings):
        values = [setting[name] for setting in settings]
        if not all(is_number(value) for value in values) or len(set(values)) < 3:
            continue
        value, low, high = settings[best][name], min(values), max(values)
        if name in intervals_of:
            low, high = intervals_of[name].low, intervals_of[name].high
            share = intervals_of[name].share(value)
        else:
            share = 0.0 if value == low else 1.0 if value == high else 0.5
        if share <= EDGE or share >= 1 - EDGE:
            warnings.append(
                f"the best {name}, {value:.6g}, is at the edge of its range, {low:.6g} "
                f"to {high:.6g}: try {'lower' if share < 0.5 else 'higher'} values."
            )
    return warnings


def nan_warnings(rows: Sequence[RankedSetting]) -> list[str]:
    """A warning if scores are nan, with their number."""
    counts = [row.nan_seeds for row in rows if row.nan_seeds]
    if not counts:
        return []
    return [
        f"{sum(counts)} scores are nan: {len(counts)} of {len(rows)} settings have "
        "such seeds, and are ranked last."
    ]


def is_log(values: np.ndarray, field: str, ranges: Sequence[ParameterRange]) -> bool:
    """Whether a field's axis is logarithmic: as its interval is, or for a wide list."""
    scales = [r.log for r in ranges if r.field == field and not r.values]
    wide = bool(values.min() > 0 and values.max() >= WIDE * values.min())
    return scales[0] if scales else wide


def is_number(value: Any) -> bool:
    """Whether a value is a number (and not a bool)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def format_value(value: Any) -> str:
    """A value as written on a command line."""
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "none"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def format_setting(setting: Mapping[str, Any]) -> str:
    """A setting as text: name=value, ..."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in setting.items())
