"""Sweeps over hyper-parameters of an algorithm, and parameters of an environment, of a
user's own: one compiled program serves all values of a float."""

import dataclasses
import pathlib
import sys

import jax
import numpy as np
import pytest
from small_sweeps import BASE, train_curves
from test_members import assert_equal, single

from jaxq.agents import algorithms
from jaxq.config.fields import ConfigError
from jaxq.sweeps import effects, packing, planning, search_space
from jaxq.sweeps import sweep as sweeps
from jaxq.training import checks, compiled

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "extension"))
OWN = dataclasses.replace(
    BASE,
    algorithm="my_agents:advantage_learning",
    environment="my_environment:Line",
)


def test_one_program_serves_every_value_and_members_equal_single_runs(tmp_path):
    settings = [{"algo.alpha": alpha} for alpha in (0.0, 0.9)]
    programs = compiled.chunk._cache_size()
    sweep, curves = train_curves(tmp_path, OWN, settings)
    (packed,) = sweep.packings
    assert [config.algorithm_args for config in sweep.configs] == [
        ("alpha=0.0", "layers=1"),
        ("alpha=0.9", "layers=1"),
    ]
    for config, curve in zip(sweep.configs, curves, strict=True):
        assert_equal(curve, single(config, packed.width))
    assert compiled.chunk._cache_size() == programs + 1
    losses = [curve.arrays["loss"][:, -1] for curve in curves]
    assert not np.array_equal(*losses)


def configs(*args):
    return [dataclasses.replace(OWN, algorithm_args=arg) for arg in args]


def test_static_hyperparameters_split_programs_and_traced_ones_do_not():
    args = ("alpha=0.1",), ("alpha=0.2", "layers=2"), (), ("layers=1", "alpha=0.3")
    programs = packing.group(configs(*args))
    assert [program.settings for program in programs] == [(0, 2, 3), (1,)]
    np.testing.assert_array_equal(
        programs[0].changes["algo.alpha"], np.float32([0.1, 0.5, 0.3])
    )
    assert not programs[1].changes


@pytest.mark.slow
def test_members_of_a_mixed_block_equal_single_runs(tmp_path):
    base = dataclasses.replace(OWN, num_seeds=2, seed_block=4)
    sweep, curves = train_curves(
        tmp_path, base, [{"algo.alpha": alpha} for alpha in (0.0, 0.9)]
    )
    assert sweep.packings[0].mixed
    for config, curve in zip(sweep.configs, curves, strict=True):
        assert_equal(curve, single(config, 4))


def test_hyperparameters_are_part_of_the_identity_of_a_setting():
    """The default and the same value as given are one setting."""
    settings = [{"algo.alpha": 0.5}, {"algo.alpha": 0.6}]
    found = [effects.effect(OWN, setting) for setting in [{}, *settings]]
    assert found[0] == found[1] != found[2]
    plan = planning.plan(OWN, [{}, *settings], [], jax.devices()[:1])
    assert len(plan.configs) == 2
    root = pathlib.Path("root")
    directories = {
        planning.directory(root, "sweep", config, []) for config in plan.configs
    }
    assert len(directories) == 2
    assert all(path.parent.name.isidentifier() for path in directories)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"algo.alpha": 1.5},
            r"setting {'algo.alpha': 1.5}: .*alpha = 1\.5 of my_agents.* in \[0, 1\]",
        ),
        ({"algo.layers": 1.5}, r"layers = 1\.5 of my_agents.* an integer"),
        ({"algo.beta": 1}, "has no hyper-parameter 'beta'. It declares alpha, layers"),
        ({"algorithm": "dqn", "algo.alpha": 0.5}, "dqn has no hyper-parameter 'alpha'"),
        ({"env.width": 1}, "has no parameter 'width'"),
        ({"beta": 1}, r"'beta' is not a field.*algorithm of your own is algo\.NAME"),
    ],
)
def test_invalid_settings_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        sweeps.sweep(OWN, [setting])


def test_ranges_name_hyperparameters_and_code():
    assert search_space.parse("algo.alpha=log:0.01:1:3").points() == [0.01, 0.1, 1.0]
    names = ["my_agents:advantage_learning", "dqn"]
    assert search_space.parse(f"algorithm={','.join(names)}").points() == names
    with pytest.raises(ConfigError, match=r"name a hyper-parameter as algo\.NAME"):
        search_space.parse("algorithm_args=alpha=1")


def branching(config, spec, *, alpha=0.5):
    if alpha > 0.1:
        config = dataclasses.replace(config, loss="huber")
    return algorithms.dqn(config, spec)


def nothing(config, spec):
    pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("branching", r"needs the value .* floats \(alpha\) are traced.*a Literal"),
        ("nothing", "must return an Agent, such as replay_agent"),
    ],
)
def test_an_algorithm_that_cannot_be_compiled_is_refused(name, message):
    config = dataclasses.replace(BASE, algorithm=f"{__name__}:{name}")
    with pytest.raises(ConfigError, match=message):
        checks.check(config)
