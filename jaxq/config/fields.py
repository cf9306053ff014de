"""Types of the fields of a configuration, and the errors that users see.

This module imports only the standard library, so that `--help` and errors about bad
values appear before jax is loaded.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

MAX_INT32 = 2**31 - 1


class ConfigError(ValueError):
    """A configuration that cannot be run; the message says what to change."""


class UnusedFieldWarning(UserWarning):
    """A field was given that has no effect in its configuration."""


class Locked(Exception):
    """A directory is in use by another process."""


class CheckpointError(Exception):
    """A checkpoint is missing or corrupt; the message says why."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The interval of valid values; `open_low` excludes the lower end."""

    low: float
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high

    def __str__(self) -> str:
        left = "(" if self.open_low else "["
        right = ")" if self.high == math.inf else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


def json_value(text: str) -> Any:
    """A JSON value; a whole number in exponent form, as 1e5, is an integer.

    Raises:
        json.JSONDecodeError: if it is not JSON.
    """
    value = json.loads(text)
    exponent = isinstance(value, float) and "." not in text
    return int(value) if exponent and value.is_integer() else value


def close_matches(name: str, names: Iterable[str], cutoff: float = 0.4) -> list[str]:
    """Up to three of `names` that are spelled like an unknown name."""
    lowered = {known.lower(): known for known in names}
    matches = difflib.get_close_matches(name.lower(), lowered, 3, cutoff)
    return [lowered[match] for match in matches]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint after an unknown name; empty if none of `names` is similar."""
    return hint(close_matches(name, names))


def hint(similar: Sequence[str]) -> str:
    """A question that names what may have been meant; empty if nothing may."""
    return f" Did you mean {' or '.join(similar)}?" if similar else ""


def whole_number(text: str) -> int:
    """An integer, which may be written 1000000, 1_000_000 or 1e6.

    Raises:
        ValueError: if it is not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value.is_integer():
        raise ValueError(f"{text!r} is not a whole number")
    return int(value)


def check_name(field: str, name: str, names: Iterable[str]) -> None:
    """Raise if a name is not one of `names`.

    Raises:
        ConfigError: with the names, and those similar to it.
    """
    names = list(names)
    if name not in names:
        raise ConfigError(
            f"{field} = {name!r}: choose one of {', '.join(names)}."
            f"{did_you_mean(name, names)}"
        )


TRACED = "traced"
Count = Annotated[int, Range(1, MAX_INT32)]
Probability = Annotated[float, Range(0, 1), TRACED]
Value = Annotated[float, Range(-1e9, 1e9), TRACED]
NotNegative = Annotated[float, Range(0), TRACED]
Positive = Annotated[float, Range(0, open_low=True), TRACED]
Decay = Annotated[float, Range(0, 0.9999999), TRACED]
