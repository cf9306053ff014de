"""Losses of ensembles whose members represent distributions of the return."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxq.rl import losses, mixtures
from jaxq.types import (
    Array,
    Key,
    LossFunction,
    LossInfo,
    Network,
    PyTree,
    Transition,
)

Target = Literal["own", "minimum", "mean"]


def ensemble_loss(
    network: Network,
    target: Target = "own",
    subset: int | None = None,
    double: bool = False,
) -> LossFunction:
    """The loss of every member of a distributional ensemble, where its mask is set.

    loss = 1/M sum_m mask_m l(r + discount * Z*_m(s', a_m), Z_m(s, a)),

    Z*_m(s', a) is the estimate of the member's own target network (own), that of the
    member whose mean is the smallest (minimum), or the mixture of all members' (mean),
    and a_m maximises its mean. Double: a_m maximises the mean of the member's online
    estimate.

    The mask [M] of a step is the field `mask` of its memory.

    Args:
        network: outputs [M, A, ...], with the head of a single member.
        target: see above.
        subset: members drawn for each minimum; None takes all.
        double: select each member's next action by its online parameters.

    Reference: Osband et al., arXiv:1602.04621 (own); Lan et al., arXiv:2002.06487
    (minimum) and Anschel et al., arXiv:1611.01929 (mean), for expected returns.
    """
    member = network.head

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        outputs = network.apply(None, params, transition.observation)
        successor = transition.next_observation
        evaluate = network.apply(None, target_params, successor)
        means = jax.vmap(member.q_values)(evaluate)  # [M, A]
        weights, values = _reduce(key, means, target, subset)
        select = values
        if double:
            online = network.apply(None, params, successor)
            select = jax.vmap(member.q_values)(online)

        def member_loss(
            output: PyTree, weights: Array, select: Array
        ) -> tuple[Array, LossInfo]:
            policy = losses.greedy(transition, select)
            weight = mixtures.average(weights.T, policy)
            # [M, ...]: every member's estimate of the action.
            chosen = jax.vmap(mixtures.average, in_axes=(0, None))(evaluate, policy)
            mix = member.mix if target == "mean" else mixtures.average
            assert mix is not None
            next_output = mix(chosen, weight)
            backup = member.backup(transition.reward, transition.discount, next_output)
            return losses.compare(member, output, transition.action, backup)

        # Without an axis of members, a target is computed once for all.
        shared = None if target != "own" else 0
        value, info = jax.vmap(
            member_loss, in_axes=(0, shared, 0 if double else shared)
        )(outputs, weights, select)
        mask = transition.memory.mask
        return jnp.mean(mask * value), jax.tree.map(jnp.mean, info)

    return loss


def _reduce(
    key: Key, means: Array, target: Target, subset: int | None
) -> tuple[Array, Array]:
    """The weights of the members in a target, and its mean for every action.

    Args:
        key: for the subset.
        means: [M, A] expected returns of all members.
        target, subset: as in `ensemble_loss`.

    Returns:
        [M, A] and [A]; for the members' own targets, the same for each, [M, M, A] and
        [M, A].
    """
    size, num_actions = means.shape
    if target == "own":
        own = jnp.broadcast_to(jnp.eye(size)[:, :, None], (size, size, num_actions))
        return own, means
    if target == "mean":
        return jnp.full(means.shape, 1.0 / size), jnp.mean(means, axis=0)
    if subset is not None:
        chosen = jax.random.choice(key, size, (subset,), replace=False)
        drawn = jnp.zeros(size, bool).at[chosen].set(True)
        means = jnp.where(drawn[:, None], means, jnp.inf)
    smallest = jax.nn.one_hot(jnp.argmin(means, axis=0), size, axis=0)
    return smallest, jnp.min(means, axis=0)
