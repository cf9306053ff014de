"""Environments of a user's own, by name."""

import pathlib
import sys
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from jaxq import ConfigError, adapt
from jaxq.config.fields import Range
from jaxq.envs import make

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "extension"))
from my_environment import Line


class Params(NamedTuple):
    stride: Annotated[float, Range(0, 1)] = 0.25
    max_steps_in_episode: int = 20


class Walk(Line):
    """A walk whose stride is a parameter, and whose start is an argument."""

    default_params = Params()

    def __init__(self, start: Annotated[float, Range(-1, 1)] = 0.0):
        self.start = start

    def reset(self, key, params):
        observation, state = super().reset(key, params)
        return observation + self.start, state._replace(
            position=state.position + self.start
        )

    def step(self, key, state, action, params):
        scaled = state._replace(position=state.position + params.stride - 0.25)
        return super().step(key, scaled, action, params)


class Needy(Line):
    def __init__(self, size):
        pass


def broken(size=3):
    raise RuntimeError("no walls")


def make_walk(start=0.5):
    return Walk(start)


def adapted():
    return adapt(Line())


walk = Walk(-0.5)
number = 3


def named(name, *args, **options):
    return make.make(f"{__name__}:{name}", args, **options)


@pytest.mark.parametrize(
    ("name", "args", "start"),
    [
        ("Walk", (), 0.0),
        ("Walk", ("start=0.25",), 0.25),
        ("Walk", ("start=1",), 1.0),
        ("make_walk", (), 0.5),
        ("make_walk", ("start=0.25", "stride=0.5"), 0.25),
        ("walk", (), -0.5),
        ("Line", (), 0.0),
    ],
)
def test_an_object_a_class_or_a_function_is_an_environment(name, args, start):
    env = named(name, *args)
    assert env.spec.name == f"{__name__}:{name}" and env.time_limit == 20
    assert env.reset(jax.random.key(0)).observation == start


def test_parameters_replace_the_defaults_and_floats_are_traced():
    key = jax.random.key(0)
    env = named("Walk", "stride=0.5", "max_steps_in_episode=7")
    assert env.parameters == (("stride", 0.5),) and env.time_limit == 7
    for bound, expected in (
        (env, 0.5),
        (env.bind({"stride": jnp.float32(0.25)}), 0.25),
    ):
        _, step = bound.step(key, bound.reset(key), jnp.int32(1))
        assert step.next_observation == expected
    assert named("walk", time_limit=9).time_limit == 9


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("Walk", ("stride=2",), r"stride = 2 of .*:Walk must be a number in \[0, 1\]"),
        ("Walk", ("start=far",), "start = 'far' of .*:Walk must be a number"),
        ("Walk", ("start=2",), r"start = 2 of .*:Walk must be a number in \[-1, 1\]"),
        ("Walk", ("stryde=1",), r"no parameter 'stryde'.*stride, max_steps.*\(start"),
        ("walk", ("start=1",), "no parameter 'start'; its default_params have stride"),
        ("Needy", (), r"takes \(size\): missing a required argument: 'size'"),
        ("broken", (), r"broken\(\) raised RuntimeError: no walls"),
        ("broken", ("size=4",), r"broken\(size=4\) raised RuntimeError"),
        ("number", (), "is 3, not an environment, or a class or function"),
        ("adapted", (), "not an object with gymnax's interface"),
        ("Params", (), r"gives Params\(stride=0.25.*not an object with gymnax's"),
    ],
)
def test_invalid_attributes_and_arguments_are_rejected(name, args, message):
    with pytest.raises(ConfigError, match=message) as error:
        named(name, *args)
    assert f"{__name__}:{name}" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"full_action_set": True}, "is not a MinAtar environment"),
        ({"sticky_actions": 0.5}, "sticky_actions = 0.5 is not supported by"),
    ],
)
def test_options_without_effect_are_rejected(options, message):
    with pytest.raises(ConfigError, match=message):
        named("Line", **options)
