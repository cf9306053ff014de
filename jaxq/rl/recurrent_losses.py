"""Losses of a sequence, for networks with a memory."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.rl import losses, munchausen, off_policy, returns, unrolling
from jaxq.types import (
    Array,
    Head,
    Key,
    LossFunction,
    LossInfo,
    Network,
    PyTree,
    Sequence,
    Transition,
)


def n_step_transition(
    steps: Sequence,
    time: Array,
    n: int,
    gamma: Array | float,
    continuing: bool = False,
) -> tuple[Transition, Array, Array]:
    """The n-step transition that starts at a step of a sequence.

    Args:
        steps: Sequence with at least n steps from `time`, and their successor; its
            horizon, if it has one, replaces gamma and limits n.
        time: [] int32 index of the first step.
        n: maximal length of the transition.
        gamma: [] discount factor.
        continuing: whether a terminated step leads to the next episode.

    Returns:
        Transition, [] int32 index of its successor, and its weight []; see
        `returns.n_step_return_from_ring`.
    """
    window, horizon = time + jnp.arange(n), steps.horizon or returns.Horizon(gamma)
    reward = steps.reward[window]
    ends = jnp.zeros(n, bool) if continuing else steps.terminated[window]
    n_step, weight = returns.n_step_return_from_ring(
        reward, ends, steps.truncated[window], *horizon
    )
    successor = time + n_step.length
    transition = Transition(
        observation=unrolling.row(steps.observation, time),
        action=steps.action[time],
        reward=n_step.reward,
        discount=n_step.discount,
        next_observation=unrolling.row(steps.observation, successor),
        next_action=steps.action[successor],
    )
    return transition, successor, weight


def corrected_window(
    steps: Sequence, time: Array, n: int, gamma: Array | float
) -> tuple[off_policy.Window, Array]:
    """The window that starts at a step of a sequence, and its weight.

    Arguments as in `n_step_transition`. Observations are left out, and so are the
    probabilities of the actions, which a greedy policy does not need.
    """
    window, horizon = time + jnp.arange(n), steps.horizon or returns.Horizon(gamma)
    truncated = steps.truncated[window]
    return off_policy.Window(
        observation=(),
        action=steps.action[time],
        reward=steps.reward[window],
        discount=jnp.where(steps.terminated[window], 0.0, horizon.discount),
        continues=off_policy.continues_in_ring(truncated, horizon.limit),
        next_observation=(),
        next_action=steps.action[window + 1],
    ), 1.0 - truncated[0].astype(jnp.float32)


def td_loss(
    network: Network,
    burn_in: int,
    n: int,
    gamma: Array | float,
    double: bool = False,
    max_weight: Array | float = 0.9,
    bootstrap_policy: losses.BootstrapPolicy = losses.greedy,
    *,
    correction: off_policy.Correction | None = None,
    soft: munchausen.Munchausen | None = None,
    continuing: bool = False,
) -> LossFunction:
    """Mean temporal-difference loss along a sequence that starts from a stored memory.

    The first `burn_in` steps only refresh the memory, for the online and the target
    parameters alike. Each step after them has an n-step target that ends with its
    episode. A step before a truncation bootstraps from the observation of the truncated
    step, whose own successor is not stored and whose weight is therefore zero.

    Args:
        network: with a memory.
        burn_in: steps that are not learned from.
        n: steps of a return; the last n steps of the sequence are only successors.
        gamma: [] discount factor.
        double: select the next action with the online parameters.
        max_weight: [] eta: priority = eta max + (1 - eta) mean of the TD errors.
        bootstrap_policy: probabilities of the next action; see `losses.td_loss`.
            Transitions have a next action, for SARSA, but no epsilon.
        correction: of the n-step returns; None leaves them uncorrected.
        soft: Munchausen's target in place of a bootstrap policy, from the target
            network's outputs along the sequence; see `munchausen.munchausen_loss`.
        continuing: whether a terminated step leads to the next episode.

    Reference: Kapturowski et al. (2019), "Recurrent Experience Replay in Distributed
    Reinforcement Learning", sections 2.3 and 3.
    """
    head = network.head
    if correction is None:
        step_loss = _bootstrapped(head, n, gamma, bootstrap_policy, soft, continuing)
    else:
        step_loss = _corrected(head, n, gamma, bootstrap_policy, correction)

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Sequence
    ) -> tuple[Array, LossInfo]:
        online_key, target_key = jax.random.split(key)
        online = unrolling.unroll_after_burn_in(
            network, online_key, params, example, burn_in
        )
        evaluate = unrolling.unroll_after_burn_in(
            network, target_key, target_params, example, burn_in
        )
        outputs = _Outputs(online, evaluate, online if double else evaluate)
        rows = example._replace(memory=(), horizon=())
        steps = unrolling.row(rows, slice(burn_in, None))
        steps = steps._replace(horizon=example.horizon)
        times = jnp.arange(steps.action.size - n)
        value, info, weight = jax.vmap(step_loss, in_axes=(None, None, 0))(
            outputs, steps, times
        )
        priority = weight * info.priority
        mixed = max_weight * jnp.max(priority) + (1.0 - max_weight) * jnp.mean(priority)
        q_value = jnp.sum(weight * info.q_value) / jnp.maximum(jnp.sum(weight), 1.0)
        error = info.td_error
        if error is not None:
            error = jnp.sum(weight * error) / jnp.maximum(jnp.sum(weight), 1.0)
        return jnp.mean(weight * value), LossInfo(mixed, q_value, error)

    return loss


class _Outputs(NamedTuple):
    """Outputs of a network along a sequence, [L, A, ...]."""

    online: PyTree
    evaluate: PyTree  # of the target parameters
    select: PyTree  # those that the bootstrap policy follows


# (outputs, steps, time) -> loss [], LossInfo and weight [] of the step at that time
StepLoss = Callable[[_Outputs, Sequence, Array], tuple[Array, LossInfo, Array]]


def _corrected(
    head: Head,
    n: int,
    gamma: Array | float,
    bootstrap_policy: losses.BootstrapPolicy,
    correction: off_policy.Correction,
) -> StepLoss:
    """The loss of a step against its corrected return; arguments as in `td_loss`."""

    def step_loss(
        outputs: _Outputs, steps: Sequence, time: Array
    ) -> tuple[Array, LossInfo, Array]:
        window, weight = corrected_window(steps, time, n, gamma)
        following = time + 1 + jnp.arange(n)
        evaluate, select = (
            jax.vmap(head.q_values)(unrolling.row(output, following))
            for output in (outputs.evaluate, outputs.select)
        )
        policy = jax.vmap(lambda q: bootstrap_policy(window, q))(select)
        target_return = off_policy.corrected_return(
            window, evaluate, policy, correction
        )
        output = unrolling.row(outputs.online, time)
        value, info = losses.regress(head, output, window.action, target_return)
        return value, info, weight

    return step_loss


def _bootstrapped(
    head: Head,
    n: int,
    gamma: Array | float,
    bootstrap_policy: losses.BootstrapPolicy,
    soft: munchausen.Munchausen | None,
    continuing: bool,
) -> StepLoss:
    """The loss of a step against its n-step target; arguments as in `td_loss`."""

    def log_policy(output: PyTree) -> Array:
        assert soft is not None
        return jax.nn.log_softmax(head.q_values(output) / soft.temperature)

    def step_loss(
        outputs: _Outputs, steps: Sequence, time: Array
    ) -> tuple[Array, LossInfo, Array]:
        transition, successor, weight = n_step_transition(
            steps, time, n, gamma, continuing
        )
        evaluate = unrolling.row(outputs.evaluate, successor)
        if soft is not None:
            current = log_policy(unrolling.row(outputs.evaluate, time))
            target = munchausen.munchausen_target(
                head, transition, evaluate, current, log_policy(evaluate), soft
            )
        else:
            select = unrolling.row(outputs.select, successor)
            target = losses.bootstrap_target(
                head, transition, evaluate, select, bootstrap_policy
            )
        output = unrolling.row(outputs.online, time)
        value, info = losses.compare(head, output, transition.action, target)
        return value, info, weight

    return step_loss


def regression_loss(network: Network) -> LossFunction:
    """Mean loss along a sequence whose `reward` is the return to regress to."""

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Sequence
    ) -> tuple[Array, LossInfo]:
        del target_params
        ended = example.terminated | example.truncated
        outputs, _ = unrolling.unroll(
            network, key, params, example.memory, example.observation, ended
        )
        value, info = jax.vmap(losses.regress, in_axes=(None, 0, 0, 0))(
            network.head, outputs, example.action, example.reward
        )
        return jnp.mean(value), jax.tree.map(jnp.mean, info)

    return loss
