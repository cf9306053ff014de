"""Corrected returns of a configuration."""

from jaxq.agents import factory
from jaxq.config.config import Config
from jaxq.rl import losses, off_policy
from jaxq.types import LossFunction


def make_correction(config: Config) -> off_policy.Correction | None:
    """The correction of n-step returns; None leaves them uncorrected."""
    if config.return_estimator == "n_step":
        return None
    return off_policy.Correction(config.return_estimator, config.trace_decay)


def needs_probability(config: Config) -> bool:
    """Whether the store must hold the probabilities with which actions were chosen.

    For a greedy target policy, Retrace does without; see `off_policy.retrace`.
    """
    return config.return_estimator == "retrace" and config.next_value != "max"


def make_loss(config: Config, networks: factory.Networks) -> LossFunction | None:
    """The loss of the first step of a window; None if returns are uncorrected."""
    correction = make_correction(config)
    if correction is None:
        return None
    return off_policy.corrected_loss(
        networks.online,
        correction,
        config.double_q,
        evaluator=networks.evaluator,
        bootstrap_policy=losses.BOOTSTRAP_POLICIES[config.next_value],
    )
