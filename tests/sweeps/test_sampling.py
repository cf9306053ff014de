"""Sampling of settings: grids, random samples and CSV files."""

import math

import numpy as np
import pytest

from jaxq.config.fields import ConfigError
from jaxq.sweeps import sampling, search_space


def parse(*texts):
    return [search_space.parse(text) for text in texts]


def test_a_grid_is_every_combination():
    settings = sampling.grid(parse("learning_rate=0.1,0.2", "batch_size=8,16,32"))
    assert len(settings) == 6 and len({tuple(s.items()) for s in settings}) == 6
    assert settings[:2] == [
        {"learning_rate": 0.1, "batch_size": 8},
        {"learning_rate": 0.1, "batch_size": 16},
    ]
    with pytest.raises(ConfigError, match="a grid needs the number of points"):
        sampling.grid(parse("learning_rate=log:0.1:1"))
    with pytest.raises(ConfigError, match="1000000 settings, more than 100000"):
        texts = [f"{name}=uniform:0:1:100" for name in ("discount", "epsilon_end")]
        sampling.grid(parse(*texts, "target_tau=uniform:0.1:1:100"))


RANGES = ("learning_rate=log:1e-5:1e-1", "discount=uniform:0.9:1", "batch_size=8,16,32")


@pytest.mark.parametrize("method", ["random", "latin", "sobol"])
def test_samples_follow_the_ranges(method):
    ranges = parse(*RANGES)
    settings = sampling.sample(ranges, 300, method, seed=3)
    assert settings == sampling.sample(ranges, 300, method, seed=3)
    assert settings != sampling.sample(ranges, 300, method, seed=4)
    rates = np.log10([s["learning_rate"] for s in settings])
    discounts = np.array([s["discount"] for s in settings])
    assert rates.min() >= -5 and rates.max() <= -1
    # Means of uniform numbers; independent samples have the largest variance.
    assert abs(rates.mean() + 3) < 4 * 4 / math.sqrt(12 * 300)
    assert abs(discounts.mean() - 0.95) < 4 * 0.1 / math.sqrt(12 * 300)
    counts = np.unique([s["batch_size"] for s in settings], return_counts=True)
    assert counts[0].tolist() == [8, 16, 32] and counts[1].min() > 60
    assert abs(np.corrcoef(rates, discounts)[0, 1]) < 0.25


def test_a_latin_hypercube_has_one_value_in_each_part():
    settings = sampling.sample(parse(*RANGES), 50, "latin")
    for name, low, width in (("discount", 0.9, 0.1), ("learning_rate", -5, 4)):
        values = np.array([s[name] for s in settings])
        values = np.log10(values) if name == "learning_rate" else values
        parts = np.floor((values - low) / width * 50 + 1e-3).astype(int)
        assert len(set(np.clip(parts, 0, 49))) >= 49  # rounding to six digits


def test_a_longer_sobol_sequence_starts_with_the_shorter():
    ranges = parse(*RANGES)
    assert sampling.sample(ranges, 50)[:20] == sampling.sample(ranges, 20)
    with pytest.raises(ConfigError, match=r"random = 0 is outside \[1, 100000\]"):
        sampling.sample(ranges, 0)


def test_settings_are_read_from_csv(tmp_path):
    path = tmp_path / "settings.csv"
    path.write_text(
        "learning_rate,hidden_sizes,max_grad_norm\n1e-3,32x32,none\n1,8,5\n"
    )
    assert sampling.read_csv(path) == [
        {"learning_rate": 1e-3, "hidden_sizes": (32, 32), "max_grad_norm": None},
        {"learning_rate": 1.0, "hidden_sizes": (8,), "max_grad_norm": 5.0},
    ]
    for text, message in (
        ("", "has no rows"),
        ("discount\n\n", "has no rows after the header"),
        ("learning_rate\n1,2\n", "line 2 does not have as many values"),
        ("learning_rate,discount\n1\n", "line 2 does not have as many values"),
        ("speed\n1\n", "first line must name the columns: 'speed' is not a field"),
        ("1e-3,0.9\n1e-2,0.9\n", "first line must name the columns: '1e-3'"),
        ("learning_rate,discount,\n1,0.9,\n", "a column has no name.* empty last one"),
        ("learning_rate,discount\n1,0.9\n\n1,\n", "line 4: discount has no value"),
        ("env.length,discount\n,0.9\n", "line 2: env.length has no value"),
        ("hidden_sizes,discount\n8,0.9\n,0.9", "line 3: hidden_sizes has no value"),
        ("learning_rate;discount\n0,1;0.9", "line 2: learning_rate = '0,1' is not a"),
        (",discount\n0,0.9\n", "a column has no name"),
        ("discount,discount\n0.9,0.8\n", "discount appears twice"),
        ("learning_rate\nfast\n", "'fast' is not a number"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            sampling.read_csv(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        sampling.read_csv(tmp_path / "none.csv")
    path.write_bytes("discount\n0.9\n".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"cannot be read.* Save it as UTF-8 text"):
        sampling.read_csv(path)


@pytest.mark.parametrize(
    "content",
    [
        "learning_rate,max_grad_norm\n0.1,none\n0.2,5\n",
        "\ufefflearning_rate,max_grad_norm\n0.1,none\n0.2,5\n",  # Excel's UTF-8
        "learning_rate, max_grad_norm \n 0.1 , None\n0.2,\t5\n",
        "learning_rate;max_grad_norm\r\n0.1;\r\n0.2;5\r\n\r\n \r\n",  # Excel, Europe
        '\n"learning_rate", "max_grad_norm"\r0.1,\r"0.2", "5"\r',
        "learning_rate\tmax_grad_norm\n0.1\tnone\n\n0.2\t5",
    ],
)
def test_spreadsheets_write_csv_in_many_ways(content, tmp_path):
    path = tmp_path / "settings.csv"
    path.write_bytes(content.encode())
    assert sampling.read_csv(path) == [
        {"learning_rate": 0.1, "max_grad_norm": None},
        {"learning_rate": 0.2, "max_grad_norm": 5.0},
    ]


def test_an_empty_value_is_none_and_none_an_empty_tuple(tmp_path):
    path = tmp_path / "settings.csv"
    path.write_text('max_grad_norm\n""\n5\n')
    settings = sampling.read_csv(path)
    assert settings == [{"max_grad_norm": None}, {"max_grad_norm": 5.0}]
    path.write_text("max_grad_norm,time_limit\n,\n5,\n")
    assert sampling.read_csv(path)[0] == {"max_grad_norm": None, "time_limit": None}
    path.write_text("hidden_sizes\nnone\n8x8\n")
    assert [s["hidden_sizes"] for s in sampling.read_csv(path)] == [(), (8, 8)]
