"""A loss of one's own: advantage learning (Baird, 1999; Bellemare et al., 2016)."""

import jax
import jax.numpy as jnp

from jaxq.rl import losses
from jaxq.types import LossFunction, Network


def advantage_learning_loss(network: Network, alpha: float) -> LossFunction:
    """Target r + discount max q'(s', .) - alpha (max q'(s, .) - q'(s, a))."""

    def loss(key, params, target_params, transition):
        online_key, here_key, there_key = jax.random.split(key, 3)
        outputs = network.apply(online_key, params, transition.observation)
        here = network.apply(here_key, target_params, transition.observation)
        there = network.apply(there_key, target_params, transition.next_observation)
        q_here = network.head.q_values(here)
        gap = jnp.max(q_here) - q_here[transition.action]
        best = jnp.argmax(network.head.q_values(there))
        target = network.head.backup(
            transition.reward - alpha * gap,
            transition.discount,
            losses.select_action(there, best),
        )
        return losses.compare(network.head, outputs, transition.action, target)

    return loss
