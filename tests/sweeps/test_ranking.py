"""Ranking and reports of sweeps."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from jaxq.config import flags
from jaxq.config.config import Config
from jaxq.stats import intervals
from jaxq.sweeps import planning, ranking, report, sampling, search_space


def test_settings_are_ranked_on_paired_seeds(rng):
    """Settings that differ by a constant: the gap has no spread."""
    seeds = rng.normal(0, 10, 12)
    values = np.stack([seeds + shift for shift in (1.0, 3.0, 2.0)])
    rows = ranking.rank(values, np.array([0, 0, 4]))
    assert [row.setting for row in rows] == [1, 2, 0]
    for row, behind in zip(rows, (0.0, 1.0, 2.0), strict=True):
        assert (row.behind, row.behind_low, row.behind_high) == pytest.approx(
            [behind] * 3
        )
        one = intervals.bootstrap_iqm(values[row.setting])
        assert (row.iqm, row.low, row.high) == pytest.approx([float(v) for v in one])
        assert row.median == pytest.approx(np.median(values[row.setting]))
    assert [row.diverged for row in rows] == [0, 4, 0]


def test_varied_fields_are_those_that_differ():
    settings = [{"a": 1, "b": 2}, {"a": 1, "b": 3}]
    assert ranking.varied_fields(settings) == ["b"]
    assert ranking.varied_fields(settings[:1]) == []


def test_equal_medians_are_ranked_by_the_mean():
    values = np.array([[0.0, 5, 5, 0], [0, 5, 5, 1], [0, 5, 5, -1]])
    assert [row.setting for row in ranking.rank(values, np.zeros(3))] == [1, 0, 2]


def test_settings_with_nan_scores_rank_last(rng):
    """Sorted, nan would be the best score."""
    values = np.stack([np.arange(6.0), np.arange(6.0) + 1, np.arange(6.0) + 99])
    values[1, 0], values[2, :2] = np.nan, np.nan
    rows = ranking.rank(values, np.zeros(3))
    assert [row.setting for row in rows] == [0, 1, 2]
    assert [row.nan_seeds for row in rows] == [0, 1, 2]
    assert (rows[0].iqm, rows[0].behind) == (2.5, 0.0)
    assert np.isnan([rows[1].iqm, rows[2].low, rows[2].behind, rows[2].mean]).all()
    assert ranking.nan_warnings(rows) == [
        "3 scores are nan: 2 of 3 settings have such seeds, and are ranked last."
    ]
    assert not ranking.nan_warnings(rows[:1])


def test_one_seed_has_no_interval(tmp_path):
    sweep = make_sweep(["discount=0.9,0.99"])._replace(base=Config(num_seeds=1))
    all_curves = [curves([[0, 1, 1 / 3]]), curves([[0, 1, 14]])]
    (ranked,) = report.rank_settings(sweep, all_curves, "final")
    report.write(tmp_path, sweep, all_curves, [ranked], "final")
    lines = report.table(sweep, ranked).splitlines()
    assert lines[0].split() == ["discount", "return", "gap", "to", "the", "best"]
    assert [line.split() for line in lines[1:]] == [
        ["1", "0.99", "14"],
        ["2", "0.9", "0.3333", "13.67"],
    ]
    summary = json.loads((tmp_path / "summary.json").read_text())
    best, second = summary["environments"][0]["ranked"]
    assert best["low"] is best["high"] is second["behind_low"] is None
    with (tmp_path / "settings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["iqm"]) == 1 / 3 and rows[1]["diverged"] == "0"


def test_the_table_shows_how_many_scores_are_nan(tmp_path):
    sweep = make_sweep(["discount=0.9,0.99"])
    all_curves = [curves(np.full((6, 3), np.nan)), curves(np.ones((6, 3)))]
    (ranked,) = report.rank_settings(sweep, all_curves, "final")
    assert "nan in 6 seeds" in report.table(sweep, ranked).splitlines()[2]
    assert "6 scores are nan" in ranked.warnings[-1]
    report.draw(tmp_path, sweep, (), [ranked], "final")


@pytest.mark.parametrize(
    ("texts", "best", "expected"),
    [
        (["learning_rate=0.1,0.2,0.3"], {"learning_rate": 0.1}, ["try lower"]),
        (["learning_rate=0.1,0.2,0.3"], {"learning_rate": 0.3}, ["try higher"]),
        (["learning_rate=0.1,0.2,0.3"], {"learning_rate": 0.2}, []),
        (["learning_rate=0.1,0.2"], {"learning_rate": 0.1}, []),  # too few for an edge
        (["optimizer=adam,sgd,rmsprop"], {"optimizer": "adam"}, []),
        (["discount=log:0.1:1:9"], {"discount": 1.0}, ["0.1 to 1: try higher"]),
        (["discount=uniform:0.1:1:99"], {"discount": 0.118367}, ["try lower"]),
        (["discount=uniform:0.1:1:99"], {"discount": 0.173469}, []),
    ],
)
def test_a_best_value_at_the_edge_is_reported(texts, best, expected):
    ranges = [search_space.parse(text) for text in texts]
    settings = sampling.grid(ranges)
    warnings = ranking.edge_warnings(settings, settings.index(best), ranges)
    assert len(warnings) == len(expected)
    for text, part in zip(warnings, expected, strict=True):
        assert part in text


def curves(values, steps=(0, 100, 400)):
    arrays = {"eval_return": np.asarray(values, float)}
    arrays["diverged"] = np.zeros(arrays["eval_return"].shape, bool)
    return planning.Curves(np.array(steps), arrays)


def test_scores_are_the_final_return_or_the_area():
    one = curves([[0, 4, 8], [1, 1, 1]])
    np.testing.assert_allclose(ranking.scores([one], "final"), [[8, 1]])
    # (0 + 4) / 2 over 100 steps and (4 + 8) / 2 over 300.
    np.testing.assert_allclose(ranking.scores([one], "area"), [[5, 1]])


def make_sweep(texts):
    """A sweep with everything that its report needs."""
    ranges = [search_space.parse(text) for text in texts]
    settings = sampling.grid(ranges)
    base = Config(defaults="plain", num_seeds=6, environment="CartPole-v1")
    configs = [search_space.apply(base, setting) for setting in settings]
    return planning.Sweep(base, settings, list(texts), configs, [], [])


def test_every_environment_has_its_own_table(tmp_path, rng):
    texts = ["environment=CartPole-v1,Acrobot-v1", "learning_rate=log:1e-4:1:5"]
    sweep = make_sweep(texts)
    all_curves = [curves(rng.normal(i, 1, (6, 3))) for i in range(10)]
    rankings = report.rank_settings(sweep, all_curves, "final")
    assert [v.environment for v in rankings] == ["CartPole-v1", "Acrobot-v1"]
    assert [{row.setting for row in v.rows} for v in rankings] == [
        set(range(5)), set(range(5, 10)),
    ]  # fmt: skip
    report.write(tmp_path, sweep, all_curves, rankings, "final")
    with (tmp_path / "settings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and rows[0]["rank"] == rows[5]["rank"] == "1"
    assert rows[0]["learning_rate"] == "1.0" and rows[0]["environment"] == "CartPole-v1"
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {
        "sensitivity-learning_rate-CartPole-v1.png",
        "sensitivity-learning_rate-Acrobot-v1.png",
    }
    text = report.table(sweep, rankings[0], top=2)
    assert "learning_rate" in text and "environment" not in text
    assert text.splitlines()[1].split()[:2] == ["1", "1"]
    assert text.endswith("and 3 more in settings.csv")


@pytest.mark.parametrize(
    "texts",
    [
        ["learning_rate=log:1e-4:1:4", "target_period=10,100,1000"],
        ["optimizer=adam,sgd", "double_q=true,false", "hidden_sizes=8,8x8"],
        ["max_grad_norm=none,1,10", "discount=0.9,0.99"],
    ],
)
def test_every_field_and_pair_is_plotted(tmp_path, rng, texts):
    sweep = make_sweep(texts)
    all_curves = [curves(rng.normal(i, 1, (6, 3))) for i in range(len(sweep.settings))]
    (ranked,) = report.rank_settings(sweep, all_curves, "final")
    report.draw(tmp_path, sweep, (), [ranked], "final")
    count = len(texts)
    names = [path.name for path in tmp_path.glob("*.png")]
    assert sum(name.startswith("sensitivity-") for name in names) == count
    assert sum(name.startswith("pair-") for name in names) == count * (count - 1) / 2


def test_an_axis_is_logarithmic_if_the_range_is():
    log = search_space.parse("learning_rate=log:1e-4:1:5")
    plain = search_space.parse("learning_rate=uniform:1e-4:1:5")
    listed = search_space.parse("learning_rate=0.5,1")
    values = np.array([1e-4, 1.0])
    assert ranking.is_log(values, "learning_rate", [log])
    assert not ranking.is_log(values, "learning_rate", [plain])
    assert ranking.is_log(values, "learning_rate", [])  # wide
    assert not ranking.is_log(np.array([0.5, 1.0]), "learning_rate", [listed])
    assert not ranking.is_log(np.array([0.0, 1.0]), "learning_rate", [listed])


def test_the_best_is_confirmed_on_held_out_seeds():
    config = Config(defaults="plain", num_seeds=10, first_seed=5)
    held_out = report.confirmation(config, 7)
    assert (held_out.first_seed, held_out.num_seeds) == (15, 7)
    last = dataclasses.replace(config, first_seed=2**32 - 12)
    held_out = report.confirmation(last, 7)
    assert held_out.first_seed + held_out.num_seeds <= last.first_seed


@pytest.mark.parametrize(
    "config",
    [
        Config(defaults="plain"),
        Config(
            defaults="plain", hidden_sizes=(64, 64), stream_sizes=(8,), double_q=True
        ),
        Config(
            defaults="plain",
            environment_args=("length=0.3", "tau=0.01"),
            max_grad_norm=5.0,
        ),
        Config(
            defaults="plain",
            learning_rate=1 / 3,
            v_min=-100.0,
            total_steps=123,
            optimizer="sgd",
        ),
    ],
)
def test_the_command_of_a_setting_reproduces_its_configuration(config):
    from experiments import dqn

    words = ["--preset", "default", *flags.flags(config)]
    parsed, _ = flags.parse(dqn.PRESETS, "", words, flags.Options())
    assert parsed == config
