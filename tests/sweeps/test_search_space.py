"""Search spaces: parsing of ranges, and application of settings."""

import dataclasses

import pytest

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.sweeps import search_space


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("learning_rate=1e-4,3e-4", [1e-4, 3e-4]),
        ("batch_size=32,64", [32, 64]),
        ("total_steps=1e5", [100_000]),
        ("double_q=true,false", [True, False]),
        ("optimizer=adam,sgd", ["adam", "sgd"]),
        ("environment=CartPole-v1,Acrobot-v1", ["CartPole-v1", "Acrobot-v1"]),
        ("hidden_sizes=64x64,256", [(64, 64), (256,)]),
        ("max_grad_norm=none,10", [None, 10.0]),
        ("env.length=0.5,1", [0.5, 1]),
        ("env.is_slippery=false", [False]),
        ("env.map_name=8x8", ["8x8"]),
        ("learning_rate=log:1e-4:1e-2:3", [1e-4, 1e-3, 1e-2]),
        ("discount=uniform:0.9:1:3", [0.9, 0.95, 1.0]),
        ("target_period=log:1:1000:4", [1, 10, 100, 1000]),
        ("n_step=uniform:1:2:5", [1, 2]),  # once each
        ("env.length=log:0.25:1:3", [0.25, 0.5, 1.0]),
    ],
)
def test_ranges_are_parsed(text, values):
    points = search_space.parse(text).points()
    assert points == values
    assert [type(value) for value in points] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate", "is not of the form field=values"),
        ("learning_rat=1", r"is not a field .* Did you mean learning_rate"),
        ("target_period=10:200", "neither a list nor .* field=uniform:LOW:HIGH"),
        ("env.a/b=1", "is not a field"),
        ("num_seeds=1,2", "num_seeds cannot be swept: every setting has the same"),
        (
            "seed_block=1,2",
            "seed_block cannot be swept: it does not change",
        ),
        ("environment_args=size=3", r"name a parameter as env\.NAME"),
        ("learning_rate=1e-3,0.001", r"has the value 0\.001 twice"),
        ("learning_rate=fast", "'fast' is not a number"),
        ("batch_size=3.5", r"'3\.5' is not a whole number"),
        ("batch_size=inf", "'inf' is not a whole number"),
        ("double_q=yes", "choose true or false"),
        ("learning_rate=log:1e-4", "an interval is log:LOW:HIGH"),
        ("learning_rate=log:0:1", "must be above zero"),
        ("learning_rate=log:1:0.1", "low end must be below"),
        ("learning_rate=uniform:nan:1", "low end must be below"),
        ("learning_rate=log:0.1:1:1", "2 to 100000 points"),
        ("learning_rate=log:0.1:1:2:3", "2 to 100000 points"),
        ("optimizer=uniform:0:1", "optimizer is not a number; list its values"),
    ],
)
def test_malformed_ranges_raise(text, message):
    with pytest.raises(ConfigError, match=message):
        search_space.parse(text)


RANGES = ("learning_rate=log:1e-5:1e-1", "discount=uniform:0.9:1")


def test_share_is_the_inverse_of_at():
    for text in RANGES:
        r = search_space.parse(text)
        for share in (0.0, 0.3, 1.0):
            assert r.share(r.at(share)) == pytest.approx(share, abs=1e-4)


def test_a_setting_changes_fields_and_environment_parameters():
    base = Config(defaults="plain", environment_args=("length=0.5", "tau=0.01"))
    config = search_space.apply(
        base, {"discount": 0.9, "env.length": 2.0, "env.force_mag": 5}
    )
    assert config.environment_args == ("length=2.0", "tau=0.01", "force_mag=5")
    expected = dataclasses.replace(
        base, discount=0.9, environment_args=config.environment_args
    )
    assert config == expected


def test_a_value_wins_over_the_algorithm_even_if_it_equals_the_default():
    base = Config(defaults="plain", algorithm="rainbow")
    for n_step in (5, 1):
        assert search_space.apply(base, {"n_step": n_step}).n_step == n_step
