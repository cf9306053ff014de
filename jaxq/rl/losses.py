"""Temporal-difference and regression losses for a single example."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxq.rl import exploration, mixtures
from jaxq.types import (
    Array,
    Head,
    Key,
    LossFunction,
    LossInfo,
    Network,
    PyTree,
    Regression,
    Transition,
)

# (transition or window, q_values[A] of a next state) -> probabilities[A] of the action
BootstrapPolicy = Callable[[Any, Array], Array]


def greedy(transition: Transition, q_values: Array) -> Array:
    """Q-learning bootstraps from the greedy policy; [A] probabilities."""
    del transition
    return jax.nn.one_hot(jnp.argmax(q_values), q_values.size)


def sarsa(transition: Transition, q_values: Array) -> Array:
    """SARSA bootstraps from the action taken in the next state; [A] probabilities."""
    return jax.nn.one_hot(transition.next_action, q_values.size)


def epsilon_greedy(transition: Transition, q_values: Array) -> Array:
    """Expected SARSA bootstraps from the epsilon-greedy policy; [A] probabilities."""
    assert transition.epsilon is not None
    return exploration.epsilon_greedy_policy(q_values, transition.epsilon)


SELECT_ONE = (greedy, sarsa)  # policies that choose one action with probability 1
BOOTSTRAP_POLICIES = {"max": greedy, "sarsa": sarsa, "expected_sarsa": epsilon_greedy}


def select_action(output: PyTree, action: Array) -> PyTree:
    """Row `action` of every leaf [A, ...], as a masked sum rather than by indexing.

    The gradient of an index is a scatter; see results/performance.md#selected-rows.
    """

    def select(leaf: Array) -> Array:
        mask = jnp.arange(leaf.shape[0]) == action
        mask = mask.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.sum(jnp.where(mask, leaf, 0.0), axis=0)

    return jax.tree.map(select, output)


def td_target(
    head: Head, next_outputs: PyTree, policy: Array, reward: Array, discount: Array
) -> PyTree:
    """The target of an estimate: reward + discount * sum_a' policy(a') Z(s', a').

    The outputs are averaged, elementwise. That is the expected return for a scalar
    head; for a distribution of the return, see `bootstrap_target`.

    Args:
        head: how the outputs represent returns, and how they are backed up.
        next_outputs: [A, ...] estimates Z(s', .) of the next state.
        policy: [A] probabilities of the next action.
        reward, discount: [].

    Returns:
        The second argument of `head.loss`.
    """
    return head.backup(reward, discount, mixtures.average(next_outputs, policy))


def bootstrap_target(
    head: Head,
    transition: Transition,
    evaluate_outputs: PyTree,
    select_outputs: PyTree,
    bootstrap_policy: BootstrapPolicy = greedy,
) -> PyTree:
    """The target whose next action one estimate selects and another evaluates.

    reward + discount * Z_evaluate(s', a'),  a' ~ pi(. | Q_select(s', .))

    For a distribution of the return, this is the mixture of the distributions of all
    actions: two equally likely actions that return 0 and 4 return 0 or 4, never 2.

    Args:
        head: how the outputs represent returns; it must have `mix`, unless
            `bootstrap_policy` is in `SELECT_ONE`.
        transition: from s to s'.
        evaluate_outputs: [A, ...] estimates of s' that enter the target.
        select_outputs: [A, ...] estimates of s' that the policy follows; the same
            ones, except in Double Q-learning.
        bootstrap_policy: probabilities of the next action.

    Returns:
        The second argument of `head.loss`.

    Raises:
        ValueError: if the head cannot mix the returns of several actions.

    Reference: van Hasselt et al., arXiv:1509.06461, equations 2 to 4; Bellemare et al.,
    arXiv:1707.06887, section 3 (the distributional Bellman operator of a policy).
    """
    policy = bootstrap_policy(transition, head.q_values(select_outputs))
    mix = mixtures.average if bootstrap_policy in SELECT_ONE else head.mix
    if mix is None:
        raise ValueError(
            "the head has no `mix`, which this bootstrap policy needs. Give it one "
            "(`mixtures.average` if its outputs are expected returns), or use the "
            "policies greedy or sarsa, which select one action."
        )
    next_output = mix(evaluate_outputs, policy)
    return head.backup(transition.reward, transition.discount, next_output)


def compare(
    head: Head, output: PyTree, action: Array, target: PyTree
) -> tuple[Array, LossInfo]:
    """Loss of the estimate of an action against a target, which receives no gradient.

    Args:
        head: how the output represents returns.
        output: [A, ...] estimates of all actions.
        action: [] the action whose estimate is compared.
        target: a target of the head, as returned by `head.backup`.

    Returns:
        The loss [] and its LossInfo.
    """
    chosen, target = select_action(output, action), jax.lax.stop_gradient(target)
    value, priority = head.loss(chosen, target)
    q_values = head.q_values(output)
    q_value = select_action(q_values[:, None], action)[0]
    if head.penalty is not None:
        value += head.penalty(q_values, action)
    error = None if head.td_error is None else head.td_error(chosen, target)
    return value, LossInfo(priority, q_value, error)


def td_loss(
    network: Network,
    double: bool = False,
    *,
    evaluator: Network | None = None,
    selector: Network | None = None,
    bootstrap_policy: BootstrapPolicy = greedy,
) -> LossFunction:
    """The temporal-difference loss, for any head.

    pi = bootstrap_policy(q'(s', .))           (double: q(s', .), the online parameters)
    target = r + discount * Z'(s', a'),  a' ~ pi        (Z': target params, no gradient)
    loss = head.loss(Z(s, a), target)

    Args:
        network: the network that learns; its head defines Z, its backup and its loss.
        double: select the next action with the online parameters.
        evaluator: computes Z', and defaults to `network`; a view of the same
            parameters, for example with another number of sampled quantiles.
        selector: computes the q-values that select the next action, and defaults to
            `evaluator`; likewise a view of the same parameters.
        bootstrap_policy: probabilities of the next action: `greedy` (Q-learning),
            `sarsa`, `epsilon_greedy` (Expected SARSA), or any other.

    Reference: Mnih et al. (2015), doi:10.1038/nature14236; van Hasselt et al.,
    arXiv:1509.06461, equation 4; Rummery and Niranjan (1994); van Seijen et al. (2009).
    """
    head, evaluator = network.head, evaluator or network

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        chex.assert_rank([transition.action, transition.reward, transition.discount], 0)
        online_key, target_key, select_key = jax.random.split(key, 3)
        outputs = network.apply(online_key, params, transition.observation)
        successor = transition.next_observation
        evaluate_outputs = evaluator.apply(target_key, target_params, successor)
        select_outputs = evaluate_outputs
        if double or selector is not None:
            select_params = params if double else target_params
            select = (selector or evaluator).apply
            select_outputs = select(select_key, select_params, successor)
        target = bootstrap_target(
            head, transition, evaluate_outputs, select_outputs, bootstrap_policy
        )
        return compare(head, outputs, transition.action, target)

    return loss


def regress(
    head: Head, output: PyTree, action: Array, target_return: Array
) -> tuple[Array, LossInfo]:
    """Loss of the estimate of an action against a known return, for any head.

    Args:
        head: how the output represents returns.
        output: [A, ...] estimates of all actions.
        action: [] the action whose estimate is compared.
        target_return: [].

    Returns:
        The loss [] and its LossInfo.
    """
    # A backup with discount 0 ignores the next output, whose shape is all that matters.
    next_output = select_action(output, action)
    target = head.backup(target_return, jnp.zeros(()), next_output)
    return compare(head, output, action, target)


def regression_loss(network: Network) -> LossFunction:
    """The loss of a network's estimate against a known return, for any head."""

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Regression
    ) -> tuple[Array, LossInfo]:
        del target_params
        output = network.apply(key, params, example.observation)
        return regress(network.head, output, example.action, example.target_return)

    return loss


def penalized(loss: LossFunction, weight: Array | float) -> LossFunction:
    """DQNReg's penalty on the estimate itself: loss + weight / 2 * Q(s, a).

    With half the squared TD error d it is (d^2 + weight * Q(s, a)) / 2.

    Reference: Co-Reyes et al., arXiv:2101.03958, DQNReg (weight 0.1).
    """

    def penalized_loss(
        key: Key, params: PyTree, target_params: PyTree, example: PyTree
    ) -> tuple[Array, LossInfo]:
        value, info = loss(key, params, target_params, example)
        return value + 0.5 * weight * info.q_value, info

    return penalized_loss
