"""Double Q-learning: two estimates, each evaluated by the other."""

import jax
import jax.numpy as jnp

from jaxq.rl import exploration, heads, losses
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


def double_table(loss: str = "squared", huber_delta: Array | float = 1.0) -> Head:
    """Two outputs per action: two estimates of its return, one of which learns.

    The q-value is their mean. A target is a pair (index of the estimate that learns,
    value), and is computed by `double_q_loss` rather than by `backup`.

    Args:
        loss: "squared" or "huber".
        huber_delta: [] error beyond which Huber's loss is linear.

    Reference: van Hasselt (2010), "Double Q-learning".
    """
    single = heads.scalar(loss, huber_delta)

    def q_values(output: Array) -> Array:
        return jnp.mean(output, axis=-1)

    def backup(reward: Array, discount: Array, next_output: Array) -> Array:
        raise NotImplementedError("the double_table head learns by double_q_loss only")

    def td(output: Array, target: tuple[Array, Array]) -> tuple[Array, Array]:
        index, value = target
        return single.loss(jnp.where(index == 1, output[1:], output[:1]), value)

    def td_error(output: Array, target: tuple[Array, Array]) -> Array:
        index, value = target
        return value - jnp.where(index == 1, output[1], output[0])

    return Head(2, q_values, backup, td, td_error=td_error)


def double_q_loss(network: Network) -> LossFunction:
    """Double Q-learning: a coin decides which of two estimates learns from the other.

    heads:  Q1(s, a) <- r + discount * Q2(s', argmax_a Q1(s', a))
    tails:  Q2(s, a) <- r + discount * Q1(s', argmax_a Q2(s', a))

    Ties of the maximum are broken uniformly: while all values are equal, a fixed choice
    would evaluate the same action over and over.

    Args:
        network: two outputs per action, with the head `double_table`.

    Reference: van Hasselt (2010), "Double Q-learning", algorithm 1.
    """
    single = heads.scalar()

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        coin_key, tie_key = jax.random.split(key)
        coin = jax.random.bernoulli(coin_key).astype(jnp.int32)
        outputs = network.apply(None, params, transition.observation)
        next_outputs = network.apply(None, target_params, transition.next_observation)
        order = jnp.stack([coin, 1 - coin])
        select_values, evaluate_values = jnp.take(next_outputs, order, axis=1).T

        def random_greedy(transition: Transition, q_values: Array) -> Array:
            del transition
            best = exploration.epsilon_greedy(tie_key, q_values, 0.0)
            return jax.nn.one_hot(best, q_values.size)

        target = losses.bootstrap_target(
            single,
            transition,
            evaluate_values[:, None],
            select_values[:, None],
            random_greedy,
        )
        return losses.compare(network.head, outputs, transition.action, (coin, target))

    return loss
