"""Comparisons against rliable, the definitions and worked examples."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxq.stats import comparisons

X = np.random.default_rng(0).normal(0, 1, (10, 5))
Y = np.random.default_rng(1).normal(0.3, 1.5, (8, 5))

# rliable 1.2.0: the value and its stratified bootstrap interval, 20,000 samples.
RLIABLE = {
    "median": ((0.240683, -0.184034, 0.501765), (0.074006, -0.230702, 0.786981)),
    "IQM": ((0.0825623, -0.187303, 0.377023), (0.386161, 0.0284036, 0.737738)),
    "mean": ((0.128996, -0.113926, 0.366895), (0.304202, -0.127093, 0.712279)),
    "optimality gap": ((0.963028, 0.761016, 1.173121), (0.924229, 0.614456, 1.279389)),
}


@pytest.mark.parametrize("name", RLIABLE)
@pytest.mark.parametrize("group", [0, 1])
def test_aggregates_equal_rliable(name, group):
    scores, (value, low, high) = (X, Y)[group], RLIABLE[name][group]
    statistic = comparisons.AGGREGATES[name]
    np.testing.assert_allclose(statistic(scores), value, rtol=1e-5)
    interval = comparisons.interval(statistic, scores, resamples=4_000)
    assert interval.value == statistic(scores)
    # The draws differ: the ends of an interval of width w vary by about 0.02 w.
    np.testing.assert_allclose(interval[1:], (low, high), atol=0.06 * (high - low))


def test_probability_of_improvement_equals_rliable():
    assert comparisons.probability_of_improvement(X, Y) == pytest.approx(0.42)
    rounded = comparisons.probability_of_improvement(np.round(X), np.round(Y))
    assert rounded == pytest.approx(0.41)  # with ties
    interval = comparisons.interval(
        comparisons.probability_of_improvement, X, Y, resamples=4_000
    )
    np.testing.assert_allclose(interval[1:], (0.3, 0.5425), atol=0.015)


def test_the_performance_profile_equals_rliable():
    levels = np.linspace(-2, 2, 9)
    expected = [0.98, 0.98, 0.9, 0.72, 0.54, 0.32, 0.2, 0.06, 0.0]
    np.testing.assert_allclose(comparisons.profile(X, levels), expected)
    low, high = comparisons.profile_band(X, levels, resamples=2_000)
    np.testing.assert_allclose(
        low, [0.94, 0.94, 0.82, 0.6, 0.4, 0.2, 0.1, 0.0, 0.0], atol=0.021
    )
    np.testing.assert_allclose(
        high, [1.0, 1.0, 0.98, 0.84, 0.66, 0.44, 0.3, 0.12, 0.0], atol=0.021
    )


def test_tasks_are_resampled_independently():
    scores = np.array([[0.0, 100.0], [1.0, 101.0], [2.0, 102.0]])
    generator = np.random.default_rng(0)
    drawn = np.stack([comparisons.resample(scores, generator) for _ in range(50)])
    assert set(drawn[:, :, 0].ravel()) == {0.0, 1.0, 2.0}
    assert set(drawn[:, :, 1].ravel()) == {100.0, 101.0, 102.0}
    assert any((a[:, 0] + 100 != a[:, 1]).any() for a in drawn)


def test_the_iqm_curve_is_the_iqm_of_every_point():
    scores = np.random.default_rng(0).normal(0, 1, (8, 3, 4))  # [runs, tasks, points]
    curve = comparisons.iqm_curve(scores, resamples=2_000)
    for point in range(4):
        expected = comparisons.interval(comparisons.iqm, scores[..., point])
        assert curve.value[point] == pytest.approx(expected.value)
        assert curve.low[point] == pytest.approx(expected.low)  # the same draws
        assert curve.high[point] == pytest.approx(expected.high)
    assert np.isnan(comparisons.iqm_curve(scores[:1]).low).all()


def test_welch_equals_the_formula(rng):
    x, y = rng.normal(0, 1, 7), rng.normal(1, 3, 12)
    se = np.array([x.var(ddof=1) / 7, y.var(ddof=1) / 12])
    freedom = se.sum() ** 2 / (se**2 / [6, 11]).sum()
    t = (x.mean() - y.mean()) / se.sum() ** 0.5
    expected = 2 * stats.t.sf(abs(t), freedom)
    assert comparisons.welch(x, y) == pytest.approx(expected)
    same = np.full(5, 500.0)
    assert comparisons.welch(same, same) == 1.0
    assert comparisons.welch(same, same + 1) == 0.0
    for kind in (np.float32, np.float64):  # 0.99 has no exact mean
        many, few = np.full(30, 0.99, kind), np.full(10, 0.99, kind)
        assert comparisons.welch(many, few) == 1.0


def test_the_permutation_test_counts_partitions(rng):
    x, y = rng.normal(0, 1, 4), rng.normal(1.5, 1, 5)
    both = np.concatenate([x, y])
    observed = abs(x.mean() - y.mean())
    extreme = [
        abs(both[list(rows)].mean() - np.delete(both, rows).mean()) >= observed - 1e-12
        for rows in itertools.combinations(range(9), 4)
    ]
    # scipy doubles the smaller tail, which is the same if the tails are equal.
    p_value = comparisons.permutation(x, y)
    assert p_value == pytest.approx(np.mean(extreme), abs=0.05)
    assert comparisons.permutation(x, x.copy()) == 1.0
    many = comparisons.permutation(rng.normal(0, 1, 20), rng.normal(5, 1, 20))
    assert many == pytest.approx(2 / 10_001, rel=0.01)


def test_holm_equals_the_step_down_procedure():
    # m = 4: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, each at least the previous one.
    adjusted = comparisons.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(comparisons.holm([0.9, 0.8]), [1.0, 1.0])
    assert comparisons.holm([]).size == 0


WITH_NAN = np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 5.0]])
MOMENTS = (0.5, 0.1, 3)


@pytest.mark.parametrize(
    "statistic",
    [
        *comparisons.AGGREGATES.values(),
        lambda x: comparisons.interval(comparisons.iqm, x, resamples=10),
        lambda x: comparisons.probability_of_improvement(x, X[:, :2]),
        lambda x: comparisons.probability_of_improvement(X[:, :2], x),
        lambda x: comparisons.profile(x, np.zeros(2)),
        lambda x: comparisons.profile_band(x, np.zeros(2), resamples=10),
        lambda x: comparisons.welch(x[:, 0], X[:, 0]),
        lambda x: comparisons.permutation(X[:, 0], x[:, 0]),
        lambda x: comparisons.holm(x[:, 0]),
        lambda x: comparisons.welch_of(MOMENTS, (np.nan, 0.1, 3)),
    ],
)
def test_nan_scores_raise(statistic):
    with pytest.raises(ValueError, match=r"1 of \d scores are nan|\d of \d+ scores"):
        statistic(WITH_NAN)


def test_one_run_has_no_interval():
    estimate = comparisons.interval(comparisons.mean, X[:1])
    assert estimate.value == X[:1].mean()
    assert np.isnan([estimate.low, estimate.high]).all()
    improvement = comparisons.probability_of_improvement
    assert np.isnan(comparisons.interval(improvement, X[:1], Y).low)
    low, high = comparisons.profile_band(X[:1], np.zeros(3))
    assert np.isnan([low, high]).all() and low.shape == (3,)
