"""Checks of the schedule of epsilon."""

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.loop_lengths import LoopLengths


def check(config: Config, lengths: LoopLengths) -> None:
    """Raise if epsilon would rise, or if all steps of its ladder were the same.

    Raises:
        ConfigError: with a remedy.
    """
    del lengths
    if config.epsilon_schedule == "ladder":
        _check_ladder(config)
    if config.epsilon_schedule in ("ladder", "none"):
        return
    if config.epsilon_end > config.epsilon_start:
        raise ConfigError(
            f"epsilon_end = {config.epsilon_end} is above epsilon_start = "
            f"{config.epsilon_start}; epsilon decays. Swap them."
        )


def _check_ladder(config: Config) -> None:
    if config.epsilon_start == 1.0:
        raise ConfigError(
            "epsilon_start = 1.0 is the base of the ladder, and all its powers are 1: "
            "every action would be random. Lower it; Ape-X uses 0.4."
        )
    if config.num_envs == 1:
        raise ConfigError(
            "epsilon_schedule = 'ladder' gives every environment its own epsilon, "
            "but num_envs = 1. Raise num_envs."
        )
