"""The last action and reward, as inputs of a recurrent network.

An agent's memory holds them beside the network's; the network sees them beside each
observation. The functions here leave every other kind of memory as it is.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxq.types import Array, Key, Network, PyTree


class Memory(NamedTuple):
    """The memory of an agent whose network sees the step before each observation."""

    network: PyTree  # the network's memory
    action: Array  # [] int32 of the step before; -1 at the start of an episode
    reward: Array  # [] float32 of the step before, clipped; 0 at the start


class Recalled(NamedTuple):
    """An observation, and the action and the reward of the step before it."""

    observation: PyTree
    action: Array  # [] int32, or -1
    reward: Array  # [] float32


def initial_memory(network: Network, key: Key) -> Memory:
    """The memory at the start of an episode, which no step precedes."""
    return Memory(network.initial_memory(key), jnp.int32(-1), jnp.float32(0.0))


def after(memory: PyTree, action: Array, reward: Array) -> PyTree:
    """The memory after a step; the network's already is."""
    if not isinstance(memory, Memory):
        return memory
    return memory._replace(action=action, reward=reward)


def of_network(memory: PyTree) -> PyTree:
    """The network's part of an agent's memory."""
    return memory.network if isinstance(memory, Memory) else memory


def seen(memory: PyTree, observation: PyTree) -> PyTree:
    """An observation as the network sees it, given the agent's memory before it."""
    if not isinstance(memory, Memory):
        return observation
    return Recalled(observation, memory.action, memory.reward)


def plain(observation: PyTree) -> PyTree:
    """The inverse of `seen`."""
    return observation.observation if isinstance(observation, Recalled) else observation


def step(
    network: Network,
    key: Key | None,
    params: PyTree,
    memory: PyTree,
    observation: PyTree,
) -> tuple[PyTree, PyTree]:
    """`network.step` with an agent's memory in place of the network's."""
    before, visible = of_network(memory), seen(memory, observation)
    output, network_memory = network.step(key, params, before, visible)
    if isinstance(memory, Memory):
        return output, memory._replace(network=network_memory)
    return output, network_memory
