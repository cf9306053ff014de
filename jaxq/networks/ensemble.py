"""Several estimates of the same value: ensembles, and the two of Double Q-learning."""

from typing import NamedTuple

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


class Member(NamedTuple):
    """What an ensemble remembers during an episode."""

    member: Array  # [] int32: who acts
    mask: Array  # [M] float32: who learns from the next step


def ensemble(
    network: Network,
    size: int,
    prior_scale: Array | float,
    mask_probability: Array | float,
    prior: Network | None = None,
) -> Network:
    """Several networks, each with a fixed random network added to it.

    output[a, m] = Q_m(s, a) + prior_scale * P_m(s, a)

    One member, drawn for every episode, acts; evaluation takes their mean.

    Args:
        network: of every member, with one output an action.
        size: M.
        prior_scale: [] weight of the priors P, which never learn.
        mask_probability: [] that a member learns from a step.
        prior: how a prior starts; None: as a member.

    Reference: Osband et al., arXiv:1602.04621 (bootstrap); arXiv:1806.03335 (priors).
    """

    def init(key: Key, observation: Array) -> PyTree:
        def many(key: Key, one: Network) -> PyTree:
            keys = jax.random.split(key, size)
            return jax.vmap(one.init, in_axes=(0, None))(keys, observation)

        own_key, prior_key = jax.random.split(key)
        return {
            "members": many(own_key, network),
            "priors": many(prior_key, prior or network),
        }

    def apply(key: Key | None, params: PyTree, observation: Array) -> Array:
        del key
        each = jax.vmap(network.apply, in_axes=(None, 0, None))
        prior = each(None, jax.lax.stop_gradient(params["priors"]), observation)
        # Minus infinity, no action, comes from the members; 0 * -inf would be NaN.
        prior = jnp.where(jnp.isfinite(prior), prior_scale * prior, 0.0)
        outputs = each(None, params["members"], observation) + prior
        return outputs[..., 0].T

    def initial_memory(key: Key) -> Member:
        index_key, mask_key = jax.random.split(key)
        member = jax.random.randint(index_key, (), 0, size)
        return Member(member, _mask(mask_key))

    def _mask(key: Key) -> Array:
        return jax.random.bernoulli(key, mask_probability, (size,)).astype(jnp.float32)

    def take(
        key: Key | None, params: PyTree, memory: Member, observation: Array
    ) -> tuple[Array, Member]:
        outputs = apply(None, params, observation)
        if key is None:
            return jnp.mean(outputs, axis=1, keepdims=True), memory
        chosen = jnp.take(outputs, memory.member[None], axis=1)
        return chosen, memory._replace(mask=_mask(key))

    return Network(init, apply, network.head, take, initial_memory)


def ensemble_loss(network: Network, member: Head) -> LossFunction:
    """Every member of an ensemble learns from its own target, where its mask is set.

    loss = 1/M sum_m mask_m l(r + discount * max_a Q'_m(s', a) - Q_m(s, a))

    Args:
        network: outputs [A, M].
        member: the scalar head of each member.

    Reference: Osband et al., arXiv:1602.04621, section 4 (masks); arXiv:1806.03335.
    """

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        del key
        outputs = network.apply(None, params, transition.observation)
        following = network.apply(None, target_params, transition.next_observation)

        def one(output: Array, following: Array) -> tuple[Array, LossInfo]:
            best = losses.greedy(transition, following)
            next_output = losses.average(following[:, None], best)
            backup = member.backup(transition.reward, transition.discount, next_output)
            return losses.compare(member, output[:, None], transition.action, backup)

        value, info = jax.vmap(one, in_axes=1)(outputs, following)
        mask = transition.memory.mask
        return jnp.mean(mask * value), jax.tree.map(jnp.mean, info)

    return loss


def double_table(loss: str = "squared", huber_delta: Array | float = 1.0) -> Head:
    """Two outputs an action: two estimates of its return, of which one learns.

    The value is their mean; a target is (which estimate learns, value).

    Reference: van Hasselt (2010), "Double Q-learning".
    """
    single = heads.scalar(loss, huber_delta)

    def td(output: Array, target: tuple[Array, Array]) -> tuple[Array, Array]:
        which, value = target
        return single.loss(jnp.where(which == 1, output[1:], output[:1]), value)

    def backup(reward: Array, discount: Array, next_output: Array) -> Array:
        raise NotImplementedError("twin estimates learn by double_q_loss")

    return Head(2, lambda output: jnp.mean(output, axis=-1), backup, td)


def double_q_loss(network: Network) -> LossFunction:
    """Double Q-learning: a coin chooses which of two estimates learns from the other.

    heads:  Q1(s, a) <- r + discount * Q2(s', argmax_a Q1(s', a))
    tails:  Q2(s, a) <- r + discount * Q1(s', argmax_a Q2(s', a))

    Ties of the maximum are broken uniformly: with all values equal at first, a fixed
    choice would judge one action again and again.

    Args:
        network: two outputs an action, with the head `twin`.

    Reference: van Hasselt (2010), "Double Q-learning", algorithm 1.
    """
    head = network.head

    def loss(
        key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        coin_key, tie_key = jax.random.split(key)
        coin = jax.random.bernoulli(coin_key).astype(jnp.int32)
        outputs = network.apply(None, params, transition.observation)
        following = network.apply(None, target_params, transition.next_observation)
        learner, judge = jnp.take(following, jnp.stack([coin, 1 - coin]), axis=1).T
        best = exploration.epsilon_greedy(tie_key, learner, 0.0)
        policy = jax.nn.one_hot(best, judge.size)
        judged = losses.average(judge[:, None], policy)[0]
        backup = transition.reward + transition.discount * judged
        return losses.compare(head, outputs, transition.action, (coin, backup))

    return loss
