"""Checks of rollouts, and of how they are split."""

from jaxq.config import algorithm_table, annealing
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.loop_lengths import LoopLengths


def check(config: Config, lengths: LoopLengths) -> None:
    """Raise if an algorithm cannot learn from rollouts of the configured length.

    Raises:
        ConfigError: with a remedy.
    """
    agent = algorithm_table.agent_of(config.algorithm)
    if config.rollout_length == 0:
        if agent in ("q_lambda", "dyna_q"):
            raise ConfigError(
                f"rollout_length = 0 means replay, but {config.algorithm} learns from "
                "rollouts. Set it to 1 or more."
            )
    elif agent == "q_lambda":
        _check_minibatches(config)
    elif agent is None or config.next_value == "sarsa":
        return  # SARSA waits for the n steps after a step, whatever the rollout
    elif annealing.longest_return(config) > config.rollout_length:
        raise ConfigError(
            f"{annealing.longest_field(config)} exceeds rollout_length = "
            f"{config.rollout_length}: returns end with their rollout. Lower it or "
            "raise rollout_length."
        )


def _check_minibatches(config: Config) -> None:
    """A rollout must split into equal minibatches."""
    examples, unit = config.num_envs, f"num_envs = {config.num_envs}"
    if config.recurrent == "none":
        examples *= config.rollout_length
        unit = f"rollout_length x {unit}"
    if examples % config.num_minibatches:
        raise ConfigError(
            f"num_minibatches = {config.num_minibatches} must divide {unit}, "
            f"{examples} examples per rollout."
        )
