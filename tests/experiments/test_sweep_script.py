"""The command line of sweep.py."""

import importlib
import json
import pathlib

import numpy as np
import pytest
from small_sweeps import FLAGS, script

from jaxq.config.config import Config
from jaxq.runs import matplotlib_check
from jaxq.sweeps import search_space


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no source of settings given: give exactly one"),
        (
            "--grid learning_rate=1e-3 --random 3",
            "--grid and --random given: give exactly",
        ),
        ("--random 3", "--random N and --ranges must be given together"),
        ("--ranges discount=0.9,1", "no source of settings given: give exactly one"),
        ("--grid discount=0.9 discount=1", "a field is given twice"),
        ("--grid discount=0.9,1.5", r"discount = 1.5 is outside [0, 1]"),
        (
            "--grid priority_exponent=0.1,0.9",
            "a sweep over priority_exponent has no effect",
        ),
        ("--grid env.size=3", "CartPole-v1 rejects"),
        (
            "--grid algorithm=dqn,a2c",
            "setting {'algorithm': 'a2c'}: algorithm = 'a2c': choose one of",
        ),
        ("--grid discount=0.9,1 --top 0", "top = 0 is less than 1"),
        ("--grid discount=0.9,1 --confirm-seeds -1", "confirm_seeds = -1 is less than"),
        ("--random -3 --ranges discount=0.9,1", "random = -3 is outside [1, 100000]"),
        ("--grid discount=1 --shard 3/2", "shard = '3/2' is not of the form i/n"),
        ("--grid discount=1 --distributed here", "use auto, or ADDRESS:PORT"),
        ("--grid discount=1 --distributed 1.2.3.4:5,2/2", "must be in [0, 1]"),
        (
            "--grid discount=1 --distributed auto",
            "the processes cannot connect",
        ),
        (
            "--random 2 --ranges discount=0.9,1 --discount 0.9",
            "--discount has no effect since every setting has its own discount",
        ),
        ("--merge /nowhere", "--output has no effect with --merge"),
        ("--settings /nowhere.csv", "settings = '/nowhere.csv' cannot be read"),
    ],
)
def test_bad_input_raises_before_anything_is_compiled(words, message, tmp_path):
    err = script("sweep", *words.split(), "--output", str(tmp_path / "out"), code=2)
    assert message in err and err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--merge /nowhere", "is not a sweep's directory"),
        (
            "--grid discount=0.9,1 --sample-seed 1",
            "--sample-seed has no effect without",
        ),
        (
            "--grid discount=0.9,1 --method latin",
            "--method has no effect without --ran",
        ),
        ("--merge D --sample-seed 1", "--sample-seed has no effect without --random"),
        (
            "--merge D --dry-run",
            "--dry-run has no effect with --merge, which reads the",
        ),
        ("--merge D --shard 1/2", "--shard has no effect with --merge"),
        ("--merge D --preset cleanrl", "--preset has no effect with --merge"),
        ("--merge D --num-seeds 3", "--num-seeds has no effect with --merge"),
        ("--merge D --no-double-q", "--double-q has no effect with --merge"),
        (
            "--grid algorithm=dqn,c51 --algorithm rainbow",
            "--algorithm has no effect since every setting has its own algorithm",
        ),
        (
            "--environment-args length=0.3 --grid env.length=0.4,0.5",
            "--environment-args has no effect since every setting has its own env.leng",
        ),
    ],
)
def test_options_without_effect_are_refused(words, message, capsys):
    with pytest.raises(SystemExit) as raised:
        script_module("sweep").main(words.split())
    error = capsys.readouterr().err
    assert raised.value.code == 2 and error.startswith("error: ") and message in error


def test_without_matplotlib_a_sweep_that_plots_is_refused(monkeypatch, capsys):
    def fail():
        raise ImportError("no matplotlib here")

    monkeypatch.setattr(matplotlib_check, "_import_matplotlib", fail)
    sweep, started = script_module("sweep"), []
    monkeypatch.setattr(sweep, "run", lambda *args: started.append(args))
    words = ["--grid", "discount=0.9,1"]
    with pytest.raises(SystemExit):
        sweep.main(words)
    assert "cannot be imported (no matplotlib here)" in capsys.readouterr().err
    sweep.main([*words, "--no-plot"])
    assert len(started) == 1


def test_a_search_refuses_flags_for_what_it_searches(capsys):
    words = ["--ranges", "discount=0.9,1", "--discount=0.9"]
    with pytest.raises(SystemExit) as raised:
        script_module("tune").main(words)
    assert raised.value.code == 2
    assert "--discount has no effect since every" in capsys.readouterr().err


def script_module(name):
    """A script of experiments/, imported in this process."""
    return importlib.import_module(f"experiments.{name}")


def test_dry_run_prints_the_plan(tmp_path):
    words = ["--grid", "learning_rate=1e-3,1e-2", "n_step=1,3", "--dry-run"]
    out = script("sweep", *FLAGS, *words, "--output", str(tmp_path / "out"))
    assert "4 settings x 4 seeds" in out and "compiled programs: 2" in out
    assert "inputs: learning_rate" in out and "blocks of 4 members" in out
    assert not (tmp_path / "out").exists()


def test_shards_merge_and_the_printed_command_reproduces_the_best(tmp_path):
    """The printed single run is bit-identical to its member of the sweep."""
    grid = ["--grid", "learning_rate=1e-3,1e-2", "--confirm-seeds", "0", "--no-plot"]
    shards = []
    for i in (1, 2):
        output = tmp_path / str(i)
        words = [*FLAGS, *grid, "--shard", f"{i}/2", "--output", str(output)]
        assert f"shard {i}/2 is finished" in script("sweep", *words)
        shards += [str(path) for path in (output / "sweep" / "dqn").iterdir()]
    out = script("sweep", "--merge", *shards, "--confirm-seeds", "0", "--no-plot")
    assert "1 blocks copied" in out
    line = next(line for line in out.splitlines() if "as a single run" in line)
    words = line.partition("experiments/dqn.py ")[2].split()
    script("dqn", *words, "--output", str(tmp_path / "run"), "--no-plot")
    (run,) = (tmp_path / "run" / "dqn" / "CartPole-v1").iterdir()
    summary = json.loads((pathlib.Path(shards[0]) / "summary.json").read_text())
    best = summary["environments"][0]["ranked"][0]["setting"]
    with (
        np.load(run / "metrics.npz") as one,
        np.load(pathlib.Path(shards[0]) / "metrics.npz") as every_member,
    ):
        for name in ("eval_return", "loss", "grad_norm", "eval_returns"):
            np.testing.assert_array_equal(
                one[name], every_member[f"program0/{name}"][best]
            )


def test_every_algorithm_of_a_sweep_has_its_own_components(monkeypatch):
    """Components of the first must not leak into the others' configurations."""
    sweep, configs = script_module("sweep"), []

    def run(config, settings, *rest):
        configs.extend(search_space.apply(config, setting) for setting in settings)

    monkeypatch.setattr(sweep, "run", run)
    names = ["rainbow", "dqn", "tabular_q"]
    sweep.main(["--preset", "cleanrl", "--grid", f"algorithm={','.join(names)}"])
    base = Config(defaults="plain", algorithm="rainbow")
    configs += [search_space.apply(base, {"algorithm": name}) for name in names]
    expected = [Config(defaults="plain", algorithm=name) for name in names]
    assert configs == 2 * expected
