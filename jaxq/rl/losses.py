"""Losses of one example."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxq.rl import exploration
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

# (transition, q_values[A] of the successor) -> probabilities[A] of its actions
BootstrapPolicy = Callable[[Transition, Array], Array]


def select_action(output: PyTree, action: Array) -> PyTree:
    """Row `action` of output[A, ...], as a masked sum.

    The gradient of an index is a scatter, a kernel of its own; the mask fuses.
    """

    def select(leaf: Array) -> Array:
        mask = jnp.arange(leaf.shape[0]) == action
        mask = mask.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.sum(jnp.where(mask, leaf, 0.0), axis=0)

    return jax.tree.map(select, output)


def average(output: PyTree, policy: Array) -> PyTree:
    """Mean of output[A, ...] under the probabilities policy[A].

    Minus infinity, an action that does not exist, counts nothing: a state in which an
    episode ended may have no action at all.
    """

    def mean(leaf: Array) -> Array:
        weight = policy.reshape(-1, *[1] * (leaf.ndim - 1))
        counts = (weight > 0.0) & (leaf != -jnp.inf)
        return jnp.sum(jnp.where(counts, weight * leaf, 0.0), axis=0)

    return jax.tree.map(mean, output)


def greedy(transition: Transition, q_values: Array) -> Array:
    """The policy that takes the best action: Q-learning."""
    del transition
    return jax.nn.one_hot(jnp.argmax(q_values), q_values.size)


def sarsa(transition: Transition, q_values: Array) -> Array:
    """The policy that takes the action that was taken: SARSA."""
    return jax.nn.one_hot(transition.next_action, q_values.size)


def epsilon_greedy(transition: Transition, q_values: Array) -> Array:
    """The epsilon-greedy policy: Expected SARSA."""
    assert transition.epsilon is not None
    return exploration.epsilon_greedy_policy(q_values, transition.epsilon)


BOOTSTRAP_POLICIES = {"max": greedy, "sarsa": sarsa, "expected_sarsa": epsilon_greedy}


def compare(
    head: Head, output: PyTree, action: Array, target: PyTree
) -> tuple[Array, LossInfo]:
    """Loss of the estimate for an action against a target, which gets no gradient."""
    value, priority = head.loss(
        select_action(output, action), jax.lax.stop_gradient(target)
    )
    q_value = select_action(head.q_values(output)[:, None], action)[0]
    return value, LossInfo(priority, q_value)


def td_loss(
    network: Network,
    double: bool = False,
    *,
    target: Network | None = None,
    policy: Network | None = None,
    next_policy: BootstrapPolicy = greedy,
) -> LossFunction:
    """The temporal-difference loss, for any head.

    a* = argmax_a q'(s', a)                        (double: q(s', a), online params)
    target = r + discount * Z'(s', a*)             (Z': target params, no gradient)
    loss = head.loss(Z(s, a), target)

    For SARSA, a* is the action that was taken in s'; for Expected SARSA, Z' is averaged
    over the epsilon-greedy policy.

    Args:
        network: its head says what Z is and how two of them are compared.
        double: select the next action with the online parameters.
        target: evaluates the next action; the same parameters, perhaps other samples.
        policy: selects the next action, likewise.
        next_policy: probabilities of the next action; greedy, taken or epsilon_greedy.

    Reference: Mnih et al. (2015), doi:10.1038/nature14236; van Hasselt et al.,
    arXiv:1509.06461, equation 4; Rummery and Niranjan (1994); van Seijen et al. (2009).
    """
    head, target = network.head, target or network

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        chex.assert_rank([transition.action, transition.reward, transition.discount], 0)
        online_key, target_key, select_key = jax.random.split(key, 3)
        outputs = network.apply(online_key, params, transition.observation)
        successor = transition.next_observation
        next_outputs = target.apply(target_key, target_params, successor)
        selector = next_outputs
        if double or policy is not None:
            chosen = params if double else target_params
            selector = (policy or target).apply(select_key, chosen, successor)
        probabilities = next_policy(transition, head.q_values(selector))
        backup = head.backup(
            transition.reward,
            transition.discount,
            average(next_outputs, probabilities),
        )
        return compare(head, outputs, transition.action, backup)

    return loss


def munchausen_loss(
    network: Network,
    alpha: Array | float = 0.9,
    temperature: Array | float = 0.03,
    clip: Array | float = -1.0,
    *,
    target: Network | None = None,
    policy: Network | None = None,
) -> LossFunction:
    """Munchausen's temporal-difference loss, for heads whose outputs average.

    pi = softmax(q' / T)
    r + alpha max(T log pi(a | s), clip)
      + discount sum_a' pi(a' | s') (Z'(s', a') - T log pi(a' | s'))

    Args:
        network: a scalar or quantile head.
        alpha: [] weight of the log-policy.
        temperature: [] T.
        clip: [] smallest T log pi that is added.
        target, policy: as in `td_loss`.

    Reference: Vieillard et al., arXiv:2007.14430, equation 2 and appendix B.
    """
    head, target = network.head, target or network

    def log_policy(key: Key, params: PyTree, observation: Array) -> Array:
        q_values = head.q_values((policy or target).apply(key, params, observation))
        return jax.nn.log_softmax(q_values / temperature)

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        online_key, target_key, here_key, there_key = jax.random.split(key, 4)
        outputs = network.apply(online_key, params, transition.observation)
        successor = transition.next_observation
        next_outputs = target.apply(target_key, target_params, successor)
        here = log_policy(here_key, target_params, transition.observation)
        there = log_policy(there_key, target_params, successor)
        sarsa = select_action(here[:, None], transition.action)[0]
        bonus = alpha * jnp.maximum(temperature * sarsa, clip)
        probabilities = jnp.exp(there)
        # An action without probability adds nothing, even where its log is infinite.
        each = jnp.where(probabilities > 0.0, probabilities * there, 0.0)
        entropy = -temperature * jnp.sum(each)
        backup = head.backup(
            transition.reward + bonus + transition.discount * entropy,
            transition.discount,
            average(next_outputs, probabilities),
        )
        return compare(head, outputs, transition.action, backup)

    return loss


def regression_loss(network: Network) -> LossFunction:
    """The loss of an estimate against a return that is known, for any head."""
    head = network.head

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Regression
    ) -> tuple[Array, LossInfo]:
        del target_params
        output = network.apply(key, params, example.observation)
        return regress(head, output, example.action, example.target_return)

    return loss


def regress(
    head: Head, output: PyTree, action: Array, target_return: Array
) -> tuple[Array, LossInfo]:
    """Loss against a return: a backup whose discount is zero."""
    unused = select_action(output, action)
    backup = head.backup(target_return, jnp.zeros(()), unused)
    return compare(head, output, action, backup)


def penalised(loss: LossFunction, weight: Array | float) -> LossFunction:
    """A loss that pulls the estimate down: loss + weight / 2 * Q(s, a).

    With half the squared TD error d it is (d^2 + weight * Q(s, a)) / 2.

    Reference: Co-Reyes et al., arXiv:2101.03958, DQNReg (weight 0.1).
    """

    def total(
        key: Key, params: PyTree, target_params: PyTree, example: PyTree
    ) -> tuple[Array, LossInfo]:
        value, info = loss(key, params, target_params, example)
        return value + 0.5 * weight * info.q_value, info

    return total
