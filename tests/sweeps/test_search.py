"""The command lines of sweep.py, tune.py and compare.py."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from test_sweep import TINY

from jaxq.config.config import Config, ConfigError
from jaxq.runs import signals
from jaxq.sweeps import search_space, sweep

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWEEP = TINY.partition(" --grid")[0]


def script(name, *words, code=0):
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / f"{name}.py", *words],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stderr[-2000:]
    return done.stdout if code == 0 else done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "nothing says what is tried"),
        ("--grid learning_rate=1e-3 --random 3", "--grid and --random says"),
        ("--random 3", "--random N and --ranges belong together"),
        ("--ranges discount=0.9,1", "nothing says what is tried"),
        ("--grid discount=0.9 discount=1", "a field is given twice"),
        ("--grid discount=0.9,1.5", r"discount = 1.5 is outside [0, 1]"),
        ("--grid env.size=3", "CartPole-v1 refuses"),
        ("--grid algorithm=dqn,a2c", "setting 1: algorithm = 'a2c': choose one of"),
        ("--grid discount=0.9,1 --top 0", "top = 0 is less than 1"),
        ("--grid discount=0.9,1 --confirm-seeds -1", "confirm_seeds = -1 is less than"),
        ("--random -3 --ranges discount=0.9,1", "random = -3 is outside [1, 100000]"),
        ("--grid discount=1 --shard 3/2", "shard = '3/2' is not of the form i/n"),
        ("--grid discount=1 --distributed here", "use auto, or ADDRESS:PORT"),
        ("--grid discount=1 --distributed 1.2.3.4:5,2/2", "the processes are 0 to 1"),
        (
            "--grid discount=1 --distributed auto",
            "the processes do not find one another",
        ),
        ("--merge /nowhere", "is no directory of a sweep"),
        ("--settings /nowhere.csv", "settings = '/nowhere.csv' cannot be read"),
    ],
)
def test_bad_input_is_refused_before_anything_is_compiled(words, message, tmp_path):
    said = script("sweep", *words.split(), "--output", str(tmp_path / "out"), code=2)
    assert message in said and said.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_a_sweep_is_planned_without_being_run(tmp_path):
    words = ["--grid", "learning_rate=1e-3,1e-2", "batch_size=8,16", "--dry-run"]
    said = script("sweep", *SWEEP.split(), *words, "--output", str(tmp_path / "out"))
    assert "4 settings x 4 seeds" in said and "compiled programs: 2" in said
    assert "inputs: learning_rate" in said and "blocks of 4 members" in said
    assert not (tmp_path / "out").exists()


def test_shares_are_merged_and_the_command_of_the_best_is_its_run(tmp_path):
    """The single run that is printed has the numbers of the sweep, bit for bit."""
    grid = ["--grid", "learning_rate=1e-3,1e-2", "--confirm-seeds", "0", "--no-plot"]
    shares = []
    for i in (1, 2):
        output = tmp_path / str(i)
        words = [*SWEEP.split(), *grid, "--shard", f"{i}/2", "--output", str(output)]
        assert f"share {i}/2 is finished" in script("sweep", *words)
        shares += [str(path) for path in (output / "sweep" / "dqn").iterdir()]
    said = script("sweep", "--merge", *shares, "--confirm-seeds", "0", "--no-plot")
    assert "1 blocks copied" in said
    line = next(line for line in said.splitlines() if "as a single run" in line)
    words = line.partition("experiments/dqn.py ")[2].split()
    script("dqn", *words, "--output", str(tmp_path / "run"), "--no-plot")
    (run,) = (tmp_path / "run" / "dqn" / "CartPole-v1").iterdir()
    summary = json.loads((pathlib.Path(shares[0]) / "summary.json").read_text())
    best = summary["environments"][0]["ranked"][0]["setting"]
    with (
        np.load(run / "metrics.npz") as one,
        np.load(pathlib.Path(shares[0]) / "metrics.npz") as all_of_them,
    ):
        for name in ("eval_return", "loss", "grad_norm", "eval_returns"):
            np.testing.assert_array_equal(
                one[name], all_of_them[f"program0/{name}"][best]
            )


def test_a_search_goes_on(tmp_path):
    pytest.importorskip("optuna")
    words = [
        *SWEEP.split(), "--ranges", "learning_rate=log:1e-4:1e-1",
        "hidden_sizes=8,8x8", "--output", str(tmp_path), "--no-plot", "--score", "area",
    ]  # fmt: skip
    said = script("tune", *words, "--trials", "2", "--confirm-seeds", "0")
    assert "trial 0: " in said and "trial 1: " in said and "as a single run" in said
    said = script("tune", *words, "--trials", "3")
    assert "trial 0: " not in said and "trial 2: " in said
    assert "return of 3 trials" in said
    assert "on 4 fresh seeds: area return IQM" in said
    (directory,) = (tmp_path / "tune" / "dqn").iterdir()
    lines = (directory / "settings.csv").read_text().splitlines()
    assert len(lines) == 4


def test_a_search_passes_over_settings_that_cannot_run(tmp_path):
    """An epsilon that grows, and counts seeds that diverge."""
    pytest.importorskip("optuna")
    words = [
        *SWEEP.split(), "--ranges", "epsilon_start=uniform:0.1:1",
        "epsilon_end=uniform:0.05:0.9", "learning_rate=log:1e25:1e30",
        "--output", str(tmp_path), "--no-plot", "--sampler", "random",
    ]  # fmt: skip
    said = script("tune", *words, "--trials", "3", "--confirm-seeds", "2")
    assert "cannot run: setting 0: epsilon_end = " in said
    assert "return of 3 trials" in said and ", 4 seeds diverged | " in said
    assert "warning: 4 seeds of the best have diverged" in said
    assert "warning: 2 fresh seeds have diverged" in said
    (directory,) = (tmp_path / "tune" / "dqn").iterdir()
    head, *rows = (directory / "settings.csv").read_text().splitlines()
    column = head.split(",").index("diverged")
    assert [row.split(",")[column] for row in rows] == ["4", "4", "4"]


def test_a_search_gives_up_where_no_setting_can_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna")
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    import tune

    monkeypatch.setattr(signals.Stopper, "end_process", False)

    def refuse(*_):
        raise ConfigError("no")

    monkeypatch.setattr(sweep, "make", refuse)
    ranges = [search_space.parse("discount=uniform:0.9:0.99")]
    arguments = tune.Arguments(output=tmp_path, ranges=("discount=uniform:0.9:0.99",))
    with pytest.raises(ConfigError, match="100 settings in a row cannot run"):
        tune.run(Config(), ranges, arguments)
    assert capsys.readouterr().out.count("cannot run: no\n") == 100


def test_a_search_trains_no_setting_twice(tmp_path):
    pytest.importorskip("optuna")
    words = [*SWEEP.split(), "--output", str(tmp_path), "--no-plot", "--ranges"]
    said = script(
        "tune", *words, "batch_size=8,16", "--trials", "6", "--confirm-seeds", "0"
    )
    (directory,) = (tmp_path / "tune" / "dqn").iterdir()
    different = len((directory / "settings.csv").read_text().splitlines()) - 1
    trials = [line for line in said.splitlines() if line.startswith("trial ")]
    assert len(trials) == 6 and sum(" as trial " in line for line in trials) >= 2
    scores = {line.split(" | ")[1]: line.split()[2] for line in trials}
    assert len(scores) == different <= 2
    assert all(scores[line.split(" | ")[1]] == line.split()[2] for line in trials)
    said = script("tune", *words, "batch_size=8", code=2)
    assert "batch_size has one value, 8" in said


def fake_run(directory, label, task, returns, optimum, points=4, diverged=(), **config):
    """A directory as a run leaves it; returns: [S] at the end."""
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
    out = tmp_path / "out"
    words = [str(tmp_path / "[ab]" / "*"), "--output", str(out), "--resamples", "200"]
    said = script("compare", *words)
    assert "P(a > b)" in said and "Welch" in said
    found = json.loads((out / "compare.json").read_text())
    low, high = found["normalised"]["One"]
    assert (low, high) == (0.0, 10.0)
    assert found["normalised"]["Two"][1] == pytest.approx(8.0, abs=1)  # the best mean
    value, low, high = found["aggregates"]["a"]["IQM"]
    assert low < value < high and value > found["aggregates"]["b"]["IQM"][0]
    assert found["pairs"][0]["a_above_b"][0] > 0.9
    assert all(row["welch_holm_p"] < 0.01 for row in found["tests"])
    assert all(row["permutation_holm_p"] < 0.01 for row in found["tests"])
    assert {path.name for path in out.glob("*.png")} == {
        "curves.png", "aggregates.png", "profile.png",
    }  # fmt: skip
    script("compare", *words, "--metric", "train_return", "--score", "area")


def test_what_cannot_be_compared_is_said(tmp_path):
    fake_run(tmp_path / "a", "a", "One", [1, 2], 10.0)
    fake_run(tmp_path / "b", "a", "One", [1, 2], 10.0)
    fake_run(tmp_path / "c", "c", "Two", [1, 2], 10.0)
    a, b, c = (str(tmp_path / name) for name in "abc")
    for words, message in (
        ([str(tmp_path / "none")], "names no directory"),
        ([str(tmp_path)], "is no directory of a finished run"),
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
    said = script("compare", *words)
    assert "One size=10, final return" in said
    assert "\n  One size=20: a - b = -2," in said  # and no test of a single seed
    assert said.count("Welch") == 1
    fake_run(tmp_path / "5", "b", "One", [3, 4], 10.0, sticky_actions=0.1)
    assert "a has no run on One sticky_actions=0.1" in script(
        "compare", words[0], str(tmp_path / "5"), code=2
    )


def test_diverged_seeds_are_told(tmp_path):
    fake_run(tmp_path / "a", "a", "One", [1, 2, 3], 10.0, diverged=[0, 2])
    fake_run(tmp_path / "b", "b", "One", [1, 2, 3], 10.0)
    words = [str(tmp_path / name) for name in "ab"]
    said = script("compare", *words, "--output", str(tmp_path / "out"))
    assert "warning: a / One: 2 of 3 seeds have diverged" in said
    assert said.count("have diverged") == 1
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert found["diverged"] == {"a / One": 2, "b / One": 0}


def test_directories_may_have_any_name(tmp_path):
    for name in ("x[1]", "k=v"):
        fake_run(tmp_path / name, name, "One", [1, 2], 10.0)
    words = [str(tmp_path / "x[1]"), str(tmp_path / "k=v"), f"y={tmp_path / 'k=v'}"]
    said = script("compare", *words, "--output", str(tmp_path / "out"))
    assert "P(x[1] > k=v)" in said and "P(k=v > y)" in said


def test_of_a_pattern_the_newest_finished_runs_are_compared(tmp_path):
    for name, level in (("1", 1.0), ("2", 2.0)):
        fake_run(tmp_path / "a" / name, "a", "One", [level, level], 10.0)
    (tmp_path / "a" / "3").mkdir()
    fake_run(tmp_path / "b", "b", "One", [5.0, 5.0], 10.0)
    out = tmp_path / "out"
    words = [str(tmp_path / "a" / "*"), str(tmp_path / "b"), "--output", str(out)]
    script("compare", *words)
    found = json.loads((out / "compare.json").read_text())
    assert found["aggregates"]["a"]["IQM"][0] == pytest.approx(0.2)
    (tmp_path / "c" / "1").mkdir(parents=True)
    said = script("compare", str(tmp_path / "c" / "*"), code=2)
    assert "names no directory of a finished run" in said


def test_the_settings_of_arlbench_are_those_that_were_published(tmp_path):
    sys.path.insert(0, str(ROOT / "experiments"))
    import arlbench

    (tmp_path / "published").mkdir()
    arlbench.write(tmp_path)
    for short, name in arlbench.SHORT.items():
        path = f"published/arlbench_{short}.csv"
        made = (tmp_path / path).read_text()
        assert made == (ROOT / "results" / path).read_text()
        assert len(arlbench.settings(name)) == 24
    # One by hand: copied every ceil(70 / 8) = 9 steps of all environments, 8 updates
    # every second of them.
    row = {"env": "MountainCar-v0", "use_target_network": "True"}
    assert arlbench.target_period(row | {"target_update_interval": "70.0"}) == 36
    # Not within the 128 updates between two rollouts, and without a network of its own.
    row["env"] = "CartPole-v1"
    assert arlbench.target_period(row | {"target_update_interval": "1.0"}) == 128
    assert arlbench.target_period(row | {"use_target_network": "False"}) == 1


def test_a_sweep_is_compared_with_what_was_published(tmp_path):
    sys.path.insert(0, str(ROOT / "experiments"))
    import arlbench

    name = "CartPole-v1"
    settings = arlbench.settings(name)
    rows = [r for r in arlbench.published() if r["env"] == name]
    last = [float(r["mean"]) for r in rows if r["env_steps"] == "50000"]
    content = {
        "schema": "jaxq-sweep/1",
        "config": {"environment": name, "num_seeds": 5},
        "settings": settings[::-1],  # in another order
        "programs": [{"width": 5}, {"width": 5}],
        "ranges": [],
        "made_with": {},
    }
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    (tmp_path / "manifest.json").write_text("{}")
    noise = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    ours = np.array(last[::-1])[:, None, None] + noise[:, None]
    arrays = {}
    for i, part in enumerate((np.arange(0, 24, 2), np.arange(1, 24, 2))):
        arrays |= {f"program{i}/setting": part, f"program{i}/eval_return": ours[part]}
    np.savez(tmp_path / "metrics.npz", **arrays)
    found = arlbench.compare(tmp_path)
    assert found["spearman"] == pytest.approx(1.0)
    for row in found["settings"]:
        assert row["ours_mean"] == pytest.approx(row["published_mean"])
        assert row["welch_p"] == pytest.approx(1.0) == row["holm_p"]


def test_algorithms_of_a_sweep_have_components_of_their_own(monkeypatch):
    """Those of the first must not stay in the configurations of the others."""
    sys.path.insert(0, str(ROOT / "experiments"))
    import sweep as script

    from jaxq.config.config import Config
    from jaxq.sweeps import search_space

    found = []

    def run(config, settings, *rest):
        found.extend(search_space.apply(config, setting) for setting in settings)

    monkeypatch.setattr(script, "run", run)
    names = ["rainbow", "dqn", "tabular_q"]
    words = ["--preset", "cleanrl", "--algorithm", "rainbow", "--grid"]
    script.main([*words, f"algorithm={','.join(names)}"])
    assert found == [Config(algorithm=name) for name in names]
