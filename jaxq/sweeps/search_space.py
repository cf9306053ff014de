"""Search space of a sweep: a range of values for each field.

A range is written `field=values`. `learning_rate=1e-4,3e-4` lists values;
`learning_rate=log:1e-5:1e-2` and `discount=uniform:0.9:0.999` are intervals, and a grid
takes evenly spaced points of an interval (`log:1e-5:1e-2:7`). Tuples are written
`hidden_sizes=64x64,256`, None is `max_grad_norm=none`, a parameter of the environment
is `env.length=0.3,0.5`, and a hyper-parameter of an algorithm of your own is
`algo.beta=0.3,0.5`.
"""

import contextlib
import dataclasses
import json
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxq.config import aliases
from jaxq.config.config import Config, annotation
from jaxq.config.fields import ConfigError, json_value, whole_number
from jaxq.config.validate import validate

NOT_SWEPT = {  # field -> reason, or alternative
    "num_seeds": "every setting has the same seeds",
    "first_seed": "every setting has the same seeds",
    "seed_block": "it does not change the distribution of results",
    "environment_args": "name a parameter as env.NAME",
    "algorithm_args": "name a hyper-parameter as algo.NAME",
}
MAX_SETTINGS = 100_000

Setting = dict[str, Any]  # field -> value


class ParameterRange(NamedTuple):
    """The values of one field."""

    field: str
    values: tuple[Any, ...] = ()  # a list of choices; empty for an interval
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    num_points: int = 0  # of a grid over an interval

    def points(self) -> list[Any]:
        """The values of a grid.

        Raises:
            ConfigError: if an interval has no number of points.
        """
        if self.values:
            return list(self.values)
        if not self.num_points:
            raise ConfigError(
                f"{self.field}: a grid needs the number of points of an interval, as "
                f"in {self.field}={'log' if self.log else 'uniform'}:{self.low:g}:"
                f"{self.high:g}:8."
            )
        points = [self.at(share) for share in np.linspace(0, 1, self.num_points)]
        return list(dict.fromkeys(points))

    def at(self, share: float) -> Any:
        """The value at a fraction of the range, in [0, 1]."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        value = min(max(value, self.low), self.high)
        return round(value) if _type(self.field) is int else float(f"{value:.6g}")

    def share(self, value: float) -> float:
        """The position of a number in an interval, in [0, 1]; the inverse of `at`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def is_argument(field: str) -> bool:
    """Whether it is a parameter of the environment or of the algorithm."""
    return field.startswith(tuple(aliases.ARGUMENTS))


def _type(field: str) -> Any:
    return float if is_argument(field) else annotation(field)[0]


def canonical(field: str) -> str:
    """The name of a field, from an alias; an unknown name is returned as it is."""
    name = aliases.canonical(field)
    return name if name in [f.name for f in dataclasses.fields(Config)] else field


def check_field(field: str) -> None:
    """Check that a field can be swept.

    Raises:
        ConfigError: if it cannot, with a suggestion.
    """
    if field in NOT_SWEPT:
        raise ConfigError(f"{field} cannot be swept: {NOT_SWEPT[field]}.")
    if is_argument(field) and field.partition(".")[2].isidentifier():
        return
    names = [f.name for f in dataclasses.fields(Config)]
    if field not in names:
        hint = aliases.suggest(field, names) or " --help-all lists the fields."
        raise ConfigError(
            f"{field!r} is not a field of the configuration.{hint} A parameter of "
            "the environment is env.NAME, and a hyper-parameter of an algorithm of "
            "your own is algo.NAME."
        )


_FORMS = "Use field=1,2,3, field=log:LOW:HIGH or field=uniform:LOW:HIGH."


def parse(text: str) -> ParameterRange:
    """Parse a range, `field=values`; see the module's docstring.

    Raises:
        ConfigError: if it is malformed.
    """
    field, equals, values_text = text.partition("=")
    if not equals or not values_text:
        raise ConfigError(f"{text!r} is not of the form field=values. {_FORMS}")
    field = canonical(field)
    check_field(field)
    scale, *numbers = values_text.split(":")
    if scale in ("log", "uniform") and numbers:
        return _parse_interval(text, field, scale == "log", numbers)
    if ":" in values_text and _type(field) in (int, float) and not is_argument(field):
        raise ConfigError(f"{text!r} is neither a list nor an interval. {_FORMS}")
    values = tuple(parse_value(field, part) for part in values_text.split(","))
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ConfigError(f"{text!r} has the value {repeated[0]!r} twice.")
    return ParameterRange(field, values)


def _parse_interval(
    text: str, field: str, log: bool, numbers: Sequence[str]
) -> ParameterRange:
    try:
        low, high = float(numbers[0]), float(numbers[1])
        count = int(numbers[2]) if len(numbers) == 3 else 0
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"{text!r}: an interval is log:LOW:HIGH or uniform:LOW:HIGH, followed by "
            ":POINTS for a grid."
        ) from error
    if _type(field) not in (int, float):
        raise ConfigError(f"{text!r}: {field} is not a number; list its values.")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(
            f"{text!r}: the interval's low end must be below its high end."
        )
    if log and low <= 0:
        raise ConfigError(f"{text!r}: a log interval must be above zero.")
    if len(numbers) > 3 or (len(numbers) == 3 and not 2 <= count <= MAX_SETTINGS):
        raise ConfigError(f"{text!r}: a grid has 2 to {MAX_SETTINGS} points.")
    return ParameterRange(field, low=low, high=high, log=log, num_points=count)


def parse_value(field: str, text: str) -> Any:
    """Parse the value of a field; `validate` checks its range.

    Raises:
        ConfigError: if it does not have the field's type.
    """
    if is_argument(field):
        _require_text(field, text)
        try:
            return json_value(text.lower())
        except json.JSONDecodeError:
            return text
    kind, _, optional = annotation(field)
    default = getattr(Config(), field)
    if optional and text.lower() in ("none", ""):
        return None
    _require_text(field, text)
    if isinstance(default, tuple):
        sizes = [] if text.lower() == "none" else text.split("x")
        return tuple(_parse_number(field, int, size) for size in sizes if size)
    if typing.get_origin(kind) is Literal or kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{field} = {text!r}: choose true or false.")
        return text.lower() == "true"
    return _parse_number(field, kind, text)


def _require_text(field: str, text: str) -> None:
    if not text:
        raise ConfigError(f"{field} has no value.")


def _parse_number(field: str, kind: type, text: str) -> int | float:
    try:
        return whole_number(text) if kind is int else float(text)
    except ValueError as error:
        expected = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{field} = {text!r} is not {expected}.") from error


def from_json(setting: Mapping[str, Any]) -> Setting:
    """A setting as loaded from JSON, its lists converted back to tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in setting.items()}


def apply(base: Config, setting: Mapping[str, Any]) -> Config:
    """The configuration of a setting.

    Where the setting changes the algorithm, its components fill in what neither the
    setting nor the base configuration gives; see `Config`.
    """
    fields = {k: v for k, v in setting.items() if not is_argument(k)}
    for prefix, field in aliases.ARGUMENTS.items():
        args = {word.partition("=")[0]: word for word in getattr(base, field)}
        for name, value in setting.items():
            if name.startswith(prefix):
                name = name.removeprefix(prefix)
                args[name] = f"{name}={value}"
        fields[field] = tuple(args.values())
    return dataclasses.replace(base, **fields)


def check_setting(config: Config, setting: Setting) -> None:
    """Check that a setting can run.

    Raises:
        ConfigError: if it cannot; the message names the setting.
    """
    with naming(setting):
        validate(apply(config, setting))


@contextlib.contextmanager
def naming(setting: Setting | int) -> Iterator[None]:
    """Prefix an error with the setting, or its number, that it is about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"setting {setting}: {error}") from error
