"""The generated pages: complete, up to date, and with links and commands that work."""

import ast
import dataclasses
import importlib
import json
import pathlib
import re
import shlex
import sys

import numpy as np
import pytest

from jaxq import Config
from jaxq.config import flags
from jaxq.config.algorithm_table import ALGORITHMS
from jaxq.config.deep_algorithms import DEEP
from jaxq.config.tabular_algorithms import TABLE
from jaxq.config.validate import validate

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from experiments import report  # noqa: E402
from experiments.reproductions import registry  # noqa: E402
from experiments.support import (  # noqa: E402
    algorithm_pages,
    provenance,
    tables_library,
    tables_reproduced,
    tables_returns,
)

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def page_text(name):
    return (ROOT / "results" / "algorithms" / f"{name}.md").read_text()


def test_the_pages_are_up_to_date():
    assert not report.stale(report.texts()), "run experiments/report.py"


def run_main(monkeypatch, pages, *words):
    monkeypatch.setattr(report, "texts", lambda: pages)
    monkeypatch.setattr(sys, "argv", ["report.py", *words])
    report.main()


def test_check_reports_stale_and_unknown_pages_and_writes_nothing(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    directory = tmp_path / "results" / "algorithms"
    directory.mkdir(parents=True)
    (directory / "dqn.md").write_text("old")
    (directory / "removed.md").write_text("left over")
    pages = {"results/algorithms/dqn.md": "new"}
    with pytest.raises(SystemExit) as stopped:
        run_main(monkeypatch, pages, "--check")
    assert stopped.value.code == 1
    out = capsys.readouterr().out
    assert "dqn.md is out of date" in out and "removed.md is out of date" in out
    assert (directory / "dqn.md").read_text() == "old"
    run_main(monkeypatch, pages)
    assert [path.name for path in directory.iterdir()] == ["dqn.md"]
    with pytest.raises(SystemExit) as stopped:
        run_main(monkeypatch, pages, "--check")
    assert stopped.value.code == 0


def test_a_page_without_a_marker_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "README.md").write_text("<!-- generated: main -->\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(report, "PAGES", {"README.md": {"main": lambda: "text"}})
    with pytest.raises(SystemExit, match=r"README\.md has no part .* main"):
        report.filled("README.md")


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("README.md", "results/main/curve.png"),
        ("results/README.md", "main/curve.png"),
        ("results/algorithms/dqn.md", "../main/curve.png"),
    ],
)
def test_links_are_relative_to_their_page(page, link):
    text = "![curve](results/main/curve.png) [there](#files) [paper](https://a.b/c)"
    expected = f"![curve]({link}) [there](#files) [paper](https://a.b/c)"
    assert report.relative_links(text, page) == expected


@every_algorithm
def test_every_algorithm_has_a_text(name):
    text = algorithm_pages.TEXTS[name]
    assert text.title and "=" in text.equation.replace(r"\leftarrow", "=")
    assert "operatorname" not in text.equation  # GitHub rejects this macro
    assert len(text.choose.split(". ")) >= 2
    assert text.see_also and name not in text.see_also
    assert set(text.see_also) <= set(ALGORITHMS)
    for place in text.code:
        path, _, function = place.partition(":")
        names = {
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert function in names, place


def test_no_text_is_left_over():
    assert set(algorithm_pages.TEXTS) == set(ALGORITHMS)


@every_algorithm
def test_every_symbol_is_in_its_equation(name):
    text = algorithm_pages.TEXTS[name]
    for symbols, _ in text.symbols:
        for symbol in re.split(r",(?! [ars])", symbols):
            start = symbol.strip().strip("()").partition("(")[0].partition(",")[0]
            assert start in text.equation, symbol


@every_algorithm
def test_the_command_of_a_page_is_valid(name):
    (block,) = re.findall(r"```bash\n(.*?)```", page_text(name), flags=re.S)
    program, script, *words = shlex.split(block)
    assert program == ".venv/bin/python"
    module = f"experiments.{pathlib.Path(script).stem}"
    presets = importlib.import_module(module).PRESETS
    fields = dict(zip(words[::2], words[1::2], strict=True))
    assert fields.keys() <= {"--algorithm", "--environment"}
    assert fields["--algorithm"] == name
    fields = {flag.removeprefix("--"): value for flag, value in fields.items()}
    first = next(iter(presets.values()))
    validate(dataclasses.replace(first, **fields))


@every_algorithm
def test_the_python_code_of_a_page_is_valid(name):
    (code,) = re.findall(r"`result = (run\(.*\))`", page_text(name))
    (call,) = ast.parse(code).body[0].value.args
    fields = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    assert fields["algorithm"] == name
    validate(Config(**fields))


@pytest.mark.parametrize("name", DEEP)
def test_deep_algorithms_have_a_small_figure(name):
    figure = ROOT / "results" / "figures" / "algorithms" / f"{name}.png"
    assert 5_000 < figure.stat().st_size < 60_000
    assert f"(../figures/algorithms/{name}.png)" in page_text(name)


@pytest.mark.parametrize("name", ["rainbow", "pqn"])
def test_components_are_listed_as_they_are_typed(name):
    components = DEEP[name].components
    listed = tables_library.components(components)
    words = shlex.split(listed.replace("`", "").replace(",", ""))
    config, _ = flags.parse({"dqn": Config()}, "", words, flags.Options())
    assert {field: getattr(config, field) for field in components} == components


def test_the_components_of_a_table_leave_out_what_all_tables_share():
    assert tables_library.components(TABLE) == "a table"
    listed = tables_library.components(TABLE | {"trace_cut": True, "optimizer": "adam"})
    assert listed == "a table, `--optimizer adam`, `--trace-cut`"
    assert "`--optimizer radam`" in tables_library.components(DEEP["pqn"].components)


def test_environments_are_listed_with_their_levels(monkeypatch, tmp_path):
    for module in (provenance, tables_returns):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    assert tables_returns.environments() == "None yet."
    record = json.loads((ROOT / "results/classic/Acrobot-v1_dqn.json").read_text())
    record["levels"] = {"random policy": -499.04, "optimum": float("nan")}
    directory = tmp_path / "results" / "environments"
    directory.mkdir(parents=True)
    (directory / "Acrobot-v1_dqn.json").write_text(json.dumps(record))
    pqn = record | {"algorithm": "pqn", "environment": "B", "steps_per_seed": 802_816}
    (directory / "B_pqn.json").write_text(json.dumps(pqn))
    first, second = tables_returns.environments().splitlines()[2:4]
    assert first == "| Acrobot-v1 | -499.0 | unknown | -86.1 [-93.4, -81.5] in 80k |  |"
    assert second == "| B | -499.0 | unknown |  | -86.1 [-93.4, -81.5] in 803k |"
    (row,) = tables_returns.environments_of([record]).splitlines()[2:]
    assert row.startswith(
        "| Acrobot-v1 | [`dqn`](results/algorithms/dqn.md) | -86.1 [-93.4, -81.5] "
        "| -499.0 | unknown | 80,080 | 2 x cpu"
    )


def test_suites_are_listed_beside_their_references(monkeypatch, tmp_path):
    for module in (provenance, tables_returns):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    assert tables_returns.suites() == "None yet."
    record = json.loads((ROOT / "results/classic/Acrobot-v1_dqn.json").read_text())
    record |= {
        "environment": "navix::A",
        "environment_args": ["size=3"],
        "levels": {"random policy": 0.03},
        "reference": 1.0,
        "source": "the optimum",
        "suite": "navix 0.7.4",
    }
    directory = tmp_path / "results" / "suites"
    directory.mkdir(parents=True)
    (directory / "navix.json").write_text(json.dumps(record))
    row = tables_returns.suites().splitlines()[2]
    assert row.startswith(
        "| `navix::A` size=3 | navix 0.7.4 | [`dqn`](results/algorithms/dqn.md) "
        f"| {record['num_seeds']} | 0.03 | -86.1 [-93.4, -81.5] | 1: the optimum |"
    )


def test_every_record_has_a_verdict_a_figure_and_a_section():
    names = [name for name in registry.TARGETS if tables_reproduced.record(name)]
    assert names
    page = tables_reproduced.page()
    rows = tables_reproduced.table().splitlines()[2:]
    assert len(rows) == len(names)
    for name, row in zip(names, rows, strict=True):
        word = tables_reproduced.verdict_of(name)
        assert f"](results/reproduced/README.md#{name})" in row and f"| {word} |" in row
        assert f"### {name}\n" in page
        assert (provenance.ROOT / tables_reproduced.figure(name)).exists()
    cells = [row.split("|")[2:-1] for row in tables_reproduced.summary().splitlines()]
    counts = np.array(cells[2:], int)
    assert (counts[:, 0] == counts[:, 1:].sum(axis=1)).all()
    assert counts[:, 0].sum() == len(names)


def test_the_page_of_an_algorithm_has_its_targets_only():
    rows = tables_reproduced.table("dyna_q").splitlines()[2:]
    assert [("#dyna_maze)" in row) for row in rows] == [True] * len(rows)
    assert tables_reproduced.table("noisy_dqn") == ""


def test_targets_that_were_not_run_are_listed(monkeypatch):
    monkeypatch.setattr(tables_reproduced, "record", lambda name: None)
    assert tables_reproduced.table() == ""
    assert "`cleanrl_dqn_cartpole`" in tables_reproduced.page()
    assert len(tables_reproduced.summary().splitlines()) == 2
