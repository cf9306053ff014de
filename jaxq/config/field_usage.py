"""One table of the parts that read each field.

A field without a reader in a configuration has no effect there.
"""

import dataclasses
from collections.abc import Iterable

from jaxq.config import algorithm_table, offline
from jaxq.config.config import Config, given
from jaxq.config.usage_table import USAGE, Usage


def readers(field: str) -> list[str]:
    """Parts that read a field, in words."""
    return [usage.part for usage in USAGE if field in usage.fields]


def read(config: Config, usages: Iterable[Usage] = USAGE) -> set[str]:
    """Fields that the parts in use read; the torso of network = "auto" is unknown."""
    names = {name for u in usages if u.used.holds(config) for name in u.fields}
    return names - offline.idle(config)


def unused(config: Config) -> list[str]:
    """Fields that no part of a configuration reads, and that have no effect.

    With network = "auto" the torso depends on the observation; the fields of all torsos
    then count as read.
    """
    names, used = [field.name for field in dataclasses.fields(Config)], read(config)
    return [name for name in names if name not in used]


def chosen(config: Config) -> set[str]:
    """Fields that were given, apart from the settings of the algorithm's paper."""
    settings: dict[str, object] = {}
    if config.algorithm in algorithm_table.ALGORITHMS:
        settings |= algorithm_table.ALGORITHMS[config.algorithm].settings
    return {
        name
        for name in given(config)
        if name not in settings or getattr(config, name) != settings[name]
    }


def reason(field: str, config: Config | None = None) -> str:
    """Why a field has no effect, and how to give it one.

    Args:
        field: its name.
        config: in which it has none; None: in which no part reads it.
    """
    if config is not None and field in offline.idle(config):
        return offline.REASON
    remedies = [u.used.remedy for u in USAGE if field in u.fields and u.used.remedy]
    parts = " and ".join(readers(field))
    return "; ".join([f"only {parts} would read it", *remedies])
