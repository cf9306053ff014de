"""Reports of given fields that have no effect, before a run starts."""

import dataclasses
import warnings

import pytest

from jaxq import Config, cli, preset
from jaxq.config.fields import ConfigError, UnusedFieldWarning
from jaxq.runs import run, session

PRESETS = {"base": Config(total_steps=20_000, priority_exponent=0.3)}


@pytest.fixture
def stopped(monkeypatch):
    """Runs stop where they would start."""

    def stop(*arguments):
        raise ConfigError("stopped")

    monkeypatch.setattr(session, "prepare", stop)


def warned(config):
    """Warnings of a run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ConfigError, match="stopped"):
            run.run(config)
    return [w for w in caught if w.category is UnusedFieldWarning]


def test_a_run_warns_of_given_fields_without_effect(stopped):
    config = Config(v_max=10.0, discount=0.9, total_steps=20_000)  # v_max: its default
    (warning,) = warned(config)
    assert str(warning.message).startswith("v_max has no effect: only histogram heads")
    assert warning.filename == __file__
    assert not warned(dataclasses.replace(config, head="categorical"))
    assert not warned(Config()) and not warned(preset("noisy_dqn"))


def output(capsys, *words):
    with pytest.raises(SystemExit):
        cli.main(PRESETS, "", [*words, "--no-progress", "--num-seeds", "2"])
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("", []),
        ("--priority-exponent 0.3", ["priority_exponent"]),
        ("--prioritized --priority-exponent 0.4 --n-step 3", []),
        ("--channels 4 --no-trace-cut", ["channels", "trace_cut"]),
        ("--channels=4 --environment Breakout-MinAtar", []),
        ("--v-max 10", ["v_max"]),  # its default
    ],
)
def test_flags_without_effect_are_noted(stopped, capsys, words, fields):
    """The preset's own fields are not."""
    lines = output(capsys, *words.split())
    assert sorted(line.split()[1] for line in lines) == fields
    assert all(line.startswith("note: ") and "would read it" in line for line in lines)
