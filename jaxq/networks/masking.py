"""Networks for environments in which some actions are invalid.

A scalar output of minus infinity marks an invalid action, as in a table. The outputs of
other heads cannot mark it, so the mask goes beside them. Either way the q-value of an
invalid action is minus infinity, and no policy and no maximum ever selects it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.types import Array, Head, Key, Network, PyTree


class MaskedOutput(NamedTuple):
    """The output of a network for all actions, and which of them are valid."""

    output: PyTree  # [A, ...]
    valid: Array  # [A] float32: 0 or 1


def usable(mask: Array) -> Array:
    """The mask of valid actions, or all actions in a state without any; [A] bool.

    Only a terminal state has none, and nothing depends on its values.
    """
    return mask | ~jnp.any(mask)


def masked_head(head: Head) -> Head:
    """A head whose outputs are `MaskedOutput`, for outputs of the given head."""

    def q_values(masked: MaskedOutput) -> Array:
        return jnp.where(masked.valid > 0.0, head.q_values(masked.output), -jnp.inf)

    def backup(reward: Array, discount: Array, next_output: MaskedOutput) -> PyTree:
        return head.backup(reward, discount, next_output.output)

    def loss(masked: MaskedOutput, target: PyTree) -> tuple[Array, Array]:
        return head.loss(masked.output, target)

    def mix(masked: MaskedOutput, policy: Array) -> MaskedOutput:
        assert head.mix is not None
        mixture = head.mix(masked.output, policy)
        return MaskedOutput(mixture, jnp.sum(policy * masked.valid))

    def td_error(masked: MaskedOutput, target: PyTree) -> Array:
        assert head.td_error is not None
        return head.td_error(masked.output, target)

    return head._replace(
        q_values=q_values,
        backup=backup,
        loss=loss,
        mix=mix if head.mix else None,
        td_error=td_error if head.td_error else None,
    )


def masked(network: Network, valid_actions: Callable[[PyTree], Array]) -> Network:
    """A network with a mask of valid actions, for any head.

    Args:
        network: of all actions.
        valid_actions: observation -> [A] bool.
    """

    def mask(output: PyTree, observation: PyTree) -> MaskedOutput:
        valid = usable(valid_actions(observation)).astype(jnp.float32)
        return MaskedOutput(output, valid)

    return _with_mask(network, mask)._replace(head=masked_head(network.head))


def masked_scalar(
    network: Network, valid_actions: Callable[[PyTree], Array]
) -> Network:
    """A network with a scalar head; its arguments are those of `masked`."""

    def mask(output: Array, observation: PyTree) -> Array:
        valid = usable(valid_actions(observation))
        return jnp.where(valid[:, None], output, -jnp.inf)

    return _with_mask(network, mask)


def _with_mask(network: Network, mask: Callable[[PyTree, PyTree], PyTree]) -> Network:
    """A network whose outputs pass through `mask`, with the observation."""

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        return mask(network.apply(key, params, observation), observation)

    def step(
        key: Key | None, params: PyTree, memory: PyTree, observation: PyTree
    ) -> tuple[PyTree, PyTree]:
        output, memory = network.step(key, params, memory, observation)
        return mask(output, observation), memory

    def unroll(
        key: Key | None,
        params: PyTree,
        memory: PyTree,
        observation: PyTree,
        ended: Array,
    ) -> tuple[PyTree, PyTree]:
        assert network.unroll is not None
        output, memory = network.unroll(key, params, memory, observation, ended)
        return jax.vmap(mask)(output, observation), memory

    return network._replace(
        apply=apply, step=step, unroll=unroll if network.unroll else None
    )
