"""Losses of a sequence, for networks with a memory."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.rl import losses, munchausen, off_policy, sequence_windows, unrolling
from jaxq.types import (
    Array,
    Head,
    Key,
    LossFunction,
    LossInfo,
    Network,
    PyTree,
    Sequence,
)


def td_loss(
    network: Network,
    burn_in: int,
    n: int,
    gamma: Array | float,
    double: bool = False,
    max_weight: Array | float = 0.9,
    bootstrap_policy: losses.BootstrapPolicy = losses.greedy,
    *,
    evaluator: Network | None = None,
    selector: Network | None = None,
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
        evaluator: computes the outputs that enter targets; see `losses.td_loss`.
        selector: computes those that policies follow; see `losses.td_loss`.
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
        online_key, target_key, *select_key = jax.random.split(
            key, 3 if selector else 2
        )
        online = unrolling.unroll_after_burn_in(
            network, online_key, params, example, burn_in
        )
        evaluate = unrolling.unroll_after_burn_in(
            evaluator or network, target_key, target_params, example, burn_in
        )
        select = online if double else evaluate
        if selector is not None:
            select_params = params if double else target_params
            select = unrolling.unroll_after_burn_in(
                selector, select_key[0], select_params, example, burn_in
            )
        outputs = _Outputs(online, evaluate, select)
        learned = example._replace(memory=(), epsilon=None, horizon=())
        steps = unrolling.row(learned, slice(burn_in, None))
        steps = steps._replace(epsilon=example.epsilon, horizon=example.horizon)
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
        window, weight = sequence_windows.corrected_window(steps, time, n, gamma)
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
        transition, successor, weight = sequence_windows.n_step_transition(
            steps, time, n, gamma, continuing
        )
        evaluate = unrolling.row(outputs.evaluate, successor)
        if soft is not None:
            now, following = (
                log_policy(unrolling.row(outputs.select, row))
                for row in (time, successor)
            )
            target = munchausen.munchausen_target(
                head, transition, evaluate, now, following, soft
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
