"""The README's commands, code and numbers."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from jaxq.agents import algorithms

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.S)


def test_the_first_two_commands_are_those_of_ci():
    first, second = blocks("bash")[:2]
    assert first.strip().endswith(".venv/bin/python experiments/dqn.py")
    assert second.strip().endswith("pip install -e '.[test]' && .venv/bin/pytest")
    ci = (ROOT / ".ci" / "run").read_text()
    assert "install --quiet -e '.[test]'" in ci and 'bin/pytest"' in ci


EXAMPLES = [line for line in "\n".join(blocks("bash")[2:]).splitlines() if line]


@pytest.mark.parametrize("command", EXAMPLES)
def test_examples_run(command, tmp_path):
    words = shlex.split(command)
    assert words[0] == ".venv/bin/python"
    small = ["--num-seeds", "1", "--total-steps", "3000", "--eval-points", "1"]
    small += ["--warmup-steps", "1000"]
    small += ["--eval-episodes", "1", "--eval-max-steps", "50"]
    done = subprocess.run(
        [sys.executable, *words[1:], *small, "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "done in" in done.stdout and list(tmp_path.rglob("curve.png"))


@pytest.mark.parametrize("command", [c for c in blocks("sh")[0].splitlines() if c])
def test_sweeps_run(command, tmp_path):
    words = shlex.split(command)
    small = ["--num-seeds", "4", "--total-steps", "3000", "--eval-points", "1"]
    small += ["--warmup-steps", "1000"]
    small += ["--eval-episodes", "1", "--eval-max-steps", "50", "--no-plot"]
    done = subprocess.run(
        [sys.executable, *words[1:], *small, "--output", str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "saved in" in done.stdout and list(tmp_path.rglob("settings.csv"))


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_examples_run(code, capsys, monkeypatch):
    # An example registers an algorithm, which must not stay for other tests.
    monkeypatch.setattr(algorithms, "ALGORITHMS", dict(algorithms.ALGORITHMS))
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.split()) >= 3


def test_every_script_in_the_table_exists():
    scripts = re.findall(r"`(experiments/\w+\.py)`", TEXT)
    assert len(scripts) >= 4
    for script in scripts:
        assert (ROOT / script).exists()
    names = {path.name for path in (ROOT / "experiments").glob("*.py")}
    assert names <= {"__init__.py"} | {pathlib.Path(script).name for script in scripts}


def test_every_package_is_in_the_table():
    named = re.findall(r"^\| `jaxq/(\w+)` \|", TEXT, flags=re.M)
    packages = [path.parent.name for path in (ROOT / "jaxq").glob("*/__init__.py")]
    assert sorted(named) == sorted(packages)


def test_the_numbers_and_tables_are_generated():
    from experiments import report

    for page, parts in report.PAGES.items():
        text = (ROOT / page).read_text()
        for name, make in parts.items():
            part = f"<!-- generated: {name} -->\n{make()}\n<!-- /generated -->"
            assert part in text, f"{page}: run experiments/report.py"


def test_pictures_exist():
    paths = re.findall(r"\]\((results/.*?\.png)\)", TEXT)
    assert len(paths) >= 3
    for path in paths:
        assert (ROOT / path).exists()
