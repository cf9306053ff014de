"""Exact values of finite Markov decision processes, by dynamic programming."""

from typing import NamedTuple

import numpy as np

from jaxq.config.fields import ConfigError

MAX_SWEEPS = 100_000


class MDP(NamedTuple):
    """A finite Markov decision process; states are numbered as in the agent's table.

    Rows of `transition` may sum to less than 1; the missing mass is termination.
    """

    transition: np.ndarray  # [S, A, S'] probability that the episode continues in S'
    reward: np.ndarray  # [S, A] expected reward
    start: np.ndarray  # [S] distribution of the initial state
    time_limit: int  # steps


def value_iteration(
    model: MDP, discount: float, tolerance: float = 1e-12
) -> np.ndarray:
    """Optimal action values, by value iteration.

    Q*(s, a) = r(s, a) + gamma sum_s' p(s' | s, a) max_a' Q*(s', a').

    Args:
        model: S states and A actions.
        discount: gamma.
        tolerance: largest change of a value in the last sweep.

    Returns:
        Q*, [S, A].

    Raises:
        ConfigError: if the values do not converge.

    Reference: Sutton and Barto (2018), equation 4.10.
    """
    q_values = np.zeros_like(model.reward)
    for _ in range(MAX_SWEEPS):
        backup = model.reward + discount * model.transition @ q_values.max(axis=1)
        if np.abs(backup - q_values).max() <= tolerance:
            return backup
        q_values = backup
    raise ConfigError(
        f"discount = {discount}: value iteration did not converge in {MAX_SWEEPS} "
        "sweeps; the values may be unbounded. Lower the discount."
    )


def greedy_policy(q_values: np.ndarray) -> np.ndarray:
    """Greedy policy pi(a | s), uniform over ties; [S, A] -> [S, A]."""
    maximal = q_values == q_values.max(axis=1, keepdims=True)
    return maximal / maximal.sum(axis=1, keepdims=True)


def expected_return_and_length(model: MDP, policy: np.ndarray) -> tuple[float, float]:
    """Expected undiscounted return, and length in steps, of an episode.

    Episodes end by termination or at the time limit.

    Args:
        model: S states and A actions.
        policy: [S, A] probabilities pi(a | s).
    """
    continues = np.einsum("sa,sat->st", policy, model.transition)
    reward = (policy * model.reward).sum(axis=1)
    occupancy, total, length = model.start, 0.0, 0.0
    for _ in range(model.time_limit):
        total += occupancy @ reward
        length += occupancy.sum()
        occupancy = occupancy @ continues
    return float(total), float(length)


def reachable(model: MDP) -> np.ndarray:
    """Mask of the states that some policy can visit; [S] bool."""
    visited = model.start > 0
    while True:
        grown = visited | (model.transition[visited].sum(axis=(0, 1)) > 0)
        if (grown == visited).all():
            return visited
        visited = grown
