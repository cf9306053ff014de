"""Checks of the fields that keep a network able to learn."""

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.loop_lengths import LoopLengths


def check(config: Config, lengths: LoopLengths) -> None:
    """Raise if a reset or a return to the target parameters would do nothing useful.

    Raises:
        ConfigError: with a remedy.
    """
    if config.hare_period is not None and config.target_tau == 1:
        raise ConfigError(
            f"hare_period = {config.hare_period} with target_tau = 1 returns to a copy "
            "of older parameters. Set target_tau below 1, for example 0.005 with "
            "target_period = 1, so that the target is an average."
        )
    if config.reset_period is not None and not (
        config.reset_torso or config.reset_head
    ):
        raise ConfigError(
            f"reset_period = {config.reset_period} with reset_torso = 0 and reset_head "
            "= 0 resets only the optimizer. Set one of them above 0."
        )
