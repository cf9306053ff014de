"""Aliases, hints for unknown names, and numbers as people write them."""

import dataclasses

import pytest

from jaxq.config import aliases, fields, flag_conflicts, flags
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.sweeps import sampling, search_space

NAMES = [field.name for field in dataclasses.fields(Config)]


def parsed(*words):
    return flags.parse({"cleanrl": Config()}, "", list(words), flags.Options())[0]


def test_aliases_and_hints_name_existing_fields():
    options = [field.name for field in dataclasses.fields(flags.Options)]
    assert {*aliases.ALIASES.values()} <= {*NAMES}
    similar = {name for names in aliases.SIMILAR.values() for name in names}
    assert similar <= {*NAMES, *options}
    assert not {*aliases.ALIASES, *aliases.SIMILAR} & {*NAMES, *options}


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["--lr", "0.5"], {"learning_rate": 0.5}),
        (["--lr=0.5"], {"learning_rate": 0.5}),
        (["--learning_rate", "0.5"], {"learning_rate": 0.5}),
        (["--gamma", "0.9"], {"discount": 0.9}),
        (["--env", "Acrobot-v1"], {"environment": "Acrobot-v1"}),
        (["--env-id", "Acrobot-v1"], {"environment": "Acrobot-v1"}),
        (["--seed", "3"], {"first_seed": 3}),
        (["--seeds", "3"], {"num_seeds": 3}),
        (["--steps", "1e6"], {"total_steps": 1_000_000}),
        (["--total_timesteps", "1_000_000"], {"total_steps": 1_000_000}),
        (["--algo", "rainbow"], {"algorithm": "rainbow"}),
        (["--hidden-sizes", "1e2", "64"], {"hidden_sizes": (100, 64)}),
        (["--time-limit", "1e2"], {"time_limit": 100}),
        (["--no_dueling"], {"dueling": False}),
    ],
)
def test_flags_may_be_aliases_and_numbers_written_in_any_way(words, changes):
    config = parsed(*words)
    assert config == Config(**changes)
    assert config.given == {*changes}


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--learnig-rate", "Did you mean --learning-rate or --rnd-learning-rate?"),
        ("--lerning_rate=3", "--lerning_rate is not a flag"),
        ("--lr-schedule", "Did you mean --learning-rate-schedule?"),
        ("--eps-start", "Did you mean --epsilon-start?"),
        ("--eps-end", "Did you mean --epsilon-end?"),
        ("--eval-eps", "Did you mean --eval-epsilon?"),
        ("--tau", "Did you mean --target-tau?"),
        ("--batch", "Did you mean --batch-size?"),
        ("--n-envs", "Did you mean --num-envs?"),
        ("--n-steps", "Did you mean --n-step or --total-steps?"),
        ("--learning-starts", "Did you mean --warmup-steps?"),
        ("--device", "Did you mean --platform?"),
        ("--no-discount", "--no-discount is not a flag"),
        ("--env.length", "use --environment-args length=..."),
        ("--xyzzy", "--xyzzy is not a flag. --help-all lists the flags"),
    ],
)
def test_an_unknown_flag_gets_a_hint(flag, hint):
    with pytest.raises(ConfigError) as error:
        parsed(flag, "1")
    assert hint in str(error.value).replace("lerning-rate", "lerning_rate")


def test_an_alias_conflicts_as_its_field_does():
    assert flag_conflicts.given(["--lr=1", "--no_plot"]) == {
        "--learning-rate", "--no-plot", "--plot",
    }  # fmt: skip


def test_an_unknown_field_gets_a_hint_in_python():
    for make in (Config, lambda **kw: dataclasses.replace(Config(), **kw)):
        with pytest.raises(
            TypeError, match=r"no field 'lr'. Did you mean learning_rate"
        ):
            make(lr=1)
    with pytest.raises(TypeError, match=r"no field 'xyzzy'\.$"):
        Config(xyzzy=1)


def test_aliases_hold_in_ranges_and_in_tables(tmp_path):
    assert search_space.parse("lr=0.5,1").field == "learning_rate"
    assert search_space.parse("learning-rate=0.5,1").field == "learning_rate"
    assert search_space.parse("gamma=uniform:0.5:1").field == "discount"
    assert search_space.parse("env=CartPole-v1").field == "environment"
    assert search_space.parse("env.tau=0.5").field == "env.tau"
    assert search_space.parse("env.size=1e1").values == (10,)
    with pytest.raises(ConfigError, match=r"Did you mean epsilon_steps"):
        search_space.parse("eps_steps=1")
    path = tmp_path / "settings.csv"
    path.write_text("lr,steps\n0.5,1e5\n0.25,1_000\n")
    assert sampling.read_csv(path) == [
        {"learning_rate": 0.5, "total_steps": 100_000},
        {"learning_rate": 0.25, "total_steps": 1_000},
    ]
    path.write_text("lr,learning_rate\n0.5,1e5\n")
    with pytest.raises(ConfigError, match="learning_rate appears twice"):
        sampling.read_csv(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("1e6", 10**6),
        ("1_000", 1000),
        ("-2.0", -2),
        ("4294967295", 2**32 - 1),
    ],
)
def test_whole_numbers(text, value):
    assert fields.whole_number(text) == value


@pytest.mark.parametrize("text", ["1.5", "1e-1", "inf", "nan", "", "many"])
def test_other_numbers_are_refused_where_integers_belong(text, capsys):
    with pytest.raises(ValueError, match="is not a whole number"):
        fields.whole_number(text)
    with pytest.raises(SystemExit):
        parsed("--total-steps", text)
    assert f"{text!r} is not a whole number" in capsys.readouterr().err
