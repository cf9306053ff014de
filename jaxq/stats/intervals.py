"""Point estimates over seeds, with confidence intervals."""

import math
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A statistic with its confidence interval; shaped as the points of the input.

    The ends are nan where a single seed gives no interval.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


NONE = Interval(*(np.array(np.nan) for _ in range(3)))  # of scores that are nan


def check_no_nan(*groups: np.ndarray) -> None:
    """Raise for scores that are nan: sorting would rank them above all others.

    Raises:
        ValueError: with their number.
    """
    for scores in groups:
        count = int(np.isnan(scores).sum())
        if count:
            raise ValueError(
                f"{count} of {np.size(scores)} scores are nan; leave them out, or give "
                "them a number"
            )


def iqm(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Interquartile mean: the mean without the lowest and the highest quarter.

    Args:
        scores: [seeds, ...], without nan.
        axis: of the seeds.

    Raises:
        ValueError: for scores that are nan.

    Reference: Agarwal et al., arXiv:2108.13264, section 4.2.
    """
    check_no_nan(scores)
    # scipy.stats.trim_mean(scores, 0.25), without the 0.7 s that its import takes.
    count = scores.shape[axis]
    middle = np.arange(count // 4, count - count // 4)
    return np.sort(scores, axis=axis).take(middle, axis=axis).mean(axis=axis)


def bootstrap_iqm(
    scores: np.ndarray, confidence: float = 0.95, resamples: int = 2_000
) -> Interval:
    """IQM over seeds with a percentile bootstrap interval; one seed has no interval.

    Seeds are drawn with replacement, with the same draws for all points of a curve and
    in all calls, so the interval is a function of the scores.

    Args:
        scores: [seeds, ...], without nan.
        confidence: coverage of the interval.
        resamples: number of bootstrap samples.

    Raises:
        ValueError: if there are no seeds, or for scores that are nan.
    """
    if scores.shape[0] == 0:
        raise ValueError("scores must have at least one seed, got none")
    check_no_nan(scores)
    if scores.shape[0] == 1:
        none = np.full(scores.shape[1:], np.nan)
        return Interval(iqm(scores), none, none)
    resampled = draws(scores.shape[0], resamples)
    flat = scores.reshape(scores.shape[0], -1)
    # One point at a time, to avoid an array [resamples, seeds, points].
    samples = np.stack([iqm(column[resampled], axis=1) for column in flat.T], axis=-1)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(samples, [tail, 100 - tail], axis=0)
    shape = scores.shape[1:]
    return Interval(iqm(scores), low.reshape(shape), high.reshape(shape))


def draws(num_seeds: int, resamples: int) -> np.ndarray:
    """Seed indices of the bootstrap samples, fixed; [resamples, num_seeds]."""
    generator = np.random.default_rng(0)
    return generator.integers(num_seeds, size=(resamples, num_seeds))


def text(value: float, low: float, high: float, label: str = " ") -> str:
    """A statistic and its interval, if it has one, such as `14 [12, 16]`.

    Args:
        value: of the statistic.
        low, high: ends of the interval, or nan.
        label: between the value and the interval.
    """
    return f"{value:.4g}" + (
        "" if math.isnan(low) else f"{label}[{low:.4g}, {high:.4g}]"
    )


def describe(scores: np.ndarray, resamples: int = 2_000, label: str = " ") -> str:
    """The IQM of scores [seeds] with its interval, or how many of them are nan."""
    missing = int(np.isnan(scores).sum())
    if missing:
        return f"nan in {missing} of {scores.size} seeds"
    value, low, high = (float(x) for x in bootstrap_iqm(scores, resamples=resamples))
    return ("IQM " if scores.size > 1 else "") + text(value, low, high, label)


def score(steps: np.ndarray, curves: np.ndarray, kind: str) -> np.ndarray:
    """Score of each learning curve: its last value or its mean height.

    Args:
        steps: [points].
        curves: [..., points].
        kind: "final" for the last value, "area" for the mean height.
    """
    return curves[..., -1] if kind == "final" else area_under_curve(steps, curves)


def area_under_curve(steps: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean height of a curve: its integral over steps, divided by their range.

    Args:
        steps: [points].
        scores: [..., points]; nan at any point gives nan.
    """
    if steps.size < 2:
        return scores[..., -1]
    return np.trapezoid(scores, steps, axis=-1) / (steps[-1] - steps[0])
