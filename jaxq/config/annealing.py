"""Annealed returns: their longest window, and checks of their fields."""

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError


def is_annealed(config: Config) -> bool:
    """Whether the length or the discount factor of returns is annealed."""
    return config.n_step_start is not None or config.discount_start is not None


def longest_return(config: Config) -> int:
    """Rewards in the longest return."""
    return max(config.n_step, config.n_step_start or 0)


def longest_field(config: Config) -> str:
    """The field that sets the longest return, with its value."""
    longest = longest_return(config)
    name = "n_step" if longest == config.n_step else "n_step_start"
    return f"{name} = {longest}"


def check_discount(config: Config) -> None:
    """Raise for a discount factor that would never be reached.

    Raises:
        ConfigError: with a remedy.
    """
    if config.discount_start is not None and config.discount == 1:
        raise ConfigError(
            f"discount = 1 with discount_start = {config.discount_start} would be "
            "reached at once: 1 - discount is annealed geometrically, and never "
            "reaches 0 by degrees. Set discount below 1, for example 0.997, or leave "
            "out discount_start."
        )


def notes(config: Config, updates: int) -> list[str]:
    """A warning if the annealing never ends.

    Args:
        config: the fields of the annealing, and of resets.
        updates: gradient steps of the whole run.
    """
    if not is_annealed(config):
        return []
    limit, reason = updates, "the run ends"
    if config.reset_period is not None and config.reset_period < updates:
        limit, reason = config.reset_period, "a reset starts it anew"
    if limit >= config.anneal_updates:
        return []
    return [
        f"note: the annealing of returns takes {config.anneal_updates:,.0f} updates, "
        f"and {reason} after {limit:,}; lower anneal_updates to reach n_step and "
        "discount"
    ]
