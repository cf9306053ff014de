import numpy as np
import pytest
import scipy.stats

from jaxq.stats import intervals


def test_iqm_equals_rliable():
    # rliable 1.2.0 on the same scores: default_rng(0).normal(0, 1, (10, 5)).
    scores = np.random.default_rng(0).normal(0, 1, (10, 5)).reshape(-1)
    np.testing.assert_allclose(intervals.iqm(scores), 0.0826, atol=1e-4)


def test_iqm_drops_a_quarter_at_each_end():
    scores = np.array([[-100.0], [1.0], [2.0], [1000.0]])
    assert intervals.iqm(scores)[0] == 1.5


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 10, 30, 101])
def test_iqm_equals_the_trimmed_mean(count):
    scores = np.random.default_rng(count).normal(size=(3, count, 2))
    np.testing.assert_allclose(
        intervals.iqm(scores, axis=1),
        scipy.stats.trim_mean(scores, 0.25, axis=1),
        rtol=1e-12,
    )


def test_bootstrap_intervals_have_their_nominal_coverage():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(30, 300))  # 300 experiments of 30 seeds
    interval = intervals.bootstrap_iqm(scores, resamples=500)
    covered = np.mean((interval.low <= 0) & (interval.high >= 0))
    assert 0.88 <= covered <= 0.98
    assert np.all(interval.low <= interval.value)
    assert np.all(interval.value <= interval.high)


def test_bootstrap_draws_are_the_same_in_all_calls_and_for_all_points():
    scores = np.random.default_rng(1).normal(size=(10, 1)) * np.ones((10, 4))
    first, second = (intervals.bootstrap_iqm(scores) for _ in range(2))
    np.testing.assert_array_equal(first.low, second.low)
    assert np.ptp(first.low) == 0


def test_one_seed_has_no_interval():
    interval = intervals.bootstrap_iqm(np.array([[3.0, 4.0]]))
    np.testing.assert_array_equal(interval.value, [3, 4])
    np.testing.assert_array_equal(interval.low, [np.nan, np.nan])
    np.testing.assert_array_equal(interval.high, [np.nan, np.nan])
    assert intervals.describe(np.array([14.0])) == "14"
    assert intervals.describe(np.array([14.0, 14.0])) == "IQM 14 [14, 14]"
    assert intervals.text(14.0, 12.0, 16.0, ", 95 % CI ") == "14, 95 % CI [12, 16]"


def test_nan_scores_raise_with_their_number():
    """A sort would put them above all others: the IQM of these would be 9."""
    scores = np.array([1.0, np.nan, 9.0, np.nan])
    with pytest.raises(ValueError, match="2 of 4 scores are nan"):
        intervals.iqm(scores)
    with pytest.raises(ValueError, match="2 of 4 scores are nan"):
        intervals.bootstrap_iqm(scores)
    assert intervals.describe(scores) == "nan in 2 of 4 seeds"
    curves = np.array([[0.0, 1.0], [0.0, np.nan]])
    area = intervals.area_under_curve(np.array([0, 10]), curves)
    np.testing.assert_array_equal(area, [0.5, np.nan])


def test_no_seeds_raise():
    with pytest.raises(ValueError, match="at least one seed"):
        intervals.bootstrap_iqm(np.zeros((0, 3)))


def test_the_area_under_a_line_is_its_mean_height():
    steps = np.array([0, 10, 40])
    np.testing.assert_allclose(
        intervals.area_under_curve(steps, np.array([steps / 40.0])), [0.5]
    )
    np.testing.assert_array_equal(
        intervals.area_under_curve(steps[:1], np.array([[3.0], [4.0]])), [3, 4]
    )
