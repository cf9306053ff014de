"""The command line of compare.py."""

import json
import subprocess
import sys

import numpy as np
import pytest
from report_pages import embedded, section
from small_sweeps import ROOT, script

sys.path.insert(0, str(ROOT))

from experiments.support import comparison, comparison_latex, comparison_page
from jaxq.runs.page import build


def fake_run(directory, label, task, returns, optimum, points=4, diverged=(), **config):
    """The directory of a finished run with the final returns `returns` [S]."""
    directory.mkdir(parents=True)
    steps = np.arange(points) * 100
    curve = np.linspace(0, 1, points) * np.asarray(returns, float)[:, None]
    np.savez(directory / "metrics.npz", steps=steps, eval_return=curve,
             train_return=np.where(steps == 0, np.nan, curve))  # fmt: skip
    levels = {"random policy": 0.0, "optimum": optimum}
    for name, content in (
        ("config", {"algorithm": label} | config),
        ("summary", {"levels": levels, "diverged_seeds": list(diverged)}),
        ("manifest", {"environment": task}),
    ):
        (directory / f"{name}.json").write_text(json.dumps(content))


def test_runs_are_compared(tmp_path):
    rng = np.random.default_rng(0)
    for label, shift in (("a", 8.0), ("b", 5.0)):
        for task, optimum in (("One", 10.0), ("Two", None)):
            returns = rng.normal(shift, 1, 10)
            fake_run(tmp_path / label / task, label, task, returns, optimum)
    output = tmp_path / "out"
    words = [
        str(tmp_path / "[ab]" / "*"),
        "--output",
        str(output),
        "--resamples",
        "200",
    ]
    out = script("compare", *words)
    assert "P(a > b)" in out and "Welch" in out
    result = json.loads((output / "compare.json").read_text())
    low, high = result["normalised"]["One"]
    assert (low, high) == (0.0, 10.0)
    assert result["normalised"]["Two"][1] == pytest.approx(8.0, abs=1)  # the best mean
    value, low, high = result["aggregates"]["a"]["IQM"]
    assert low < value < high and value > result["aggregates"]["b"]["IQM"][0]
    assert result["pairs"][0]["a_above_b"][0] > 0.9
    assert all(row["welch_holm_p"] < 0.01 for row in result["tests"])
    assert all(row["permutation_holm_p"] < 0.01 for row in result["tests"])
    assert {path.name for path in output.glob("*.png")} == {
        "curves.png", "aggregates.png", "profile.png", "iqm.png", "improvement.png",
    }  # fmt: skip
    assert "no wall_clock.png: a run that was resumed" in out
    data = embedded((output / "report.html").read_text())
    (scores,) = (s for s in data["sections"] if s["heading"] == "Scores: final return")
    rows = {(row[0], row[1]): row[3] for row in scores["rows"]}
    expected = result["tasks"]
    assert rows == {(t, a): expected[t][a][0] for t in expected for a in expected[t]}
    assert [chart["label"] for chart in section(data, "curves")["charts"]] == [
        "One", "Two",
    ]  # fmt: skip
    (output / "wall_clock.png").touch()
    out = script("compare", *words, "--metric", "train_return", "--score", "area")
    assert "wall_clock.png belongs to an earlier comparison" in out


def test_incomparable_runs_raise(tmp_path):
    fake_run(tmp_path / "a", "a", "One", [1, 2], 10.0)
    fake_run(tmp_path / "b", "a", "One", [1, 2], 10.0)
    fake_run(tmp_path / "c", "c", "Two", [1, 2], 10.0)
    a, b, c = (str(tmp_path / name) for name in "abc")
    for words, message in (
        ([str(tmp_path / "none")], "matches no directory"),
        ([str(tmp_path)], "is not the directory of a finished run"),
        ([a, b], "are both a on One. Give them labels"),
        ([a, c], "a has no run on Two"),
        ([], "nothing to compare"),
        ([a, "--resamples", "0"], "resamples = 0 is less than 1"),
    ):
        assert message in script("compare", *words, code=2)
    script("compare", a, f"other={b}", "--output", str(tmp_path / "out"))


def test_a_task_is_an_environment_with_its_options(tmp_path):
    ten, twenty = {"environment_args": ["size=10"]}, {"environment_args": ["size=20"]}
    fake_run(tmp_path / "1", "a", "One", [1, 2], 10.0, **ten)
    fake_run(tmp_path / "2", "a", "One", [1, 2], 10.0, **twenty)
    fake_run(tmp_path / "3", "b", "One", [3.0], 10.0, **ten, sticky_actions=0.0)
    fake_run(tmp_path / "4", "b", "One", [3, 4], 10.0, points=9, **twenty)
    words = [str(tmp_path / "[1-4]"), "--output", str(tmp_path / "out")]
    out = script("compare", *words)
    assert "One size=10, final return" in out
    assert "\n  One size=20: a - b = -2," in out  # a single seed is not tested
    assert out.count("Welch") == 1
    fake_run(tmp_path / "5", "b", "One", [3, 4], 10.0, sticky_actions=0.1)
    assert "a has no run on One sticky_actions=0.1" in script(
        "compare", words[0], str(tmp_path / "5"), code=2
    )


def test_diverged_seeds_are_reported(tmp_path):
    fake_run(tmp_path / "a", "a", "One", [1, 2, 3], 10.0, diverged=[0, 2])
    fake_run(tmp_path / "b", "b", "One", [1, 2, 3], 10.0)
    words = [str(tmp_path / name) for name in "ab"]
    out = script("compare", *words, "--output", str(tmp_path / "out"))
    assert "warning: a / One: 2 of 3 seeds diverged" in out
    assert out.count("seeds diverged") == 1
    result = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert result["diverged"] == {"a / One": 2, "b / One": 0}


def test_directories_may_have_any_name(tmp_path):
    for name in ("x[1]", "k=v"):
        fake_run(tmp_path / name, name, "One", [1, 2], 10.0)
    words = [str(tmp_path / "x[1]"), str(tmp_path / "k=v"), f"y={tmp_path / 'k=v'}"]
    out = script("compare", *words, "--output", str(tmp_path / "out"))
    assert "P(x[1] > k=v)" in out and "P(k=v > y)" in out


def test_a_pattern_selects_the_newest_finished_runs(tmp_path):
    for name, level in (("1", 1.0), ("2", 2.0)):
        fake_run(tmp_path / "a" / name, "a", "One", [level, level], 10.0)
    (tmp_path / "a" / "3").mkdir()
    fake_run(tmp_path / "b", "b", "One", [5.0, 5.0], 10.0)
    output = tmp_path / "out"
    words = [str(tmp_path / "a" / "*"), str(tmp_path / "b"), "--output", str(output)]
    script("compare", *words)
    result = json.loads((output / "compare.json").read_text())
    assert result["aggregates"]["a"]["IQM"][0] == pytest.approx(0.2)
    (tmp_path / "c" / "1").mkdir(parents=True)
    out = script("compare", str(tmp_path / "c" / "*"), code=2)
    assert "matches no directory of a finished run" in out


def test_one_seed_has_no_interval(tmp_path):
    fake_run(tmp_path / "a", "a", "One", [4.0], 10.0)
    fake_run(tmp_path / "b", "b", "One", [5.0], 10.0)
    words = [str(tmp_path / name) for name in "ab"]
    out = script("compare", *words, "--output", str(tmp_path / "out"))
    assert "One, final return, one seed\n" in out
    assert "  b                        5\n" in out and "[" not in out
    result = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert result["tasks"]["One"] == {"a": [4.0, None, None], "b": [5.0, None, None]}
    assert result["aggregates"]["a"]["IQM"] == [0.4, None, None]


def test_seeds_without_a_final_return_are_counted(tmp_path):
    fake_run(tmp_path / "a", "a", "One", [4.0, 5.0, 6.0], 10.0)
    with np.load(tmp_path / "a" / "metrics.npz") as arrays:
        saved = dict(arrays)
    saved["eval_return"][1, -1] = np.nan
    np.savez(tmp_path / "a" / "metrics.npz", **saved)
    words = [str(tmp_path / "a"), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "compare.py", *words],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "a: 1 of 3 seeds have no final eval_return" in done.stderr


def test_the_latex_table_is_escaped_and_marks_the_best():
    levels = {"random policy": 0.0, "optimum": 1e7}
    runs = [
        comparison.Run(label, "One", np.arange(2.0), curves, levels, 0, label, {})
        for label, curves in (
            ("a_b & 50%", np.array([[0, 1], [0, 2], [0, 3], [0, 4]], float)),
            ("c", np.array([[0, 6.5e6]])),
        )
    ]
    scores = comparison.make_scores(runs, "final")
    result = comparison.compare(runs, scores, "final", 50)
    text = comparison_latex.table(scores, result)
    assert r" & a\_b \& 50\% & c \\" in text and text.count("toprule") == 1
    assert r"One & $2.5$ {\scriptsize $[1" in text
    assert r"& $\mathbf{6.5 \times 10^{6}}$ \\" in text  # one seed has no interval
    assert comparison_latex.number(-1.5e-7) == r"-1.5 \times 10^{-7}"


def test_the_wall_clock_figure_needs_the_time_of_every_run(tmp_path):
    timing = {"seconds": 10.0, "seconds_to_first_chunk": 2.0}
    known = comparison.timing(timing, {"devices": ["cpu", "cpu"]})
    assert known == (10.0, 2.0, "2 x cpu")
    assert comparison.timing(timing, {"devices": ["cpu"], "resumed": [{}]}) is None
    assert comparison.timing({}, {"devices": ["cpu"]}) is None
    for name in "ab":
        fake_run(tmp_path / name, name, "One", [1, 2], 10.0)
        for file, content in (("summary", timing), ("manifest", {"devices": ["cpu"]})):
            path = tmp_path / name / f"{file}.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | content))
    words = [str(tmp_path / name) for name in "ab"]
    output = tmp_path / "out"
    flags = "--output", str(output), "--figure-format", "pdf"
    out = script("compare", *words, *flags)
    assert "no wall_clock" not in out and "wall_clock.pdf" in out
    names = {path.stem for path in output.glob("*.png")}
    assert {path.stem for path in output.glob("*.pdf")} == names
    assert "iqm" not in names  # of one task, curves.png shows it


def test_a_page_is_small_whatever_the_comparison():
    names = [(f"algorithm {i}", f"task {j}") for i in range(10) for j in range(50)]
    rng = np.random.default_rng(0)
    config = {"other": "x" * 1000, **{f"field {i}": i for i in range(99)}}
    runs = [
        comparison.Run(
            *name,
            np.arange(100.0),
            rng.normal(1, 1, (2, 100)),
            {"random policy": -9.0, "optimum": None},
            0,
            f"directory/{'-'.join(name)}",
            config | dict(zip(("algorithm", "environment"), name, strict=True)),
        )
        for name in names
    ]
    scores = comparison.make_scores(runs, "final")
    result = comparison.compare(runs, scores, "final", 2)
    page = comparison_page.page(runs, scores, result, "eval_return")
    text = build.text(page)
    assert len(text) < build.MAX_BYTES
    assert "of 50 charts are drawn" in text and "The first 40 of 500 runs." in text


def test_normalised_curves_span_the_points_that_runs_share():
    def made(label, task, steps):
        steps = np.array(steps, float)
        curves = np.stack([steps / steps[-1], 2 * steps / steps[-1]])
        levels = {"random policy": 0.0, "optimum": 2.0}
        return comparison.Run(label, task, steps, curves, levels, 0, label, {})

    runs = [made("a", "One", [0, 50, 100]), made("b", "One", [20, 100])]
    scores = comparison.make_scores(runs, "final")
    unit, points, curves = comparison.normalised_curves(runs, scores, 9)
    assert (
        unit == "environment steps per seed" and points[0] == 20 and points[-1] == 100
    )
    expected = np.stack([points / 200, points / 100])[:, None]
    np.testing.assert_allclose(curves["a"], expected)
    runs += [made("a", "Two", [0, 1000]), made("b", "Two", [0, 1000])]
    scores = comparison.make_scores(runs, "final")
    unit, points, curves = comparison.normalised_curves(runs, scores, 9)
    assert unit == "share of the steps of a task" and points[0] == 0.2
    np.testing.assert_allclose(curves["b"][1, 1], points)
