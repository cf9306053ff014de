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


def relative_value_iteration(
    model: MDP, epsilon: float = 0.0, tolerance: float = 1e-12
) -> tuple[float, np.ndarray]:
    """Largest average reward per step, and relative action values.

    Q(s, a) + g = r(s, a) + sum_s' p(s' | s, a) V(s'),
    V(s) = (1 - epsilon) max_a Q(s, a) + epsilon mean_a Q(s, a)

    Args:
        model: S states and A actions. Where an episode ends, the next one starts.
        epsilon: share of random actions in every policy.
        tolerance: largest error of g.

    Returns:
        g and Q, [S, A], whose mean is 0.

    Raises:
        ConfigError: if the values do not converge, for instance because g depends on
            the initial state.

    Reference: Puterman (1994), section 8.5.5 (value iteration, with the transformation
    that makes every chain aperiodic).
    """
    transition = restarting(model)
    q_values = np.zeros_like(model.reward)
    for _ in range(MAX_SWEEPS):
        values = (1.0 - epsilon) * q_values.max(axis=1)
        values += epsilon * q_values.mean(axis=1)
        change = model.reward + transition @ values - q_values
        if np.ptp(change) <= tolerance:
            return float(change.mean()), q_values
        q_values = q_values + 0.5 * change
        q_values -= q_values.mean()
    raise ConfigError(
        f"relative value iteration did not converge in {MAX_SWEEPS} sweeps; the "
        "average reward may depend on the initial state."
    )


def average_reward(model: MDP, policy: np.ndarray) -> float:
    """Average reward per step of a policy that has one recurrent class of states.

    Args:
        model: S states and A actions. Where an episode ends, the next one starts.
        policy: [S, A] probabilities pi(a | s).

    Reference: Sutton and Barto (2018), equation 10.7.
    """
    chain = np.einsum("sa,sat->st", policy, restarting(model))
    # The stationary distribution: mu (P - I) = 0 and sum(mu) = 1.
    equations = np.vstack([chain.T - np.eye(len(chain)), np.ones(len(chain))])
    right = np.append(np.zeros(len(chain)), 1.0)
    occupancy = np.linalg.lstsq(equations, right, rcond=None)[0]
    return float(occupancy @ (policy * model.reward).sum(axis=1))


def restarting(model: MDP) -> np.ndarray:
    """Transitions that lead to the start where an episode ends; [S, A, S']."""
    ends = 1.0 - model.transition.sum(axis=2, keepdims=True)
    return model.transition + ends * model.start


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
