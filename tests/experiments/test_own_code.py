"""Environments and algorithms of a user's own on every command line."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from small_sweeps import FLAGS, ROOT, script

from jaxq import ConfigError, adapt, load

EXTENSION = ROOT / "tests" / "extension"
ENVIRONMENT, ALGORITHM = "my_environment:Line", "my_agents:advantage_learning"
OWN = ["--environment", ENVIRONMENT, "--algorithm", ALGORITHM]
QUIET = ["--no-plot", "--no-progress"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run by a process that finds the modules in its working directory."""
    output = tmp_path_factory.mktemp("runs")
    words = [*FLAGS, *OWN, *QUIET, "--algorithm-args", "alpha=0.25", "--output", output]
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "dqn.py", *words],
        capture_output=True, text=True, timeout=300, cwd=EXTENSION,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"hyper-parameters of {ALGORITHM}: alpha=0.25 layers=1" in done.stdout
    (directory,) = output.glob("my_agents_advantage_learning/my_environment_Line/*")
    return directory


@pytest.fixture
def copied(trained, tmp_path, monkeypatch):
    """A copy of the run, beside the modules."""
    monkeypatch.chdir(EXTENSION)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return pathlib.Path(shutil.copytree(trained, tmp_path / "run"))


def test_every_hyperparameter_is_saved(trained):
    saved = json.loads((trained / "config.json").read_text())
    assert saved["algorithm_args"] == ["alpha=0.25", "layers=1"]
    assert (saved["environment"], saved["algorithm"]) == (ENVIRONMENT, ALGORITHM)


@pytest.mark.slow
@pytest.mark.conformance
def test_a_run_resumes_when_its_code_is_named_again(copied):
    words = ["--resume", copied, *QUIET, *OWN]
    assert "resuming at 600 steps" in script("dqn", *words)
    error = script("dqn", *words, "--algorithm-args", "alpha=0.5", code=2)
    assert "algorithm_args was ('alpha=0.25', 'layers=1') and is ('alpha=0.5'," in error
    policy = load(copied, allow_import=True)
    same = load(copied, adapt(policy_environment()), allow_import=True)
    observation = np.float32([0.5])
    np.testing.assert_array_equal(
        policy.q_values(observation), same.q_values(observation)
    )


def policy_environment():
    import my_environment

    return my_environment.Line()


SIDE_EFFECT = """
import pathlib
pathlib.Path({marker!r}).touch()
from my_agents import advantage_learning as algorithm
from my_environment import Line as Environment
"""


@pytest.fixture
def harmful(copied, tmp_path):
    """A run whose files name a module with a side effect, and its marker."""
    marker = tmp_path / "imported"
    text = SIDE_EFFECT.format(marker=str(marker))
    (tmp_path / "their_side_effect.py").write_text(text, encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    for path in (copied / "config.json", copied / "manifest.json"):
        text = path.read_text().replace(ENVIRONMENT, "their_side_effect:Environment")
        path.write_text(text.replace(ALGORITHM, "their_side_effect:algorithm"))
    yield copied, marker
    sys.modules.pop("their_side_effect", None)


def test_code_that_only_a_file_names_is_not_imported(harmful, tmp_path):
    directory, marker = harmful
    named = "--environment their_side_effect:Environment"
    named += " --algorithm their_side_effect:algorithm"
    for words in ([], OWN, named.split()[:2]):
        error = script("dqn", "--resume", directory, *words, code=2)
        assert "/config.json names code, their_side_effect:" in error
    assert f"Add {named.split(' ', 2)[2]} or --allow-import" in error
    assert "Add --allow-import to play.py" not in error
    for environment in (None, adapt(policy_environment())):
        with pytest.raises(ConfigError, match=r"allow_import=True.*to play\.py"):
            load(directory, environment)
    assert "names code" in script("play", directory, code=2)
    assert not marker.exists() and "their_side_effect" not in sys.modules
    assert "saved" in script("play", directory, "--allow-import", "--max-steps", "2")
    assert marker.exists()


def test_permission_to_import_is_refused_where_nothing_is_read(tmp_path):
    for name, words in (("dqn", []), ("sweep", ["--grid", "discount=0.9"])):
        words = [*words, "--allow-import", "--output", tmp_path]
        assert "--allow-import has no effect without --" in script(name, *words, code=2)


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.chdir(EXTENSION)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.slow
@pytest.mark.conformance
def test_a_sweep_over_hyperparameters_resumes_and_merges(modules, tmp_path):
    words = [
        *FLAGS, *OWN, *QUIET, "--grid", "algo.alpha=0,0.9", "--confirm-seeds", "0",
        "--output", tmp_path,
    ]  # fmt: skip
    out = script("sweep", *words)
    assert "compiled programs: 1 " in out and "inputs: algo.alpha" in out
    assert "--algorithm-args alpha=0" in out
    (directory,) = (tmp_path / "sweep").glob("my_agents_advantage_learning/*")
    header = (directory / "settings.csv").read_text().splitlines()[0]
    assert "algo.alpha" in header
    assert "blocks were already finished" in script("sweep", *words)
    merge = ["--merge", directory, *QUIET, "--confirm-seeds", "0"]
    error = script("sweep", *merge, code=2)
    assert "/sweep.json names code" in error and "Add --allow-import." in error
    assert "saved in" in script("sweep", *merge, "--allow-import")
    both = [*words, "--algorithm-args", "alpha=0.5"]
    error = script("sweep", *both, code=2)
    assert "--algorithm-args has no effect since every setting has its own" in error


@pytest.mark.slow
@pytest.mark.conformance
def test_a_search_over_hyperparameters_resumes(modules, tmp_path):
    pytest.importorskip("optuna")
    words = [
        *FLAGS, *OWN, *QUIET, "--ranges", "algo.alpha=uniform:0:1", "--confirm-seeds",
        "0", "--output", tmp_path,
    ]  # fmt: skip
    assert "trial 1: " in script("tune", *words, "--trials", "2")
    out = script("tune", *words, "--trials", "3")
    assert "trial 0: " not in out and "trial 2: " in out and "algo.alpha" in out
    (journal,) = tmp_path.glob("tune/*/*/study.log")
    setting = re.compile(r'"setting": ?{')
    text = setting.sub('"setting":{"algorithm":"a:b",', journal.read_text())
    journal.write_text(text)
    error = script("tune", *words, "--trials", "3", code=2)
    assert "/study.log names code, a:b" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--environment", "my_environment:Lime"], "Did you mean Line"),
        (["--environment", "my_nowhere:Line"], "No module named 'my_nowhere'"),
        (["--algorithm", "my_environment:Line"], "must be a function (config, spec)"),
        (["--algorithm", "my_agents:"], "not of the form module:attribute"),
        ([*OWN, "--algorithm-args", "alpha=2"], "must be a number in [0, 1]"),
        ([*OWN, "--algorithm-args", "beta=2"], "has no hyper-parameter 'beta'"),
        ([*OWN, "--environment-args", "size=2"], "has no parameter 'size'"),
        (["--algorithm-args", "alpha=2"], "dqn has no hyper-parameter 'alpha'"),
        (["--algo.alpha", "2"], "use --algorithm-args alpha=..."),
    ],
)
def test_bad_input_is_an_error(words, message, modules, tmp_path):
    error = script("dqn", *words, "--output", tmp_path, code=2)
    assert message in error and not list(tmp_path.iterdir())
