"""Point estimates over seeds, with confidence intervals."""

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A statistic with its confidence interval; shaped as the points of the input."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def iqm(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Interquartile mean: the mean without the lowest and the highest quarter.

    Args:
        scores: [seeds, ...], finite.
        axis: of the seeds.

    Reference: Agarwal et al., arXiv:2108.13264, section 4.2.
    """
    # scipy.stats.trim_mean(scores, 0.25), without the 0.7 s that its import takes.
    count = scores.shape[axis]
    middle = np.arange(count // 4, count - count // 4)
    return np.sort(scores, axis=axis).take(middle, axis=axis).mean(axis=axis)


def bootstrap_iqm(
    scores: np.ndarray, confidence: float = 0.95, resamples: int = 2_000
) -> Interval:
    """IQM over seeds with a percentile bootstrap interval.

    Seeds are drawn with replacement, with the same draws for all points of a curve and
    in all calls, so the interval is a function of the scores.

    Args:
        scores: [seeds, ...], finite.
        confidence: coverage of the interval.
        resamples: number of bootstrap samples.

    Raises:
        ValueError: if there are no seeds.
    """
    if scores.shape[0] == 0:
        raise ValueError("scores must have at least one seed, got none")
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
        scores: [..., points].
    """
    if steps.size < 2:
        return scores[..., -1]
    return np.trapezoid(scores, steps, axis=-1) / (steps[-1] - steps[0])
