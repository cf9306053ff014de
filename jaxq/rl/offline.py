"""Penalties that keep the greedy policy close to the actions in the data.

Each is a function of the estimates of all actions in a state and of the action taken
there in the data, and is added to the loss of that action; see `types.Head`.
"""

import jax
import jax.numpy as jnp

from jaxq.rl import losses
from jaxq.types import Array


def conservative(q_values: Array, action: Array) -> Array:
    """Excess of a soft maximum of all estimates over that of the action taken.

    log sum_b exp Q(s, b) - Q(s, a)

    It is the cross-entropy between the action and softmax(Q(s, .)), so it also clones
    the behaviour. Its gradient lowers the estimates of actions that the data lacks.

    Args:
        q_values: [A]; minus infinity marks an invalid action.
        action: [] int32.

    Returns:
        [].

    Reference: Kumar et al., arXiv:2006.04779, equation 4, CQL(H).
    """
    return jax.nn.logsumexp(q_values) - _of(q_values, action)


def large_margin(q_values: Array, action: Array, margin: Array | float) -> Array:
    """Shortfall of the action taken from exceeding every other by a margin.

    max_b (Q(s, b) + margin 1[b != a]) - Q(s, a)

    Args:
        q_values: [A]; minus infinity marks an invalid action.
        action: [] int32.
        margin: [] in units of the return.

    Returns:
        [].

    Reference: Hester et al., arXiv:1704.03732, equation 2, the supervised loss of DQfD.
    """
    others = jnp.where(jnp.arange(q_values.size) == action, 0.0, margin)
    return jnp.max(q_values + others) - _of(q_values, action)


def _of(q_values: Array, action: Array) -> Array:
    return losses.select_action(q_values[:, None], action)[0]
