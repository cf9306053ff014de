"""report.html of a run: exact numbers, bounded size, and nothing from elsewhere."""

import dataclasses
import re

import numpy as np
import pytest
from family import TINY
from report_pages import chart, curve, embedded, numbers, of_run, section

from jaxq import Config
from jaxq.config.fields import ConfigError
from jaxq.runs import run
from jaxq.runs.page import build
from jaxq.stats import intervals


def test_the_page_holds_the_exact_numbers_of_all_seeds():
    measured = curve(5, 7)
    data = embedded(build.text(of_run(measured)))
    for name in ("eval_return", "td_error", "q_value", "loss"):
        values, lines = getattr(measured, name), chart(data, name)["lines"]
        for seed in range(5):
            np.testing.assert_array_equal(numbers(lines[1 + seed]), values[seed])
    lines = chart(data, "eval_return")["lines"]
    expected = intervals.bootstrap_iqm(measured.eval_return)
    np.testing.assert_array_equal(numbers(lines[0]), expected.value)
    for end in ("low", "high"):
        ends = getattr(expected, end).astype(np.float32)
        np.testing.assert_array_equal(numbers(lines[0], end), ends)
    (steps,) = chart(data, "eval_return")["steps"]
    np.testing.assert_array_equal(build.decode(steps), measured.steps)
    assert [entry["label"] for entry in section(data, "curves")["series"]] == [
        "IQM, 95 % interval", *(f"seed {seed}" for seed in range(5)),
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[0.1, np.nan, -np.inf], [1e-300, 1e300, np.inf]])
def test_numbers_are_encoded_with_all_their_bits(values):
    for array in (np.array(values), np.array(values, ">f8"), [2**24 + 1]):
        np.testing.assert_array_equal(build.decode(build.encode(array)), array)
    with np.errstate(over="ignore"):
        single = np.array(values, np.float32)
    assert build.encode(single).startswith("f4")
    np.testing.assert_array_equal(build.decode(build.encode(single)), single)


def test_a_page_is_small_whatever_the_run(tmp_path):
    measured = curve(64, 2000)
    build.write(tmp_path / "report.html", of_run(measured))
    assert (tmp_path / "report.html").stat().st_size < build.MAX_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    data = embedded((tmp_path / "report.html").read_text())
    notes = " ".join(section(data, "curves")["notes"])
    assert "200 of 2000 points" in notes and re.search(r"first \d+ of 64 seeds", notes)
    line = chart(data, "eval_return")["lines"][0]  # of all seeds, at the points kept
    assert numbers(line)[-1] == intervals.iqm(measured.eval_return[:, -1])
    assert build.decode(chart(data, "loss")["steps"][0])[[0, -1]].tolist() == [1e3, 2e6]


@pytest.mark.parametrize(("num_seeds", "num_points"), [(3000, 2), (1, 5000), (40, 60)])
def test_other_shapes_fit_as_well(num_seeds, num_points):
    doubles = curve(num_seeds, num_points)._asdict()
    steps, diverged = doubles.pop("steps"), doubles.pop("diverged")
    doubles = {name: values + 1e-9 for name, values in doubles.items()}
    measured = curve(1, 1)._replace(steps=steps, diverged=diverged, **doubles)
    extra = {f"extra {i}": doubles["loss"] for i in range(6)}
    config = Config(
        num_seeds=num_seeds,
        environment_args=("x" * 100_000,),
        hidden_sizes=tuple(range(1, 50_000)),
    )
    assert len(build.text(of_run(measured, config, extra))) < build.MAX_BYTES


def test_text_of_the_data_is_not_markup():
    evil = "</script><script>alert(1)</script><!-- {{style}}"
    config = Config(num_seeds=2, environment_args=(f"a={evil}",))
    extra = {evil: np.zeros((2, 3))}
    page = of_run(curve(2, 3), config, extra)._replace(title=evil)
    text = build.text(page)
    data = embedded(text)
    assert data["title"] == evil and chart(data, evil)
    assert text.count("</script>") == 2 and evil not in text
    row = next(r for r in section(data, "table")["rows"] if r[0] == "environment_args")
    assert row[1] == f"a={evil}"


def test_a_page_refers_to_nothing_outside_itself():
    text = build.text(of_run(curve(2, 3)))
    assert re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', text) == ["data:,"]
    assert set(re.findall(r"https?://[^\s\"']*", text)) == {
        "http://www.w3.org/2000/svg"
    }
    assert not re.search(r"@import|url\(|fetch\(|\beval\(|innerHTML|new Function", text)


def test_missing_and_infinite_values_survive():
    measured = curve(3, 4)
    measured.q_value[1, 2], measured.q_value[0, 3] = np.nan, np.inf
    data = embedded(build.text(of_run(measured)))
    entry = chart(data, "q_value")
    np.testing.assert_array_equal(numbers(entry["lines"][2]), measured.q_value[1])
    iqm = numbers(entry["lines"][0])
    assert np.isfinite(iqm[:2]).all() and np.isnan(iqm[2:]).all()
    assert entry["notes"] == [
        "No IQM at 2 of 4 points, where some seeds have no value."
    ]
    assert chart(data, "loss")["notes"] == []  # no seed has one before learning
    assert "optimum" in chart(data, "eval_return")["levels"]


def test_one_seed_has_no_interval():
    data = embedded(build.text(of_run(curve(1, 4))))
    part = section(data, "curves")
    assert [entry["label"] for entry in part["series"]] == ["seed 0"]
    lines = [line for entry in part["charts"] for line in entry["lines"]]
    assert all(not {"low", "high"} & line.keys() for line in lines)
    assert "CI" not in data["headline"] and "over 1 seed" in data["headline"]


def test_diverged_seeds_are_marked():
    measured = curve(3, 4)
    measured.diverged[1, 2:] = True
    data = embedded(build.text(of_run(measured)))
    series = section(data, "curves")["series"][2]
    assert series["label"] == "seed 1, diverged" and series["diverged_at"] == 3000
    assert data["warnings"][0].startswith("Diverged and frozen: 1 of 3 seeds (1).")


def test_fields_that_differ_from_their_defaults_come_first():
    config = Config(num_seeds=2, discount=0.5, num_atoms=7)
    tables = [
        part
        for part in embedded(build.text(of_run(curve(2, 3), config)))["sections"]
        if part["kind"] == "table"
    ]
    first, second = ({row[0]: row[1] for row in part["rows"]} for part in tables)
    assert first["discount"] == 0.5 and second["num_atoms"] == 7  # DQN has no atoms
    assert first.keys() | second.keys() == dataclasses.asdict(config).keys()
    assert not first.keys() & second.keys() and tables[1]["folded"]


@pytest.mark.slow
@pytest.mark.conformance
def test_a_resumed_run_rewrites_its_figures_and_its_page(tmp_path):
    result = run.run(TINY, output=tmp_path)
    page = result.directory / "report.html"
    lines = chart(embedded(page.read_text()), "eval_return")["lines"]
    np.testing.assert_array_equal(numbers(lines[1]), result.curve.eval_return[0])
    assert numbers(lines[0])[-1] == result.summary["final_eval_return"]["iqm"]
    page.write_text("old")
    assert not (result.directory / "curve.pdf").exists()
    run.run(TINY, resume=result.directory, figure_format="pdf")
    data = embedded(page.read_text())
    assert chart(data, "eval_return")["lines"] == lines and data["facts"]["resumed"]
    assert data["headline"].startswith("Return after 600 steps: IQM ")
    assert (result.directory / "curve.pdf").read_bytes().startswith(b"%PDF")
    assert not list(result.directory.glob(".*.tmp"))


def test_a_figure_format_without_effect_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="figure_format = 'pdf' has no effect"):
        run.run(TINY, output=tmp_path, plot=False, figure_format="pdf")
    with pytest.raises(ConfigError, match="figure_format = 'svg': choose one of png"):
        run.run(TINY, output=tmp_path, figure_format="svg")
    assert not list(tmp_path.iterdir())
