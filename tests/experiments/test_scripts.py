"""Every script starts in every way, and its `--help` does nothing else."""

import importlib.machinery
import os
import subprocess
import sys
import types

import pytest
from small_sweeps import ROOT

from jaxq import cli
from jaxq.config import command_line

SCRIPTS = [
    path.stem for path in (ROOT / "experiments").glob("*.py") if path.stem != "__init__"
]
# Shows the help of every script, by path and as a module, and fails on any write.
HELP = """
import contextlib, io, os, pathlib, runpy, sys

def check(event, args):
    if event in ("os.mkdir", "os.remove", "os.rename", "subprocess.Popen"):
        raise AssertionError((event, args))
    if event == "open" and isinstance(args[2], int):
        assert not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), args

sys.dont_write_bytecode = True
root, *names = sys.argv[1:]
sys.addaudithook(check)
for name in names:
    path = pathlib.Path(root, "experiments", f"{name}.py")
    texts = []
    for run, target in ((runpy.run_path, str(path)),
                        (runpy.run_module, f"experiments.{name}")):
        sys.argv = [str(path), "--help"]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                run(target, run_name="__main__")
            except SystemExit as ended:
                assert not ended.code, (name, ended.code)
        texts.append(out.getvalue())
    summary = path.read_text().partition('"')[2].strip('"').split()[:8]
    assert all(" ".join(summary) in " ".join(t.split()) for t in texts), (name, texts)
    assert "--help" in texts[0]
    assert "jax" not in sys.modules, name
print("shown:", *names)
"""


def test_the_help_of_every_script_writes_nothing_and_imports_no_jax(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HELP, ROOT, *SCRIPTS],
        capture_output=True, text=True, timeout=100, cwd=tmp_path,
        env=os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["shown:", *SCRIPTS] and len(SCRIPTS) >= 15
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spec", "command", "other"),
    [
        (None, ["a/sweep.py"], ["a/dqn.py"]),
        ("experiments.sweep", ["-m", "experiments.sweep"], ["-m", "experiments.dqn"]),
    ],
)
def test_a_printed_command_starts_the_script_as_it_was_started(
    spec, command, other, monkeypatch
):
    main = types.ModuleType("__main__")
    if spec:
        main.__spec__ = importlib.machinery.ModuleSpec(spec, None, origin="a/sweep.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["a/sweep.py", "--help"])
    assert command_line.program() == command
    assert cli.command() == [cli.python(), *command]
    assert cli.command("dqn") == [cli.python(), *other]
    error = OSError()
    error.add_note("--resume a/run")
    assert cli._resume_hint(error, []).endswith(" ".join([*command, "--resume a/run"]))
    assert cli._resume_hint(error, None).endswith(" ".join([*other, "--resume a/run"]))


def test_a_module_prints_its_own_name(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.sweep", "--help"],
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.startswith("usage: -m experiments.sweep"), done.stderr


@pytest.mark.slow
@pytest.mark.conformance
def test_the_tour_runs_and_has_a_title_for_every_cell(tmp_path):
    path = ROOT / "experiments" / "tour.py"
    done = subprocess.run(
        [sys.executable, path],
        capture_output=True, text=True, timeout=400, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "steps to the top [10. 10. 10. 10.]" in done.stdout
    assert not list(tmp_path.iterdir())
    cells = path.read_text().split("# %% [markdown]\n")[1:]
    assert len(cells) == 7 and all(cell.startswith("# ## ") for cell in cells)
