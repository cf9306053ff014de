"""Networks with a memory, along a sequence of steps."""

import jax
import jax.numpy as jnp

from jaxq.types import Array, Key, Network, PyTree, Sequence


def unroll(
    network: Network,
    key: Key | None,
    params: PyTree,
    memory: PyTree,
    observation: Array,
    ended: Array,
) -> tuple[PyTree, PyTree]:
    """Apply a network along a sequence, resetting its memory after each episode.

    Args:
        network: with a memory.
        key: for noise, shared by all steps; None for no noise.
        params: parameters of the network.
        memory: before the first step.
        observation: [L, ...].
        ended: [L] bool: whether the episode ends with this step.

    Returns:
        Outputs [L, A, ...], and the memory after the last step.
    """
    if network.unroll is not None:
        return network.unroll(key, params, memory, observation, ended)
    return step_by_step(network, key, params, memory, observation, ended)


def step_by_step(
    network: Network,
    key: Key | None,
    params: PyTree,
    memory: PyTree,
    observation: Array,
    ended: Array,
) -> tuple[PyTree, PyTree]:
    """`unroll` by the network's `step`, one after the other."""
    fresh = network.initial_memory(jax.random.key(0))

    def step(memory: PyTree, inputs: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
        observation, ended = inputs
        output, memory = network.step(key, params, memory, observation)
        return reset_where(ended, fresh, memory), output

    memory, outputs = jax.lax.scan(step, memory, (observation, ended))
    return outputs, memory


def reset_where(ended: Array, fresh: PyTree, memory: PyTree) -> PyTree:
    """The memory, or a fresh one where the episode ended; [] bool."""
    return jax.tree.map(lambda new, m: jnp.where(ended, new, m), fresh, memory)


def unroll_after_burn_in(
    network: Network, key: Key, params: PyTree, sequence: Sequence, burn_in: int
) -> PyTree:
    """Outputs [L - burn_in, A, ...] after a burn-in that refreshes the stored memory.

    No gradient flows through the first `burn_in` steps.
    """
    ended = sequence.terminated | sequence.truncated
    steps = sequence.observation, ended
    first, rest = row(steps, slice(burn_in)), row(steps, slice(burn_in, None))
    memory = sequence.memory
    if burn_in:
        _, memory = unroll(network, key, params, memory, *first)
    memory = jax.lax.stop_gradient(memory)
    return unroll(network, key, params, memory, *rest)[0]


def row(tree: PyTree, index: Array | slice) -> PyTree:
    """The steps of a sequence at an index, or at several."""
    return jax.tree.map(lambda leaf: leaf[index], tree)
