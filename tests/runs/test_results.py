"""Files and statistics of results: exact numbers, and none that are not known."""

import csv
import json

import matplotlib.figure
import numpy as np
import pytest

from jaxq import Config
from jaxq.runs import closing_message, curves, files, plots, results, summary
from jaxq.training import metrics


def arrays(num_seeds, eval_return=None):
    """Measurements with numbers that six digits would round."""
    rng = np.random.default_rng(0)
    shape = num_seeds, 3
    values = {
        name: rng.normal(0, 1e3, shape).astype(np.float32)
        for name in results.Curve._fields
    }
    values["eval_return"] = (
        values["eval_return"] if eval_return is None else eval_return
    )
    values["loss"] = np.array([[np.nan, 1234567.0, 1e-40]] * num_seeds, np.float32)
    values["td_error"] = rng.normal(0, 1, shape)  # double precision
    values["train_episodes"] = np.full(shape, 1234567, np.int32)
    values["diverged"] = np.zeros(shape, bool)
    values["steps"] = np.array([0, 1234567, 2000000001])
    curve = results.Curve(**values)
    extra = {"extra": np.full(shape, 1 / 3)}
    return results.Arrays(curve, rng.normal(size=(*shape, 2)), extra)


def test_metrics_csv_is_exact(tmp_path):
    curve, eval_returns, extra = arrays(2)
    results.write_curve(tmp_path, Config(num_seeds=2), curve, eval_returns, extra)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == 2 * ["0", "1234567", "2000000001"]
    assert rows[0]["train_episodes"] == "1234567" and rows[0]["diverged"] == "0"
    with np.load(tmp_path / "metrics.npz") as saved:
        for name in set(saved.files) - {"seed", "steps", "eval_returns"}:
            dtype = np.dtype(int) if saved[name].dtype == bool else saved[name].dtype
            read = np.array([dtype.type(row[name]) for row in rows], dtype)
            assert read.tobytes() == saved[name].astype(dtype).tobytes(), name


def summarized(num_seeds, eval_return):
    measured = arrays(num_seeds, np.array(eval_return, np.float32))
    config = Config(num_seeds=num_seeds)
    statistics = summary.summarize(config, measured, {}, {"seconds": 1.0})
    return results.Result(config, *measured, (), statistics, None)


def saved(result, path):
    files.write_json(path, result.summary)
    return json.loads(path.read_text())["final_eval_return"]


def test_one_seed_has_no_interval(tmp_path):
    result = summarized(1, [[1, 2, 14]])
    final = saved(result, tmp_path / "summary.json")
    assert final["iqm"] == 14.0 and final["confidence_95"] is None
    assert "final return 14 | 1 of 1 seeds" in closing_message.text(result)
    several = summarized(2, [[1, 2, 14], [1, 2, 14]])
    assert "final return IQM 14, 95 % CI [14, 14] |" in closing_message.text(several)
    assert saved(several, tmp_path / "summary.json")["confidence_95"] == [14.0, 14.0]


def test_nan_returns_are_counted(tmp_path):
    result = summarized(2, [[1, 2, 14], [1, 2, np.nan]])
    final = saved(result, tmp_path / "summary.json")
    assert final["iqm"] is None and final["nan_seeds"] == 1
    assert "final return nan in 1 of 2 seeds |" in closing_message.text(result)


@pytest.mark.parametrize(
    ("returns", "text"),
    [
        ([[14.0, 14.0]], "return 14"),
        ([[14.0], [14.0]], "return IQM 14 [14, 14]"),
        ([[14.0], [np.nan]], "return nan in 1 of 2 seeds"),
    ],
)
def test_progress_shows_an_interval_only_of_several_seeds(returns, text):
    blank = metrics.Measurement(*[None] * len(metrics.Measurement._fields))
    evaluation = type("Evaluation", (), {"episode_return": np.array(returns)})
    point = blank._replace(evaluation=evaluation, extra={})
    assert curves.latest(point) == text
    assert curves.latest(point, interval=False) == text.partition(" [")[0]


@pytest.mark.parametrize(
    ("num_seeds", "label", "bands"), [(1, "one seed", 0), (2, "IQM, 95 % interval", 1)]
)
def test_the_curve_of_one_seed_has_no_band(num_seeds, label, bands):
    axes = matplotlib.figure.Figure().subplots()
    scores = np.arange(3.0 * num_seeds).reshape(num_seeds, 3)
    plots.draw_seeds(axes, np.arange(3), scores)
    assert axes.get_legend_handles_labels()[1] == [label]
    assert len(axes.collections) == bands


def test_the_axis_of_steps_starts_at_zero_and_the_curve_at_its_first_point():
    axes = matplotlib.figure.Figure().subplots()
    plots.draw_seeds(axes, np.array([500, 900]), np.ones((1, 2)))
    plots.finish(axes, "return")
    assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > 900
    assert axes.lines[-1].get_xdata()[0] == 500
