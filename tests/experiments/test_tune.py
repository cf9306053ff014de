"""The command line of tune.py."""

import pytest
from small_sweeps import FLAGS, script

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.runs import signals
from jaxq.sweeps import planning, search_space


@pytest.mark.slow
@pytest.mark.conformance
def test_a_search_resumes(tmp_path):
    pytest.importorskip("optuna")
    words = [
        *FLAGS, "--ranges", "learning_rate=log:1e-4:1e-1",
        "target_period=5,50", "--output", str(tmp_path), "--no-plot", "--score", "area",
    ]  # fmt: skip
    out = script("tune", *words, "--trials", "2", "--confirm-seeds", "0")
    assert "trial 0: " in out and "trial 1: " in out and "as a single run" in out
    out = script("tune", *words, "--trials", "3")
    assert "trial 0: " not in out and "trial 2: " in out
    assert "return of 3 trials" in out
    assert "on 4 held-out seeds: area return IQM" in out
    (directory,) = (tmp_path / "tune" / "dqn").iterdir()
    lines = (directory / "settings.csv").read_text().splitlines()
    assert len(lines) == 4


@pytest.mark.slow
@pytest.mark.conformance
def test_a_search_skips_settings_that_cannot_run(tmp_path):
    """It skips an epsilon that increases, and counts seeds that diverge."""
    pytest.importorskip("optuna")
    words = [
        *FLAGS, "--ranges", "epsilon_start=uniform:0.1:1",
        "epsilon_end=uniform:0.05:0.9", "learning_rate=log:1e25:1e30",
        "--output", str(tmp_path), "--no-plot", "--sampler", "random",
    ]  # fmt: skip
    out = script("tune", *words, "--trials", "3", "--confirm-seeds", "4")
    assert "cannot run: setting 0: epsilon_end = " in out
    assert "return of 3 trials" in out and ", 4 seeds diverged | " in out
    assert "warning: 4 seeds of the best setting diverged" in out
    assert "warning: 4 held-out seeds diverged" in out
    (directory,) = (tmp_path / "tune" / "dqn").iterdir()
    head, *rows = (directory / "settings.csv").read_text().splitlines()
    column = head.split(",").index("diverged")
    assert [row.split(",")[column] for row in rows] == ["4", "4", "4"]


def test_a_search_gives_up_if_no_setting_can_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna")
    from experiments import tune

    monkeypatch.setattr(signals.Stopper, "end_process", False)

    def refuse(*_):
        raise ConfigError("no")

    monkeypatch.setattr(planning, "plan", refuse)
    ranges = [search_space.parse("discount=uniform:0.9:0.99")]
    arguments = tune.Arguments(output=tmp_path, ranges=("discount=uniform:0.9:0.99",))
    with pytest.raises(ConfigError, match="100 settings in a row cannot run"):
        tune.run(Config(defaults="plain"), ranges, arguments)
    assert capsys.readouterr().out.count("cannot run: no\n") == 100


@pytest.mark.slow
@pytest.mark.conformance
def test_a_search_trains_no_setting_twice(tmp_path):
    pytest.importorskip("optuna")
    words = [*FLAGS, "--output", str(tmp_path), "--no-plot", "--ranges"]
    out = script("tune", *words, "n_step=1,3", "--trials", "6", "--confirm-seeds", "0")
    (directory,) = (tmp_path / "tune" / "dqn").iterdir()
    different = len((directory / "settings.csv").read_text().splitlines()) - 1
    trials = [line for line in out.splitlines() if line.startswith("trial ")]
    assert len(trials) == 6 and sum(" as trial " in line for line in trials) >= 2
    scores = {line.split(" | ")[1]: line.split()[2] for line in trials}
    assert len(scores) == different <= 2
    assert all(scores[line.split(" | ")[1]] == line.split()[2] for line in trials)
    out = script("tune", *words, "v_max=uniform:1:9", "discount=0.9,1", code=2)
    assert "a sweep over v_max has no effect" in out
    out = script("tune", *words, "n_step=3", code=2)
    assert "n_step has one value, 3" in out
