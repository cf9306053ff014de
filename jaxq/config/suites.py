"""Suites of environments: their names, and checks that import none of them.

An environment of a suite is named `suite::id`, as in `navix::Navix-Empty-5x5-v0`.
"""

import importlib.util
from collections.abc import Mapping
from typing import NamedTuple

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError, did_you_mean
from jaxq.config.loop_lengths import LoopLengths

SEPARATOR = "::"


class Suite(NamedTuple):
    """A suite of environments; its name is also that of the extra that installs it."""

    modules: tuple[str, ...]  # that must be installed
    example: str  # the id of one of its environments


SUITES: Mapping[str, Suite] = {
    "craftax": Suite(("craftax",), "Craftax-Classic-Symbolic-v1"),
    "foragax": Suite(("foragax",), "ForagaxTwoBiomeLarge-v1"),
    "gxm": Suite(("gxm", "navix", "xminigrid"), "XMiniGrid/MiniGrid-Empty-6x6"),
    "jaxmarl": Suite(("jaxmarl",), "MPE_simple_spread_v3"),
    "jumanji": Suite(("jumanji",), "Snake-v1"),
    "navix": Suite(("navix",), "Navix-Empty-5x5-v0"),
    "octax": Suite(("octax", "cv2"), "brix"),
    "pgx": Suite(("pgx",), "minatar-breakout"),
    "xminigrid": Suite(("xminigrid",), "MiniGrid-Empty-6x6"),
}


def split(environment: str) -> tuple[str, str]:
    """The suite and the id of an environment; gymnax's have the empty suite."""
    suite, separator, name = environment.partition(SEPARATOR)
    return (suite, name) if separator else ("", environment)


def check_config(config: Config, lengths: LoopLengths) -> None:
    """Check the environment of a configuration, if it is one of a suite."""
    check(config.environment)
    check_options(config.environment, config.sticky_actions, config.full_action_set)


def check(environment: str) -> None:
    """Check that the suite of an environment is known and installed.

    Raises:
        ConfigError: with the suites, or with the command that installs this one.
    """
    if SEPARATOR not in environment:
        return
    name, environment_id = split(environment)
    if name not in SUITES:
        raise ConfigError(
            f"environment = {environment!r} names the suite {name!r}, which is "
            f"unknown.{did_you_mean(name, SUITES)} Known: {', '.join(SUITES)}."
        )
    suite = SUITES[name]
    missing = [m for m in suite.modules if importlib.util.find_spec(m) is None]
    if missing:
        raise ConfigError(
            f"environment = {environment!r} needs {' and '.join(missing)}, which "
            f"{'are' if len(missing) > 1 else 'is'} not installed. Install the suite "
            f"with `pip install 'jaxq[{name}]'`, or from a copy of the repository "
            f"with `pip install -e '.[{name}]'`."
        )
    if not environment_id:
        raise ConfigError(
            f"environment = {environment!r} needs an id, for example "
            f"{name}{SEPARATOR}{suite.example}."
        )


def check_options(
    environment: str, sticky_actions: float, full_action_set: bool
) -> None:
    """Check that an environment of a suite is given no option of gymnax's.

    Raises:
        ConfigError: with the option.
    """
    if SEPARATOR not in environment:
        return
    if sticky_actions:
        raise ConfigError(
            f"sticky_actions = {sticky_actions} is for gymnax's environments, and has "
            f"no effect on {environment}. Use 0."
        )
    if full_action_set:
        raise ConfigError(
            f"full_action_set = True is for gymnax's MinAtar, and has no effect on "
            f"{environment}. Use False."
        )
