"""A user-defined loss: advantage learning (Baird, 1999; Bellemare et al., 2016)."""

import jax
import jax.numpy as jnp

from jaxq.rl import losses
from jaxq.types import LossFunction, Network


def advantage_learning_loss(network: Network, alpha: float) -> LossFunction:
    """Target r + discount max q'(s', .) - alpha (max q'(s, .) - q'(s, a))."""

    def loss(key, params, target_params, transition):
        online_key, target_key, next_key = jax.random.split(key, 3)
        outputs = network.apply(online_key, params, transition.observation)
        target_outputs = network.apply(
            target_key, target_params, transition.observation
        )
        next_outputs = network.apply(
            next_key, target_params, transition.next_observation
        )
        q_values = network.head.q_values(target_outputs)
        gap = jnp.max(q_values) - q_values[transition.action]
        best = jnp.argmax(network.head.q_values(next_outputs))
        target = network.head.backup(
            transition.reward - alpha * gap,
            transition.discount,
            losses.select_action(next_outputs, best),
        )
        return losses.compare(network.head, outputs, transition.action, target)

    return loss
