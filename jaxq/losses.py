"""Losses of one transition."""

import chex
import jax
import jax.numpy as jnp

from jaxq.types import Array, Key, LossFunction, LossInfo, Network, PyTree, Transition


def select_action(output: Array, action: Array) -> Array:
    """Row `action` of output[A, K], as a masked sum.

    The gradient of an index is a scatter, a kernel of its own; the mask fuses.
    """
    mask = jnp.arange(output.shape[0]) == action
    return jnp.sum(jnp.where(mask[:, None], output, 0.0), axis=0)


def td_loss(network: Network, double: bool = False) -> LossFunction:
    """The temporal-difference loss of Q-learning, for any head.

    a* = argmax_a q'(s', a)                        (double: q(s', a), online params)
    target = r + discount * Z'(s', a*)             (Z': target params, no gradient)
    loss = head.loss(Z(s, a), target)

    Args:
        network: its head says what Z is and how two of them are compared.
        double: select the next action with the online parameters.

    Reference: Mnih et al. (2015), doi:10.1038/nature14236; van Hasselt et al.,
    arXiv:1509.06461, equation 4.
    """
    head = network.head

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        chex.assert_rank([transition.action, transition.reward, transition.discount], 0)
        online_key, target_key, select_key = jax.random.split(key, 3)
        outputs = network.apply(online_key, params, transition.observation)
        chex.assert_shape(outputs, (None, head.num_outputs))
        successor = transition.next_observation
        next_outputs = network.apply(target_key, target_params, successor)
        selector = next_outputs
        if double:
            selector = network.apply(select_key, params, successor)
        next_action = jnp.argmax(head.q_values(selector))
        target = head.backup(
            transition.reward,
            transition.discount,
            select_action(next_outputs, next_action),
        )
        output = select_action(outputs, transition.action)
        value, priority = head.loss(output, jax.lax.stop_gradient(target))
        q_value = select_action(head.q_values(outputs)[:, None], transition.action)[0]
        return value, LossInfo(priority, q_value)

    return loss
