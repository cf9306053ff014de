"""What a sweep tries: values of fields, and ways to choose among them.

A range is a word: `learning_rate=1e-4,3e-4` lists values, `learning_rate=log:1e-5:1e-2`
and `discount=uniform:0.9:0.999` are intervals, of which a grid takes equally spaced
points (`log:1e-5:1e-2:7`). `hidden_sizes=64x64,256` lists tuples, `max_grad_norm=none`
is no value, and `env.length=0.3,0.5` is a parameter of the environment.
"""

import csv
import dataclasses
import itertools
import json
import math
import pathlib
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxq.config.config import Config, annotation
from jaxq.config.fields import ConfigError, did_you_mean

PARAMETER = "env."  # before the name of a parameter of the environment
NOT_SWEPT = ("num_seeds", "first_seed", "seed_block", "environment_args")
MAX_SETTINGS = 100_000

Setting = dict[str, Any]  # field -> value
Method = Literal["random", "latin", "sobol"]


class ParameterRange(NamedTuple):
    """The values of one field."""

    field: str
    values: tuple[Any, ...] = ()  # to choose from; none for an interval
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    num_points: int = 0  # of a grid

    def points(self) -> list[Any]:
        """The values of a grid."""
        if self.values:
            return list(self.values)
        if not self.num_points:
            raise ConfigError(
                f"{self.field}: a grid needs the number of points of an interval, as "
                f"in {self.field}={'log' if self.log else 'uniform'}:{self.low:g}:"
                f"{self.high:g}:8."
            )
        found = [self.at(share) for share in np.linspace(0, 1, self.num_points)]
        return list(dict.fromkeys(found))

    def at(self, share: float) -> Any:
        """The value at a share of the range, in [0, 1]."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        value = min(max(value, self.low), self.high)
        return round(value) if _kind(self.field) is int else float(f"{value:.6g}")

    def share(self, value: float) -> float:
        """Where a number lies in an interval, in [0, 1]; the inverse of `at`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _kind(field: str) -> Any:
    return float if field.startswith(PARAMETER) else annotation(field)[0]


def check_field(field: str) -> None:
    """Refuse a name that cannot be swept.

    Raises:
        ConfigError: with names that can.
    """
    names = [f.name for f in dataclasses.fields(Config)]
    if field in NOT_SWEPT:
        way = {
            "environment_args": f"name a parameter as {PARAMETER}NAME",
            "seed_block": "it changes no distribution",
        }.get(field, "every setting has the same seeds")
        raise ConfigError(f"{field} cannot be swept: {way}.")
    if field.startswith(PARAMETER) and field.removeprefix(PARAMETER).isidentifier():
        return
    if field not in names:
        question = did_you_mean(field, names) or " --help shows them."
        raise ConfigError(
            f"{field!r} is no field of the configuration.{question} A parameter of "
            f"the environment is {PARAMETER}NAME."
        )


_FORMS = "Use field=1,2,3, field=log:LOW:HIGH or field=uniform:LOW:HIGH."


def parse(word: str) -> ParameterRange:
    """A range from `field=values`; see the head of this module.

    Raises:
        ConfigError: for what cannot be read.
    """
    field, equals, text = word.partition("=")
    if not equals or not text:
        raise ConfigError(f"{word!r} is not of the form field=values. {_FORMS}")
    check_field(field)
    kind, *numbers = text.split(":")
    if kind in ("log", "uniform") and numbers:
        return _interval(word, field, kind == "log", numbers)
    if ":" in text and not field.startswith(PARAMETER):
        raise ConfigError(f"{word!r} is neither a list nor an interval. {_FORMS}")
    values = tuple(_value(field, part) for part in text.split(","))
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise ConfigError(f"{word!r} has the value {twice[0]!r} twice.")
    return ParameterRange(field, values)


def _interval(
    word: str, field: str, log: bool, numbers: Sequence[str]
) -> ParameterRange:
    try:
        low, high = float(numbers[0]), float(numbers[1])
        count = int(numbers[2]) if len(numbers) == 3 else 0
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"{word!r}: an interval is log:LOW:HIGH or uniform:LOW:HIGH, and for a "
            "grid :POINTS after it."
        ) from error
    if _kind(field) not in (int, float):
        raise ConfigError(f"{word!r}: {field} has no interval; list its values.")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{word!r}: the interval's low end must be below its high.")
    if log and low <= 0:
        raise ConfigError(f"{word!r}: a log interval must be above zero.")
    if len(numbers) > 3 or (len(numbers) == 3 and not 2 <= count <= MAX_SETTINGS):
        raise ConfigError(f"{word!r}: a grid has 2 to {MAX_SETTINGS} points.")
    return ParameterRange(field, low=low, high=high, log=log, num_points=count)


def _value(field: str, text: str) -> Any:
    """A value of a field from its text; `validation` looks at its range."""
    if field.startswith(PARAMETER):
        try:
            return json.loads(text.lower())
        except json.JSONDecodeError:
            return text
    kind, _, optional = annotation(field)
    default = getattr(Config(), field)
    if optional and text.lower() in ("none", ""):
        return None
    if isinstance(default, tuple):
        return tuple(_number(field, int, part) for part in text.split("x") if part)
    if typing.get_origin(kind) is Literal or kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{field} = {text!r}: choose true or false.")
        return text.lower() == "true"
    return _number(field, kind, text)


def _number(field: str, kind: type, text: str) -> int | float:
    try:
        value = float(text)
        if kind is float:
            return value
        if value != int(value):
            raise ValueError
        return int(value)
    except (ValueError, OverflowError) as error:
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{field} = {text!r} is not {what}.") from error


def grid(ranges: Sequence[ParameterRange]) -> list[Setting]:
    """Every combination of the values, the last field running fastest."""
    points = [r.points() for r in ranges]
    total = math.prod(map(len, points))
    if total > MAX_SETTINGS:
        raise ConfigError(
            f"the grid has {total} settings, more than {MAX_SETTINGS}; list fewer "
            "values, or draw some with --random."
        )
    names = [r.field for r in ranges]
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*points)
    ]


def sample(
    ranges: Sequence[ParameterRange],
    count: int,
    method: Method = "sobol",
    seed: int = 0,
) -> list[Setting]:
    """Settings drawn from the ranges.

    Args:
        ranges: intervals, and lists of values that are equally likely.
        count: settings.
        method: independent draws; a Latin hypercube, which has one value in each of
            `count` equal parts of every range; or a scrambled Sobol sequence, whose
            first points stay the same when more are drawn.
        seed: of the draws.

    Reference: McKay et al. (1979); Owen (1998), Scrambling Sobol' and Niederreiter-Xing
    points; as in scipy.stats.qmc.
    """
    if not 1 <= count <= MAX_SETTINGS:
        raise ConfigError(f"random = {count} is outside [1, {MAX_SETTINGS}].")
    if method == "random":
        shares = np.random.default_rng(seed).random((count, len(ranges)))
    else:
        from scipy.stats import qmc

        if method == "latin":
            shares = qmc.LatinHypercube(len(ranges), rng=seed).random(count)
        else:  # whole powers of two, of which a part is as good as any
            engine = qmc.Sobol(len(ranges), rng=seed)
            shares = engine.random_base2(math.ceil(math.log2(count)))[:count]
    return [
        {r.field: r.at(float(share)) for r, share in zip(ranges, row, strict=True)}
        for row in shares
    ]


def read(path: pathlib.Path) -> list[Setting]:
    """Settings from a CSV file with a field in every column.

    Raises:
        ConfigError: for a file that cannot be read as such.
    """
    try:
        reader = csv.DictReader(path.read_text().splitlines())
        header, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"settings = {str(path)!r} cannot be read: {error}."
        ) from error
    if not rows:
        raise ConfigError(f"settings = {str(path)!r} has no rows.")
    for name in header:
        if not name:
            raise ConfigError(
                f"settings = {str(path)!r}: a column has no name. A numbered first "
                "column, as pandas writes it, must go (index=False)."
            )
        if header.count(name) > 1:
            raise ConfigError(f"settings = {str(path)!r}: {name} comes twice.")
        check_field(name)
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ConfigError(
                f"settings = {str(path)!r}: line {line} has more or fewer values than "
                "the first line has names."
            )
    return [{name: _value(name, text) for name, text in row.items()} for row in rows]


def from_json(setting: Mapping[str, Any]) -> Setting:
    """A setting from what JSON holds of it, which has lists for tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in setting.items()}


def apply(base: Config, setting: Mapping[str, Any]) -> Config:
    """The configuration of a setting.

    Where the setting changes the algorithm, its components fill in what neither the
    setting nor the base configuration gives; see `Config`.
    """
    fields = {k: v for k, v in setting.items() if not k.startswith(PARAMETER)}
    args = {word.partition("=")[0]: word for word in base.environment_args}
    for name, value in setting.items():
        if name.startswith(PARAMETER):
            name = name.removeprefix(PARAMETER)
            args[name] = f"{name}={value}"
    return dataclasses.replace(base, **fields, environment_args=tuple(args.values()))
