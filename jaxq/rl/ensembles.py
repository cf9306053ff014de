"""Losses of ensembles, whose members have their own target or share one."""

from collections.abc import Callable

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

# (key, outputs[A, M]) -> values[A] of a successor, for all members.
Reduction = Callable[[Key, Array], Array]


def minimum(subset: int | None = None) -> Reduction:
    """The smallest estimate, of all members or of a random subset.

    Reference: Lan et al., arXiv:2002.06487 (Maxmin Q-learning); Chen et al.,
    arXiv:2101.05982 (REDQ), for the subset.
    """

    def reduce(key: Key, outputs: Array) -> Array:
        if subset is not None:
            size = outputs.shape[1]
            chosen = jax.random.choice(key, size, (subset,), replace=False)
            outputs = outputs[:, chosen]
        return jnp.min(outputs, axis=1)

    return reduce


def mean(key: Key, outputs: Array) -> Array:
    """The mean estimate.

    Reference: Anschel et al., arXiv:1611.01929, section 5 (Ensemble-DQN).
    """
    del key
    return jnp.mean(outputs, axis=1)


def ensemble_loss(
    network: Network,
    member: Head,
    reduction: Reduction | None = None,
    double: bool = False,
) -> LossFunction:
    """The loss of every member of an ensemble, where its mask is set.

    loss = 1/M sum_m mask_m l(r + discount * max_a V_m(s', a) - Q_m(s, a)),

    where V_m is Q'_m, the member's own target network, or the same reduction of all
    target networks for every member. Double: V_m(s', argmax_a Q_m(s', a)).

    The mask [M] of a step is the field `mask` of its memory.

    Args:
        network: outputs [A, M], one estimate per action and member.
        member: the scalar head of a single member.
        reduction: of the estimates of a successor; None: each member has its own.
        double: select each member's next action by its online parameters.

    Reference: Osband et al., arXiv:1602.04621, section 4 (masks); arXiv:1806.03335.
    """

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        outputs = network.apply(None, params, transition.observation)
        next_outputs = network.apply(None, target_params, transition.next_observation)
        if reduction is not None:
            shared = reduction(key, next_outputs)[:, None]
            next_outputs = jnp.broadcast_to(shared, next_outputs.shape)

        select: tuple[Array, ...] = ()  # without Double, what is evaluated
        if double:
            select = (network.apply(None, params, transition.next_observation),)

        def member_loss(
            values: Array, next_values: Array, *select_values: Array
        ) -> tuple[Array, LossInfo]:
            output, next_output = values[:, None], next_values[:, None]
            select_output = select_values[0][:, None] if double else next_output
            target = losses.bootstrap_target(
                member, transition, next_output, select_output
            )
            return losses.compare(member, output, transition.action, target)

        value, info = jax.vmap(member_loss, in_axes=1)(outputs, next_outputs, *select)
        mask = transition.memory.mask
        return jnp.mean(mask * value), jax.tree.map(jnp.mean, info)

    return loss


def mixture_loss(network: Network, member: Head, double: bool = False) -> LossFunction:
    """Random ensemble mixture: a random average of all members learns as one network.

    loss = l(r + discount * max_a sum_m w_m Q'_m(s', a) - sum_m w_m Q_m(s, a)),
    w = u / sum(u), u ~ U(0, 1)^M, the same on both sides. Double: the online parameters
    select the action.

    Differs in that w is drawn for every transition, not for every minibatch.

    Args:
        network: outputs [A, M], one estimate per action and member.
        member: the scalar head of a single member.
        double: whether to select the next action by the online parameters.

    Reference: Agarwal et al., arXiv:1907.04543, section 4.1 (REM).
    """

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        outputs = network.apply(None, params, transition.observation)
        next_outputs = network.apply(None, target_params, transition.next_observation)
        # Above 0, so that an invalid action, at minus infinity, stays invalid.
        draw = jax.random.uniform(key, outputs.shape[1:], minval=1e-6)
        weight = jnp.broadcast_to(draw / jnp.sum(draw), outputs.shape)
        select_outputs = next_outputs
        if double:
            select_outputs = network.apply(None, params, transition.next_observation)
        output, next_output, select_output = (
            jnp.sum(weight * x, axis=1, keepdims=True)
            for x in (outputs, next_outputs, select_outputs)
        )
        target = losses.bootstrap_target(member, transition, next_output, select_output)
        return losses.compare(member, output, transition.action, target)

    return loss
