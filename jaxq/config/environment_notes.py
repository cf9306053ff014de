"""Lines at the start of a run that show the settings taken from the table."""

from collections.abc import Mapping
from typing import Any

from jaxq.config import environment_table, field_usage
from jaxq.config.config import Config, given


def notes(config: Config) -> list[str]:
    """The settings of the environment, and hyper-parameters of a user's own algorithm.

    One line each; none if there are none.
    """
    lines = _settings(config)
    if config.algorithm_args:
        values = " ".join(config.algorithm_args)
        lines.append(f"hyper-parameters of {config.algorithm}: {values}")
    return lines


def _settings(config: Config) -> list[str]:
    """The settings that the environment filled in, as one line; none if it set none."""
    settings = environment_table.filled_in(vars(config))
    without_effect = {*given(config), *field_usage.unused(config)}
    filled = [name for name in settings if name not in without_effect]
    if filled:
        values = ", ".join(f"{name} {_value(config, name)}" for name in filled)
        line = (
            f"settings for {config.environment}: {values} (flags override them; "
            "--defaults plain leaves them out)"
        )
        return [line, *_short_run(config, settings, filled)]
    known = config.environment in environment_table.ROWS
    if known or config.defaults == "plain":
        return []
    return [
        f"note: no settings are known for {config.environment}: the plain defaults are "
        "CleanRL's for CartPole-v1"
    ]


def _short_run(
    config: Config, settings: Mapping[str, Any], filled: list[str]
) -> list[str]:
    """A note if schedules from the table outlast a run."""
    schedules = {"epsilon_steps", "learning_rate_updates"}.intersection(filled)
    if not schedules or config.total_steps >= settings["total_steps"]:
        return []
    return [
        f"note: {' and '.join(sorted(schedules))} are for {settings['total_steps']:,} "
        f"steps, not for {config.total_steps:,}; set them for a shorter run"
    ]


def _value(config: Config, name: str) -> str:
    value = getattr(config, name)
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
