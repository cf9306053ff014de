"""Rewards divided by the standard deviation of the running discounted return."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxq.networks import running_statistics
from jaxq.types import Array, Step


class RewardScale(NamedTuple):
    """Running statistics of the discounted return, by which rewards are divided."""

    running_return: Array  # [] float32, of the current episode
    statistics: running_statistics.Statistics


def empty() -> RewardScale:
    """The scale before the first step."""
    return RewardScale(jnp.zeros(()), running_statistics.empty())


def scaled(
    scale: RewardScale, step: Step, discount: Array | float
) -> tuple[RewardScale, Array]:
    """A reward over the standard deviation of the running discounted return.

    u <- discount u + r;  r / sqrt(var(u) + 1e-8), with u anew in every episode

    Args:
        scale: statistics before the step.
        step: the newest step.
        discount: [] gamma.

    Reference: Engstrom et al., arXiv:2005.12729; Elsayed et al., arXiv:2410.14606.
    """
    total = discount * scale.running_return + step.reward
    statistics = running_statistics.add(scale.statistics, total[None])
    deviation = jnp.sqrt(running_statistics.variance(statistics) + 1e-8)
    ended = step.terminated | step.truncated
    running = jnp.where(ended, 0.0, total)
    return RewardScale(running, statistics), step.reward / deviation
