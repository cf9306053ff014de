"""Losses of a sequence, for networks with a memory."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxq.rl import losses, returns
from jaxq.types import Array, Key, LossFunction, LossInfo, Network, PyTree, Sequence


def unroll(
    network: Network,
    key: Key | None,
    params: PyTree,
    memory: PyTree,
    observation: Array,
    ended: Array,
) -> tuple[PyTree, PyTree]:
    """Apply a network along a sequence; its memory starts anew after an end.

    Args:
        network: with a memory.
        key: for noise, the same along the sequence; None for none.
        params: of the network.
        memory: before the first step.
        observation: [L, ...].
        ended: [L] bool: whether an episode ends with a step.

    Returns:
        Outputs [L, A, ...], and the memory after the last step.
    """
    fresh = network.initial_memory(jax.random.key(0))

    def step(memory: PyTree, inputs: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
        observation, ended = inputs
        output, memory = network.step(key, params, memory, observation)
        memory = jax.tree.map(lambda new, m: jnp.where(ended, new, m), fresh, memory)
        return memory, output

    memory, outputs = jax.lax.scan(step, memory, (observation, ended))
    return outputs, memory


def td_loss(
    network: Network,
    burn_in: int,
    n: int,
    gamma: Array | float,
    double: bool = False,
    max_weight: Array | float = 0.9,
) -> LossFunction:
    """Mean temporal-difference loss along a sequence whose memory was stored.

    The first steps only refresh the memory, with either parameters. Each step after
    them has an n-step target that ends with its episode; the step before a truncation
    bootstraps from the truncated step's observation, whose own successor is not stored
    (its weight is zero).

    Args:
        network: with a memory.
        burn_in: steps that are not learned from.
        n: steps of a return; the last n steps of the sequence are only successors.
        gamma: [] discount factor.
        double: select the next action with the online parameters.
        max_weight: [] eta: priority = eta max + (1 - eta) mean of the steps'.

    Reference: Kapturowski et al. (2019), "Recurrent Experience Replay in Distributed
    Reinforcement Learning", sections 2.3 and 3.
    """
    head = network.head

    def outputs_of(key: Key, params: PyTree, sequence: Sequence) -> PyTree:
        ended = sequence.terminated | sequence.truncated
        head_part = (sequence.observation[:burn_in], ended[:burn_in])
        _, memory = unroll(network, key, params, sequence.memory, *head_part)
        rest = (sequence.observation[burn_in:], ended[burn_in:])
        memory = jax.lax.stop_gradient(memory)
        return unroll(network, key, params, memory, *rest)[0]

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Sequence
    ) -> tuple[Array, LossInfo]:
        online_key, target_key = jax.random.split(key)
        outputs = outputs_of(online_key, params, example)
        targets = outputs_of(target_key, target_params, example)
        selector = outputs if double else targets
        steps = jax.tree.map(lambda leaf: leaf[burn_in:], example._replace(memory=()))

        def one(time: Array) -> tuple[Array, LossInfo, Array]:
            def at(tree: PyTree, index: Array) -> PyTree:
                return jax.tree.map(lambda leaf: leaf[index], tree)

            window: Any = at(steps, time + jnp.arange(n))
            folded, weight = returns.n_step_return_from_ring(
                window.reward, window.terminated, window.truncated, gamma
            )
            successor = time + folded.length
            best = jnp.argmax(head.q_values(at(selector, successor)))
            next_output = losses.select_action(at(targets, successor), best)
            backup = head.backup(folded.reward, folded.discount, next_output)
            action = steps.action[time]
            value, info = losses.compare(head, at(outputs, time), action, backup)
            return value, info, weight

        times = jnp.arange(steps.action.size - n)
        value, info, weight = jax.vmap(one)(times)
        priority = weight * info.priority
        mixed = max_weight * jnp.max(priority) + (1.0 - max_weight) * jnp.mean(priority)
        learned = jnp.maximum(jnp.sum(weight), 1.0)
        q_value = jnp.sum(weight * info.q_value) / learned
        return jnp.mean(weight * value), LossInfo(mixed, q_value)

    return loss


def regression_loss(network: Network) -> LossFunction:
    """Mean loss along a sequence whose `reward` is the return to regress to."""

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Sequence
    ) -> tuple[Array, LossInfo]:
        del target_params
        ended = example.terminated | example.truncated
        outputs, _ = unroll(
            network, key, params, example.memory, example.observation, ended
        )
        value, info = jax.vmap(losses.regress, in_axes=(None, 0, 0, 0))(
            network.head, outputs, example.action, example.reward
        )
        return jnp.mean(value), jax.tree.map(jnp.mean, info)

    return loss
