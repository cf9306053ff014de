"""The table of environments: the defaults of a configuration."""

import dataclasses
import itertools

import gymnax
import pytest

from jaxq import Config, ConfigError, adapt, preset
from jaxq.config import algorithm_table, environment_notes, environment_table, validate
from jaxq.training import checks

FIELDS = {field.name for field in dataclasses.fields(Config)}
CONTINUOUS = {
    "Pendulum-v1", "MountainCarContinuous-v0", "PointRobot-misc", "Reacher-misc",
    "Swimmer-misc",
}  # fmt: skip
# Sizes and weights that an environment may choose for an algorithm.
SIZES = {
    "anneal_updates", "batch_size", "ensemble_size", "learning_rate", "max_grad_norm",
    "num_epochs", "num_minibatches", "num_quantiles", "reset_period", "rollout_length",
}  # fmt: skip


def test_every_environment_with_discrete_actions_is_in_the_table():
    names = set(gymnax.registered_envs) - CONTINUOUS - {"MNISTBandit-bsuite"}
    assert set(environment_table.ENVIRONMENTS) == names


def test_a_configuration_takes_the_settings_of_its_environment():
    config = Config(environment="Acrobot-v1")
    assert (config.total_steps, config.num_updates) == (80_000, 2)
    assert config.learning_rate_schedule == "linear"
    assert Config(environment="Acrobot-v1", num_updates=1).num_updates == 1
    replaced = dataclasses.replace(config, environment="MountainCar-v0")
    assert replaced == Config(environment="MountainCar-v0")
    assert replaced.timeout_is_terminal and not config.timeout_is_terminal
    assert Config(environment="Acrobot-v1", defaults="plain").num_updates == 1
    assert preset("dqn", environment="Acrobot-v1").batch_size == 32


def test_the_settings_depend_on_the_kind_of_agent():
    assert Config(environment="Acrobot-v1", algorithm="pqn").num_envs == 16
    assert Config(environment="Acrobot-v1", algorithm="r2d2").burn_in == 4
    assert Config(environment="Acrobot-v1", rollout_length=16).num_epochs == 4
    assert Config(environment="FrozenLake-misc", algorithm="tabular_q").num_envs == 20
    assert Config(environment="Acrobot-v1", algorithm="fqf").num_quantiles == 8


@pytest.mark.parametrize(
    ("environment", "discount", "bounds"),
    [
        ("CartPole-v1", 0.99, (-10.0, 110.0)),
        ("Acrobot-v1", 0.99, (-110.0, 10.0)),
        ("Acrobot-v1", 0.999, (-1100.0, 100.0)),
        ("Catch-bsuite", 0.99, (-1.2, 1.2)),
        ("Catch-bsuite", 1.0, (-1.2, 1.2)),
        ("UmbrellaChain-bsuite", 1.0, (-12.0, 12.0)),
        ("Acrobot-v1", 1.0, (None, None)),
        ("CliffWalking", 0.99, (None, None)),
    ],
)
def test_return_bounds_follow_rewards_and_discount(environment, discount, bounds):
    for defaults in ("environment", "plain"):
        config = Config(environment=environment, discount=discount, defaults=defaults)
        assert (config.v_min, config.v_max) == bounds
    if None in bounds:
        config = dataclasses.replace(config, algorithm="c51")
        with pytest.raises(ConfigError, match=r"needs v_min and v_max.*--v-min -10"):
            validate.validate(config)
        validate.validate(dataclasses.replace(config, v_min=-100.0, v_max=0.0))


def test_an_environment_object_takes_plain_settings():
    config = checks.settings_for_object(Config(num_seeds=3))
    assert config == Config(num_seeds=3, defaults="plain")
    for chosen in (Config(environment="Acrobot-v1"), Config(defaults="environment")):
        assert checks.settings_for_object(chosen) == chosen


def test_an_environment_object_needs_return_bounds():
    environment = adapt(gymnax.make("Catch-bsuite")[0])
    with pytest.raises(ConfigError, match="needs v_min and v_max"):
        checks.check(Config(algorithm="c51"), environment)
    checks.check(Config(algorithm="c51", v_min=-1.0, v_max=1.0), environment)


@pytest.mark.parametrize("environment", environment_table.ENVIRONMENTS)
def test_every_algorithm_is_valid_with_the_settings_of_an_environment(environment):
    row = environment_table.ENVIRONMENTS[environment]
    for name in algorithm_table.ALGORITHMS:
        config = Config(environment=environment, algorithm=name)
        validate.validate(config)
        kind = environment_table.kind(vars(config))
        assert (kind == "table") == (name in algorithm_table.TABULAR)
        settings = environment_table.settings(environment, name, kind)
        assert bool(settings) == (kind != "table" or row.numbered)
        assert set(settings) <= FIELDS
        for field in algorithm_table.components(name).keys() & settings.keys():
            assert (
                field in SIZES
                or settings[field] == (algorithm_table.components(name)[field])
            )


def test_rows_name_known_kinds_and_algorithms():
    kinds = {f"{memory}{source}" for memory, source in itertools.product(
        ("", "recurrent_"), ("replay", "rollouts"))} | {"table", "stream"}  # fmt: skip
    assert set(environment_table.KINDS) == kinds
    for row in environment_table.ENVIRONMENTS.values():
        assert set(row.kinds) <= kinds
        assert set(row.algorithms) <= set(algorithm_table.ALGORITHMS)
        assert row.rewards.low < row.rewards.high


def test_the_settings_taken_are_printed():
    (line,) = environment_notes.notes(Config(environment="Acrobot-v1", num_envs=4))
    assert line.startswith("settings for Acrobot-v1: ")
    assert "hidden_sizes 64x64, " in line and "learning_rate 0.001, " in line
    assert "num_envs" not in line and "num_quantiles" not in line
    assert "v_min" not in line and "--defaults plain" in line
    (line,) = environment_notes.notes(Config(algorithm="c51", defaults="plain"))
    assert "v_min -10, v_max 110 " in line
    assert environment_notes.notes(Config(defaults="plain")) == []
    _, note = environment_notes.notes(Config(total_steps=100_000))
    assert note.startswith("note: epsilon_steps and learning_rate_updates are for 200,")
    short = Config(total_steps=10**5, epsilon_steps=1e4, learning_rate_updates=1e4)
    assert len(environment_notes.notes(short)) == 1
    (line,) = environment_notes.notes(Config(environment="CliffWalking"))
    assert line.startswith("note: no settings are known for CliffWalking")
