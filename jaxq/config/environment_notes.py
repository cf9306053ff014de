"""Lines at the start of a run that show the settings taken from the table."""

from jaxq.config import environment_table, field_usage
from jaxq.config.config import Config, given


def notes(config: Config) -> list[str]:
    """The settings that the environment filled in, as one line; none if it set none."""
    filled = _filled_in(config)
    if filled:
        values = ", ".join(f"{name} {_value(config, name)}" for name in filled)
        settings = (
            f"settings for {config.environment}: {values} (flags override them; "
            "--defaults plain leaves them out)"
        )
        return [settings, *_short_run(config, filled)]
    known = config.environment in environment_table.ENVIRONMENTS
    if known or config.defaults == "plain":
        return []
    return [
        f"note: no settings are known for {config.environment}: the plain defaults are "
        "CleanRL's for CartPole-v1"
    ]


def _filled_in(config: Config) -> list[str]:
    """Names of the fields in use that come from the table."""
    kind = environment_table.kind(vars(config))
    names: dict[str, object] = {}
    if config.defaults == "environment":
        names |= environment_table.settings(config.environment, config.algorithm, kind)
    names |= environment_table.return_bounds(config.environment, config.discount)
    without_effect = {*given(config), *field_usage.unused(config)}
    return [name for name in names if name not in without_effect]


def _short_run(config: Config, filled: list[str]) -> list[str]:
    """A note if schedules from the table outlast a run."""
    kind = environment_table.kind(vars(config))
    table = environment_table.settings(config.environment, config.algorithm, kind)
    schedules = {"epsilon_steps", "learning_rate_updates"}.intersection(filled)
    if not schedules or config.total_steps >= table["total_steps"]:
        return []
    return [
        f"note: {' and '.join(sorted(schedules))} are for {table['total_steps']:,} "
        f"steps, not for {config.total_steps:,}; set them for a shorter run"
    ]


def _value(config: Config, name: str) -> str:
    value = getattr(config, name)
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
