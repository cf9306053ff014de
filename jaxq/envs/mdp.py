"""Exact values of small environments, by dynamic programming on their models."""

from typing import NamedTuple

import numpy as np

from jaxq.config.fields import ConfigError

MAX_SWEEPS = 100_000


class MDP(NamedTuple):
    """A finite Markov decision process; rows are those of the agent's table.

    An episode's end is probability that goes nowhere.
    """

    transition: np.ndarray  # [S, A, S'] probability of going on in S'
    reward: np.ndarray  # [S, A] expected reward
    start: np.ndarray  # [S] distribution at reset
    time_limit: int  # steps


def value_iteration(
    model: MDP, discount: float, tolerance: float = 1e-12
) -> np.ndarray:
    """Q*(s, a) = r(s, a) + gamma sum_s' p(s' | s, a) max_a' Q*(s', a').

    Args:
        model: of S states and A actions.
        discount: gamma.
        tolerance: largest change of the last sweep.

    Returns:
        [S, A].

    Raises:
        ConfigError: if it does not converge.

    Reference: Sutton and Barto (2018), equation 4.10.
    """
    q_values = np.zeros_like(model.reward)
    for _ in range(MAX_SWEEPS):
        backup = model.reward + discount * model.transition @ q_values.max(axis=1)
        if np.abs(backup - q_values).max() <= tolerance:
            return backup
        q_values = backup
    raise ConfigError(
        f"discount = {discount}: the values have not converged after {MAX_SWEEPS} "
        "sweeps; they may have no bound. Lower it."
    )


def greedy_policy(q_values: np.ndarray) -> np.ndarray:
    """pi(a | s), uniform over the maximal actions; [S, A] -> [S, A]."""
    maximal = q_values == q_values.max(axis=1, keepdims=True)
    return maximal / maximal.sum(axis=1, keepdims=True)


def play(model: MDP, policy: np.ndarray) -> tuple[float, float]:
    """Expected undiscounted return and length of an episode within the time limit.

    Args:
        model: of S states and A actions.
        policy: [S, A] probabilities.
    """
    onward = np.einsum("sa,sat->st", policy, model.transition)
    reward = (policy * model.reward).sum(axis=1)
    alive, total, length = model.start, 0.0, 0.0
    for _ in range(model.time_limit):
        total += alive @ reward
        length += alive.sum()
        alive = alive @ onward
    return float(total), float(length)


def reachable(model: MDP) -> np.ndarray:
    """Which states can be met; [S] bool."""
    met = model.start > 0
    while True:
        grown = met | (model.transition[met].sum(axis=(0, 1)) > 0)
        if (grown == met).all():
            return met
        met = grown
