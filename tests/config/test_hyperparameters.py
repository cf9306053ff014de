"""Hyper-parameters of an algorithm of a user's own: declaration and values."""

from typing import Annotated, Literal

import pytest

from jaxq import Config, ConfigError
from jaxq.config import hyperparameters
from jaxq.config.fields import Probability, Range
from jaxq.config.validate import validate


def mine(
    config: "Unknown",  # noqa: F821  a name that only a type checker knows
    spec,
    *,
    beta: Probability = 0.5,
    scale=2.0,
    depth: Annotated[int, Range(1, 8)] = 2,
    kind: Literal["hard", "soft"] = "hard",
    power: Literal[0.5, 1.0] = 1.0,
    dual: bool = False,
    label="",
):
    pass


DECLARED = hyperparameters.declared("mine", mine)


def values(*args):
    return hyperparameters.values("mine", DECLARED, args)


def test_the_arguments_of_a_function_are_its_hyperparameters():
    assert values() == {
        "beta": 0.5, "scale": 2.0, "depth": 2, "kind": "hard", "power": 1.0,
        "dual": False, "label": "",
    }  # fmt: skip
    assert [name for name, d in DECLARED.items() if d.traced] == ["beta", "scale"]


@pytest.mark.parametrize(
    ("arg", "value"),
    [
        ("beta=1", 1.0),
        ("scale=-1e-3", -1e-3),
        ("depth=8", 8),
        ("depth=1e0", 1),
        ("kind=soft", "soft"),
        ("power=0.5", 0.5),
        ("dual=True", True),
        ("dual=false", False),
        ("label=1", "1"),
        ("label=a=b", "a=b"),
    ],
)
def test_a_value_has_the_type_of_its_declaration(arg, value):
    result = values(arg)
    name = arg.partition("=")[0]
    assert result[name] == value and type(result[name]) is type(value)
    assert hyperparameters.join(result)[list(result).index(name)] == f"{name}={value}"
    assert values(*hyperparameters.join(result)) == result


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("beta=1.5", r"beta = 1\.5 of mine must be a number in \[0, 1\].*default is 0"),
        ("beta=high", "beta = 'high' of mine must be a number"),
        ("scale=Infinity", "scale = inf of mine must be a number"),
        ("scale=true", "scale = True of mine must be a number"),
        ("depth=2.5", r"depth = 2\.5 of mine must be an integer in \[1, 8\]"),
        ("depth=9", "depth = 9 of mine must be an integer"),
        ("kind=sofd", "kind = 'sofd' of mine must be one of hard, soft"),
        ("dual=1", "dual = 1 of mine must be true or false"),
        (
            "bet=1",
            "mine has no hyper-parameter 'bet'. Did you mean beta",
        ),
        ("beta", "algorithm_args = 'beta' is not of the form name=value"),
    ],
)
def test_invalid_values_are_rejected(arg, message):
    with pytest.raises(ConfigError, match=message):
        values(arg)


def no_default(config, spec, *, beta):
    pass


def default_out_of_range(config, spec, *, beta: Probability = 2.0):
    pass


def unknown(config, spec, *, beta: "Unknown" = 2.0):  # noqa: F821
    pass


def array(config, spec, *, beta=(1, 2)):
    pass


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_default, "whose other arguments have defaults, .*'beta'"),
        (default_out_of_range, r"beta, 2\.0, is not a number in \[0, 1\]"),
        (unknown, "name 'Unknown' is not defined.. Import that name"),
        (array, r"beta, \(1, 2\), is not supported"),
        (lambda config: None, "must be a function .config, spec. -> Agent"),
        (3, "must be a function .* but it is 3"),
    ],
)
def test_invalid_declarations_are_rejected(function, message):
    with pytest.raises(ConfigError, match=message) as error:
        hyperparameters.declared("my.agents:mine", function)
    assert "'my.agents:mine'" in str(error.value)


def test_algorithms_of_jaxq_have_no_hyperparameters_of_their_own():
    with pytest.raises(ConfigError, match="dqn has no hyper-parameter 'beta'"):
        validate(Config(algorithm_args=("beta=1",)))
    with pytest.raises(ConfigError, match="algorithm_args: beta is given twice"):
        validate(Config(algorithm="a:b", algorithm_args=("beta=1", "beta=2")))
