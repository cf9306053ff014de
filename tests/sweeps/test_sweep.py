"""Sweeps from Python."""

import dataclasses

import numpy as np
import pytest
from small_sweeps import BASE, train_curves

import jaxq
from jaxq.config.fields import ConfigError, UnusedFieldWarning
from jaxq.sweeps import sweep as sweeps

GRID = {"lr": [1e-3, np.float32(0.25)], "target_period": (5, 50)}


@pytest.fixture(scope="module")
def result():
    return jaxq.sweep(BASE, GRID)


def test_every_combination_is_trained(result, tmp_path):
    assert result.settings == [
        {"learning_rate": rate, "target_period": period}
        for rate in (1e-3, 0.25)
        for period in (5, 50)
    ]
    assert result.directory is None
    _, expected = train_curves(tmp_path, BASE, result.settings)
    curve = result.curve
    assert curve.eval_return.shape == (4, 4, 3)
    for index, curves in enumerate(expected):
        np.testing.assert_array_equal(curve.steps, curves.steps)
        np.testing.assert_array_equal(curve.loss[index], curves.arrays["loss"])
    assert result.configs[1] == dataclasses.replace(
        BASE, learning_rate=1e-3, target_period=50
    )


def test_settings_are_ranked_and_printed(result):
    final = result.curve.eval_return[:, :, -1]
    ranked = result.ranked()
    assert sorted(row.setting for row in ranked) == [0, 1, 2, 3]
    best = ranked[0]
    values = np.sort(final[best.setting])
    assert best.iqm == pytest.approx(values[1:3].mean())
    assert best.iqm == max(row.iqm for row in ranked)
    assert result.best == result.configs[best.setting]
    lines = repr(result).splitlines()
    assert lines[0] == "4 settings x 4 seeds of dqn on CartPole-v1"
    assert len(lines) == 6 and lines[1].startswith(f"  IQM {best.iqm:.4g} [")


def test_a_sweep_becomes_a_data_frame(result):
    frame = result.to_pandas()
    assert list(frame.columns[:5]) == [
        "setting", "learning_rate", "target_period", "seed", "step",
    ]  # fmt: skip
    assert len(frame) == 4 * 4 * 3
    chosen = frame[(frame.learning_rate == 0.25) & (frame.target_period == 5)]
    np.testing.assert_array_equal(
        chosen.eval_return.to_numpy().reshape(4, 3), result.curve.eval_return[2]
    )


def test_a_sweep_with_files_resumes(result, tmp_path):
    first = jaxq.sweep(BASE, GRID, output=tmp_path)
    assert first.directory.is_relative_to(tmp_path)
    blocks = {p: p.stat().st_mtime_ns for p in first.directory.glob("blocks/*")}
    assert "Sweep of " in (first.directory / "report.html").read_text()
    rows = (first.directory / "settings.csv").read_text().splitlines()
    assert rows[0].startswith("rank,environment,setting,") and len(rows) == 1 + 4
    with np.load(first.directory / "metrics.npz") as arrays:
        returns = arrays["program0/eval_return"]
    np.testing.assert_array_equal(returns, first.curve.eval_return)
    assert (first.directory / "summary.json").exists()
    again = jaxq.sweep(BASE, GRID, output=str(tmp_path))
    assert again.directory == first.directory
    assert blocks == {p: p.stat().st_mtime_ns for p in first.directory.glob("blocks/*")}
    for name in ("eval_return", "loss"):
        values = getattr(again.curve, name)
        np.testing.assert_array_equal(values, getattr(result.curve, name))


def test_curves_of_different_lengths_are_not_stacked(result):
    steps = result.curves[0].steps
    shorter = result.curves[1]._replace(steps=steps[:2])
    other = result._replace(curves=[result.curves[0], shorter])
    with pytest.raises(ValueError, match=r"different steps; use result\.curves"):
        _ = other.curve


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "has no settings"),
        ({"learning_rate": []}, "has no settings"),
        ({"learning_rate": 0.1}, r"not a list of values: write \{'learning_rate'"),
        ({"optimizer": "adam"}, "not a list of values"),
        ({"learning_rat": [0.1]}, "Did you mean learning_rate"),
        ({"num_seeds": [1, 2]}, "num_seeds cannot be swept"),
        (
            {"learning_rate": [-1.0]},
            r"setting \{.*-1.0\}: learning_rate",
        ),
        ({"v_max": [1.0, 2.0]}, "a sweep over v_max has no effect"),
        ([{"learning_rate": 0.1}, {"discount": 0.9}], "must give the same fields"),
    ],
)
def test_bad_grids_are_refused(grid, message):
    with pytest.raises(ConfigError, match=message):
        jaxq.sweep(BASE, grid)


def test_settings_of_equal_effect_are_left_out(monkeypatch):
    grid = {"prioritized": [False, True], "priority_exponent": [0.4, 0.6]}
    kept = []

    def stop(base, settings, *_):
        kept.extend(settings)
        raise ConfigError("enough")

    monkeypatch.setattr(sweeps.planning, "plan", stop)
    with (
        pytest.warns(UnusedFieldWarning, match="left out 1 of 4 settings"),
        pytest.raises(ConfigError, match="enough"),
    ):
        jaxq.sweep(BASE, grid)
    assert len(kept) == 3
