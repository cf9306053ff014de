"""Refuses flags of sweep.py and tune.py that have no effect."""

import dataclasses
from collections.abc import Iterable

from jaxq.config import aliases, flag_conflicts
from jaxq.config.config import Config
from jaxq.sweeps import search_space

SAMPLING = ("--method", "--sample-seed")
UNUSED_BY_MERGE = (
    *("--preset", "--output", "--shard", "--distributed", "--dry-run"),
    *(aliases.flag(field.name) for field in dataclasses.fields(Config)),
)


def refuse(
    words: list[str], config: Config, settings: list[search_space.Setting]
) -> None:
    """Refuse options of a sweep that have no effect.

    Args:
        words: of the command line.
        config: the configuration that they give.
        settings: of the sweep; empty if it is merged.

    Raises:
        ConfigError: if one is given.
    """
    refuse_swept(words, config, settings[0] if settings else ())
    given = flag_conflicts.given(words)
    reasons: dict[str, str] = {}
    if "--random" not in given:
        reasons |= dict.fromkeys(SAMPLING, "without --random")
    if "--merge" in given:
        reason = "with --merge, which reads the sweep from its directory"
        reasons |= dict.fromkeys(UNUSED_BY_MERGE, reason)
    else:
        reasons["--allow-import"] = "without --merge"
    flag_conflicts.refuse(words, reasons)


def refuse_swept(words: list[str], config: Config, fields: Iterable[str]) -> None:
    """Refuse flags for what the settings determine, since they have no effect.

    Args:
        words: of the command line.
        config: the configuration that they give.
        fields: names of the fields that every setting has.

    Raises:
        ConfigError: if there is such a flag.
    """
    reasons = {}
    for field in fields:
        reason = f"since every setting has its own {field}"
        reasons[aliases.flag(field)] = reason
        for prefix, args in aliases.ARGUMENTS.items():
            names = [word.partition("=")[0] for word in getattr(config, args)]
            if field in [prefix + name for name in names]:
                reasons[aliases.flag(args)] = reason
    flag_conflicts.refuse(words, reasons)
