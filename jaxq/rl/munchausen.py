"""Munchausen reinforcement learning: the log-policy is added to the reward."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.rl import losses
from jaxq.types import (
    Array,
    Head,
    Key,
    LossFunction,
    LossInfo,
    Network,
    PyTree,
    Transition,
)


class Munchausen(NamedTuple):
    """Parameters of Munchausen's target."""

    alpha: Array | float  # [] weight of the log-policy
    temperature: Array | float  # [] T
    clip: Array | float  # [] lower bound of T log pi(a | s)


def munchausen_target(
    head: Head,
    transition: Transition,
    next_outputs: PyTree,
    log_policy: Array,
    next_log_policy: Array,
    parameters: Munchausen,
) -> PyTree:
    """Munchausen's target of an estimate; see `munchausen_loss`.

    Args:
        head: whose outputs can be averaged.
        transition: from s to s'.
        next_outputs: [A, ...] estimates Z'(s', .).
        log_policy, next_log_policy: [A] log pi(. | s) and log pi(. | s').
        parameters: alpha, T and the clip.

    Returns:
        The second argument of `head.loss`.
    """
    alpha, temperature, clip = parameters
    of_action = losses.select_action(log_policy[:, None], transition.action)[0]
    bonus = alpha * jnp.maximum(temperature * of_action, clip)
    next_pi = jnp.exp(next_log_policy)
    # p log p is 0 at p = 0, also where the logarithm is infinite.
    plogp = jnp.where(next_pi > 0.0, next_pi * next_log_policy, 0.0)
    entropy = -temperature * jnp.sum(plogp)
    discount = transition.discount
    reward = transition.reward + bonus + discount * entropy
    return losses.td_target(head, next_outputs, next_pi, reward, discount)


def munchausen_loss(
    network: Network,
    alpha: Array | float = 0.9,
    temperature: Array | float = 0.03,
    clip: Array | float = -1.0,
    *,
    evaluator: Network | None = None,
    selector: Network | None = None,
) -> LossFunction:
    """Munchausen's temporal-difference loss, for heads whose outputs can be averaged.

    pi = softmax(q' / T)
    target = r + alpha max(T log pi(a | s), clip)
             + discount sum_a' pi(a' | s') (Z'(s', a') - T log pi(a' | s'))

    Of an n-step transition, the log-policy of the first action alone is added, as in
    Beyond the Rainbow (Clark et al., arXiv:2411.03820).

    For quantiles, the mean over actions is taken fraction by fraction, as in the
    paper's M-IQN and its authors' code. It is not the distribution of the return of pi,
    which is a mixture; see `losses.bootstrap_target`.

    Args:
        network: the network that learns, with a scalar or quantile head.
        alpha: [] weight of the log-policy.
        temperature: [] T.
        clip: [] lower bound of T log pi(a | s).
        evaluator: computes Z'; see `losses.td_loss`.
        selector: computes the q-values of the policy pi; see `losses.td_loss`.

    Reference: Vieillard et al., arXiv:2007.14430, equation 2 and appendix B.
    """
    head, evaluator = network.head, evaluator or network

    def log_policy(key: Key, params: PyTree, observation: Array) -> Array:
        outputs = (selector or evaluator).apply(key, params, observation)
        return jax.nn.log_softmax(head.q_values(outputs) / temperature)

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        online_key, target_key, policy_key, next_key = jax.random.split(key, 4)
        outputs = network.apply(online_key, params, transition.observation)
        successor = transition.next_observation
        next_outputs = evaluator.apply(target_key, target_params, successor)
        log_pi = log_policy(policy_key, target_params, transition.observation)
        next_log_pi = log_policy(next_key, target_params, successor)
        target = munchausen_target(
            head, transition, next_outputs, log_pi, next_log_pi,
            Munchausen(alpha, temperature, clip),
        )  # fmt: skip
        return losses.compare(head, outputs, transition.action, target)

    return loss
