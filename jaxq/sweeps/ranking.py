"""Which setting of a sweep is best, how sure that is, and what it depends on."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxq.stats import intervals
from jaxq.sweeps import search_space
from jaxq.sweeps.sweep import Curves

Score = Literal["final", "area"]


class Row(NamedTuple):
    """What the table says of a setting."""

    setting: int
    iqm: float
    low: float  # of the 95 % interval
    high: float
    mean: float
    median: float
    behind: float  # IQM of the best less this one's, on the same seeds
    behind_low: float
    behind_high: float
    diverged: int


def scores(curves: Sequence[Curves], score: Score) -> np.ndarray:
    """Return of the greedy policy in the end, or its mean over the steps; [H, S]."""
    return np.stack(
        [intervals.score(c.steps, c.arrays["eval_return"], score) for c in curves]
    )


def rank(values: np.ndarray, diverged: np.ndarray, resamples: int = 2_000) -> list[Row]:
    """Settings from the best IQM to the worst.

    Seeds are resampled together for all settings, as every setting had the same ones.

    Args:
        values: [H, S] scores.
        diverged: [H] seeds that diverged.
        resamples: bootstrap samples.
    """
    draws = intervals.draws(values.shape[1], resamples)
    samples = np.stack([intervals.iqm(row[draws], axis=1) for row in values])
    point = intervals.iqm(values, axis=1)
    order = np.lexsort((-values.mean(axis=1), -point))
    best = order[0]
    low, high = np.percentile(samples, [2.5, 97.5], axis=1)
    apart = np.percentile(samples[best] - samples, [2.5, 97.5], axis=1)
    return [
        Row(
            int(h),
            point[h],
            low[h],
            high[h],
            values[h].mean(),
            float(np.median(values[h])),
            point[best] - point[h],
            apart[0][h],
            apart[1][h],
            int(diverged[h]),
        )
        for h in order
    ]


def fields(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that are not the same in all settings."""
    return [
        name
        for name in settings[0]
        if any(setting[name] != settings[0][name] for setting in settings)
    ]


def at_edge(
    settings: Sequence[search_space.Setting],
    best: int,
    ranges: Sequence[search_space.ParameterRange],
) -> list[str]:
    """Where the best setting lies at the end of what was tried, in words.

    The end of a list is its smallest or largest number, that of an interval a twentieth
    of it.
    """
    known = {r.field: r for r in ranges if not r.values}
    found = []
    for name in fields(settings):
        value, tried = settings[best][name], [setting[name] for setting in settings]
        if not all(is_number(item) for item in tried) or len(set(tried)) < 3:
            continue
        low, high, share = min(tried), max(tried), 0.5
        if name in known:
            low, high = known[name].low, known[name].high
            share = known[name].share(value)
        elif low < high:
            share = 0.0 if value == low else 1.0 if value == high else 0.5
        if 0.05 < share < 0.95:
            continue
        found.append(
            f"the best {name}, {value:.6g}, lies at the end of what was tried, "
            f"{low:.6g} to {high:.6g}: try {'less' if share < 0.5 else 'more'}."
        )
    return found


def is_number(value: Any) -> bool:
    """Whether a value has a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: Any) -> str:
    """A value as it is written on a command line."""
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "none"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def text_of_all(setting: Mapping[str, Any]) -> str:
    """A setting in words."""
    return ", ".join(f"{name}={text_of(value)}" for name, value in setting.items())
