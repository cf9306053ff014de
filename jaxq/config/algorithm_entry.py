"""One row of the table of algorithms."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Fields = Mapping[str, Any]
NOTHING: Fields = MappingProxyType({})


class Algorithm(NamedTuple):
    """One row of the table."""

    summary: str  # one line
    paper: str
    components: Fields = NOTHING
    settings: Fields = NOTHING
    differs: str = ""  # how this implementation differs from the paper
    agent: str = "dqn"  # function of jaxq.agents.algorithms that composes it
