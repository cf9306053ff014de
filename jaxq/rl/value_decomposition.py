"""Value decomposition: a team's value as the sum of its agents' values.

Q_tot(s, a) = sum_i Q(o_i, a_i)

The agents share one network. The greedy actions of the sum are those of its terms, so
that each agent acts alone.

Reference: Sunehag et al., arXiv:1706.05296, equation 2.
"""

import jax
import jax.numpy as jnp

from jaxq.rl import losses, unrolling
from jaxq.types import (
    Array,
    Head,
    Key,
    LossFunction,
    LossInfo,
    Network,
    PyTree,
    Regression,
    Sequence,
)


def regress_sum(
    head: Head, outputs: PyTree, action: Array, target_return: Array
) -> tuple[Array, LossInfo]:
    """Loss of the sum of a team's estimates against the team's return.

    Args:
        head: a scalar one: the sum of distributions is not the distribution of a sum.
        outputs: [N, A, ...] of N agents.
        action: [N] of each agent.
        target_return: [].

    Returns:
        The loss [] and its LossInfo.
    """
    chosen = jax.vmap(losses.select_action)(outputs, action)
    total = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0)[None], chosen)
    return losses.regress(head, total, jnp.int32(0), target_return)


def regression_loss(network: Network) -> LossFunction:
    """The loss of a team's estimate against a known return.

    It takes a Regression whose observation and action have the leading axis [N].
    """

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Regression
    ) -> tuple[Array, LossInfo]:
        del target_params
        apply = jax.vmap(network.apply, in_axes=(None, None, 0))
        outputs = apply(key, params, example.observation)
        return regress_sum(network.head, outputs, example.action, example.target_return)

    return loss


def sequence_loss(network: Network) -> LossFunction:
    """Mean loss of a team's estimates along a sequence of returns to regress to.

    It takes a Sequence whose leaves have the leading axis [N], except `reward`, the
    team's returns [L].
    """

    def loss(
        key: Key, params: PyTree, target_params: PyTree, example: Sequence
    ) -> tuple[Array, LossInfo]:
        del target_params

        def unroll(agent: Sequence) -> PyTree:
            ended = agent.terminated | agent.truncated
            return unrolling.unroll(
                network, key, params, agent.memory, agent.observation, ended
            )[0]

        axes = Sequence(0, 0, 0, None, 0, 0)  # type: ignore[arg-type]
        outputs = jax.vmap(unroll, in_axes=(axes,))(example)
        value, info = jax.vmap(regress_sum, in_axes=(None, 1, 1, 0))(
            network.head, outputs, example.action, example.reward
        )
        return jnp.mean(value), jax.tree.map(jnp.mean, info)

    return loss


def team_returns(returns: Array, size: int) -> Array:
    """The return of each team, the sum of the returns of its agents.

    A return by lambda is linear in the rewards and in the values of the successors, so
    the sum of the agents' returns is the return of the sum of their rewards that
    bootstraps from Q_tot, if their traces are equal.

    Args:
        returns: [E, ...], the agents of a team one after another.
        size: N.

    Returns:
        [E / N, ...].
    """
    return jnp.sum(returns.reshape(-1, size, *returns.shape[1:]), axis=1)
