"""Comparisons of algorithms over tasks and seeds.

Scores are [runs, tasks], normalised so that they can be averaged over tasks. Runs of
different tasks are independent. Scores that are nan raise a ValueError.

Reference: Agarwal et al., arXiv:2108.13264 (IQM, optimality gap, stratified bootstrap,
performance profiles, probability of improvement).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxq.stats import intervals
from jaxq.stats.intervals import check_no_nan


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean over tasks of the mean over runs; [..., runs, tasks] -> [...]."""
    check_no_nan(scores)
    return scores.mean(axis=(-2, -1))


def median(scores: np.ndarray) -> np.ndarray:
    """Median over tasks of the mean over runs; [..., runs, tasks] -> [...]."""
    check_no_nan(scores)
    return np.median(scores.mean(axis=-2), axis=-1)


def iqm(scores: np.ndarray) -> np.ndarray:
    """Interquartile mean over runs and tasks together; [..., runs, tasks] -> [...]."""
    flat = scores.reshape(*scores.shape[:-2], -1)
    return intervals.iqm(flat, axis=flat.ndim - 1)


def optimality_gap(scores: np.ndarray, target: float = 1.0) -> np.ndarray:
    """Mean shortfall from a target score; [..., runs, tasks] -> [...]."""
    check_no_nan(scores)
    return target - np.minimum(scores, target).mean(axis=(-2, -1))


AGGREGATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "IQM": iqm,
    "median": median,
    "mean": mean,
    "optimality gap": optimality_gap,
}


class Estimate(NamedTuple):
    """A point estimate with its confidence interval; nan if there is none."""

    value: float
    low: float
    high: float


def resample(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Stratified bootstrap sample: runs are resampled independently for each task.

    Args:
        scores: [runs, tasks, ...]; a run is drawn with all of its points.
        generator: of the draws.
    """
    rows = generator.integers(scores.shape[0], size=scores.shape[:2])
    rows = rows.reshape(rows.shape + (1,) * (scores.ndim - 2))
    return np.take_along_axis(scores, rows, axis=0)


def interval(
    statistic: Callable[..., np.ndarray],
    *groups: np.ndarray,
    resamples: int = 2_000,
    confidence: float = 0.95,
) -> Estimate:
    """Stratified bootstrap interval of a statistic of one or more groups of scores.

    There is none if a group has a single run.

    Args:
        statistic: function of as many score arrays as there are groups.
        groups: [runs, tasks] each, resampled independently.
        resamples: number of bootstrap samples, whose draws are fixed.
        confidence: coverage of the percentile interval.
    """
    value = float(statistic(*groups))
    if min(len(scores) for scores in groups) == 1:
        return Estimate(value, np.nan, np.nan)
    generator = np.random.default_rng(0)
    samples = [
        float(statistic(*(resample(scores, generator) for scores in groups)))
        for _ in range(resamples)
    ]
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Estimate(value, float(low), float(high))


def iqm_curve(scores: np.ndarray, resamples: int = 500) -> intervals.Interval:
    """IQM over runs and tasks together at every point, with its stratified interval.

    A single run has no interval.

    Args:
        scores: [runs, tasks, points], normalised.
        resamples: number of bootstrap samples, whose draws are fixed.
    """
    value = iqm(np.moveaxis(scores, -1, 0))
    if len(scores) == 1:
        none = np.full(value.shape, np.nan)
        return intervals.Interval(value, none, none)
    generator = np.random.default_rng(0)
    samples = [
        iqm(np.moveaxis(resample(scores, generator), -1, 0)) for _ in range(resamples)
    ]
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    return intervals.Interval(value, low, high)


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Mean over tasks of P(X > Y) + P(X = Y) / 2, the Mann-Whitney statistic.

    Args:
        ours: X, [runs, tasks].
        theirs: Y, [runs, tasks].
    """
    check_no_nan(ours, theirs)
    better = ours[:, None] > theirs[None]
    tied = ours[:, None] == theirs[None]
    return (better + 0.5 * tied).mean()


def profile(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Performance profile: share of all runs above each level; [levels]."""
    check_no_nan(scores)
    return (scores[None] > levels[:, None, None]).mean(axis=(1, 2))


def profile_band(
    scores: np.ndarray, levels: np.ndarray, resamples: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the pointwise 95 % stratified bootstrap band of a profile; [levels].

    They are nan if there is a single run.
    """
    if len(scores) == 1:
        return np.full(levels.size, np.nan), np.full(levels.size, np.nan)
    generator = np.random.default_rng(0)
    samples = [profile(resample(scores, generator), levels) for _ in range(resamples)]
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    return low, high


def welch(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Two-sided p-value of Welch's t-test for equal means; [runs] each, at least two.

    If both variances are zero, it is 1 for equal means and 0 for different ones.
    """
    check_no_nan(ours, theirs)

    def moments(scores: np.ndarray) -> tuple[float, float, int]:
        if np.ptp(scores) == 0:  # their computed mean would be rounded
            return float(scores[0]), 0.0, scores.size
        return scores.mean(), scores.std(ddof=1), scores.size

    return welch_of(moments(ours), moments(theirs))


def welch_of(ours: tuple[float, float, int], theirs: tuple[float, float, int]) -> float:
    """`welch` from the mean, sample standard deviation and number of runs of each."""
    from scipy import stats

    check_no_nan(np.array([*ours, *theirs]))
    if ours[1] == theirs[1] == 0:
        return float(ours[0] == theirs[0])
    return float(stats.ttest_ind_from_stats(*ours, *theirs, equal_var=False).pvalue)


def permutation(ours: np.ndarray, theirs: np.ndarray, resamples: int = 10_000) -> float:
    """Two-sided p-value of the permutation test of a difference in means; [runs] each.

    Exact if there are at most `resamples` partitions of the runs; otherwise from random
    partitions with fixed draws, to which the observed one is added.
    """
    from scipy import stats

    check_no_nan(ours, theirs)

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return x.mean(axis=axis) - y.mean(axis=axis)

    test = stats.permutation_test(
        (ours, theirs),
        difference,
        n_resamples=resamples,
        vectorized=True,
        alternative="two-sided",
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values adjusted for multiple comparisons by Holm's step-down procedure.

    The i-th smallest of m, with p_(j) the j-th smallest, becomes
    min(1, max_{j <= i} (m - j + 1) p_(j)).

    Reference: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    values = np.asarray(p_values, float)
    check_no_nan(values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
