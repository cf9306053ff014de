"""One rule of compatibility between fields of a configuration."""

from typing import Any, NamedTuple

from jaxq.config import conditions


class Rule(NamedTuple):
    """Values of a field that are compatible with a condition, and why no others are."""

    when: conditions.Condition
    field: str
    allowed: tuple[Any, ...]
    reason: str
