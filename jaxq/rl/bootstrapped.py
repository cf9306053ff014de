"""The loss of Bootstrapped DQN, an ensemble whose members learn from masked data."""

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


def ensemble_loss(network: Network, member: Head) -> LossFunction:
    """Each member of an ensemble learns from its own target, where its mask is set.

    loss = 1/M sum_m mask_m l(r + discount * max_a Q'_m(s', a) - Q_m(s, a))

    The mask [M] of a step is the field `mask` of its memory.

    Args:
        network: outputs [A, M], one estimate per action and member.
        member: the scalar head of a single member.

    Reference: Osband et al., arXiv:1602.04621, section 4 (masks); arXiv:1806.03335.
    """

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        del key
        outputs = network.apply(None, params, transition.observation)
        next_outputs = network.apply(None, target_params, transition.next_observation)

        def member_loss(values: Array, next_values: Array) -> tuple[Array, LossInfo]:
            output, next_output = values[:, None], next_values[:, None]
            target = losses.bootstrap_target(
                member, transition, next_output, next_output
            )
            return losses.compare(member, output, transition.action, target)

        value, info = jax.vmap(member_loss, in_axes=1)(outputs, next_outputs)
        mask = transition.memory.mask
        return jnp.mean(mask * value), jax.tree.map(jnp.mean, info)

    return loss
