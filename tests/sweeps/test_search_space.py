"""Ranges, and the ways to choose settings from them."""

import dataclasses
import math

import numpy as np
import pytest

from jaxq.config.config import Config, ConfigError
from jaxq.sweeps import search_space


def parse(*words):
    return [search_space.parse(word) for word in words]


@pytest.mark.parametrize(
    ("word", "values"),
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
def test_a_word_stands_for_values(word, values):
    (found,) = parse(word)
    assert found.points() == values
    assert [type(value) for value in found.points()] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("learning_rate", "is not of the form field=values"),
        ("learning_rat=1", r"is no field .* Did you mean learning_rate"),
        ("target_period=10:200", "neither a list nor .* field=uniform:LOW:HIGH"),
        ("env.a/b=1", "is no field"),
        ("num_seeds=1,2", "num_seeds cannot be swept: every setting has the same"),
        ("seed_block=1,2", "seed_block cannot be swept: it changes no distribution"),
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
        ("optimizer=uniform:0:1", "has no interval"),
    ],
)
def test_what_cannot_be_read_is_said(word, message):
    with pytest.raises(ConfigError, match=message):
        search_space.parse(word)


def test_a_grid_is_every_combination():
    found = search_space.grid(parse("learning_rate=0.1,0.2", "batch_size=8,16,32"))
    assert len(found) == 6 and len({tuple(s.items()) for s in found}) == 6
    assert found[:2] == [
        {"learning_rate": 0.1, "batch_size": 8},
        {"learning_rate": 0.1, "batch_size": 16},
    ]
    with pytest.raises(ConfigError, match="a grid needs the number of points"):
        search_space.grid(parse("learning_rate=log:0.1:1"))
    with pytest.raises(ConfigError, match="1000000 settings, more than 100000"):
        words = [f"{name}=uniform:0:1:100" for name in ("discount", "epsilon_end")]
        search_space.grid(parse(*words, "target_tau=uniform:0.1:1:100"))


RANGES = ("learning_rate=log:1e-5:1e-1", "discount=uniform:0.9:1", "batch_size=8,16,32")


@pytest.mark.parametrize("method", ["random", "latin", "sobol"])
def test_draws_follow_the_ranges(method):
    ranges = parse(*RANGES)
    found = search_space.sample(ranges, 300, method, seed=3)
    assert found == search_space.sample(ranges, 300, method, seed=3)
    assert found != search_space.sample(ranges, 300, method, seed=4)
    rates = np.log10([s["learning_rate"] for s in found])
    discounts = np.array([s["discount"] for s in found])
    assert rates.min() >= -5 and rates.max() <= -1
    # Means of uniform numbers; independent draws have the widest spread.
    assert abs(rates.mean() + 3) < 4 * 4 / math.sqrt(12 * 300)
    assert abs(discounts.mean() - 0.95) < 4 * 0.1 / math.sqrt(12 * 300)
    counts = np.unique([s["batch_size"] for s in found], return_counts=True)
    assert counts[0].tolist() == [8, 16, 32] and counts[1].min() > 60
    assert abs(np.corrcoef(rates, discounts)[0, 1]) < 0.25


def test_a_latin_hypercube_has_one_value_in_each_part():
    found = search_space.sample(parse(*RANGES), 50, "latin")
    for name, low, width in (("discount", 0.9, 0.1), ("learning_rate", -5, 4)):
        values = np.array([s[name] for s in found])
        values = np.log10(values) if name == "learning_rate" else values
        parts = np.floor((values - low) / width * 50 + 1e-3).astype(int)
        assert len(set(np.clip(parts, 0, 49))) >= 49  # rounding to six digits


def test_more_of_a_sobol_sequence_begins_the_same():
    ranges = parse(*RANGES)
    assert search_space.sample(ranges, 50)[:20] == search_space.sample(ranges, 20)
    with pytest.raises(ConfigError, match=r"random = 0 is outside \[1, 100000\]"):
        search_space.sample(ranges, 0)


def test_share_is_the_inverse_of_at():
    for word in RANGES[:2]:
        r = search_space.parse(word)
        for share in (0.0, 0.3, 1.0):
            assert r.share(r.at(share)) == pytest.approx(share, abs=1e-4)


def test_settings_from_a_file(tmp_path):
    path = tmp_path / "settings.csv"
    path.write_text(
        "learning_rate,hidden_sizes,max_grad_norm\n1e-3,32x32,none\n1,8,5\n"
    )
    assert search_space.read(path) == [
        {"learning_rate": 1e-3, "hidden_sizes": (32, 32), "max_grad_norm": None},
        {"learning_rate": 1.0, "hidden_sizes": (8,), "max_grad_norm": 5.0},
    ]
    for text, message in (
        ("", "has no rows"),
        ("learning_rate\n1,2\n", "line 2 has more or fewer values"),
        ("learning_rate,discount\n1\n", "line 2 has more or fewer values"),
        ("speed\n1\n", "'speed' is no field"),
        (",discount\n0,0.9\n", "a column has no name"),
        ("discount,discount\n0.9,0.8\n", "discount comes twice"),
        ("learning_rate\nfast\n", "'fast' is not a number"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            search_space.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        search_space.read(tmp_path / "none.csv")


def test_a_setting_changes_fields_and_parameters():
    base = Config(environment_args=("length=0.5", "tau=0.01"))
    found = search_space.apply(
        base, {"discount": 0.9, "env.length": 2.0, "env.force_mag": 5}
    )
    assert found.environment_args == ("length=2.0", "tau=0.01", "force_mag=5")
    expected = dataclasses.replace(
        base, discount=0.9, environment_args=found.environment_args
    )
    assert found == expected


def test_a_value_that_an_algorithm_would_replace_is_refused():
    base = Config(algorithm="rainbow")
    assert search_space.apply(base, {"n_step": 5}).n_step == 5
    with pytest.raises(ConfigError, match="n_step = 1: rainbow is what sets this"):
        search_space.apply(base, {"n_step": 1})
