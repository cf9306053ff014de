"""The access-control queuing task of Sutton and Barto's textbook."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.envs import sutton_barto
from jaxq.envs.mdp import MDP
from jaxq.types import Array, Key

SERVERS, FREED = 10, 0.06  # number of servers, and probability that one becomes free
PRIORITIES = 1, 2, 4, 8


class AccessControl(sutton_barto.Example):
    """Decide whether to serve the customer at the head of a queue; it never ends.

    States: 4 x 11 pairs of the customer's priority and the number of free servers,
    numbered 11 priority index + free servers. All servers are free at the start.
    Actions: 0 reject, 1 accept; without a free server both reject.
    Rewards: the priority, 1, 2, 4 or 8, of a customer who is accepted.

    After the decision every busy server, also that of the new customer, becomes free
    with probability 0.06, and the next customer's priority is drawn uniformly. (The
    textbook does not say whether a new customer may leave at once; if not, the largest
    average reward is 2.6732 instead of 2.7476.)

    Reference: Sutton and Barto (2018), Example 10.2.
    """

    num_states = len(PRIORITIES) * (SERVERS + 1)
    num_actions = 2
    start = SERVERS

    def reset(
        self, key: Key, params: sutton_barto.Params
    ) -> tuple[Array, sutton_barto.State]:
        """Return the initial observation and state."""
        del params
        number = _draw_customer(key) + SERVERS
        return number, sutton_barto.State(number, jnp.int32(0))

    def _transition(
        self, key: Key, number: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        free_key, customer_key = jax.random.split(key)
        customer, free = jnp.divmod(number, SERVERS + 1)
        accepted = (action == 1) & (free > 0)
        priority = jnp.array(PRIORITIES, jnp.float32)[customer]
        free -= accepted.astype(jnp.int32)
        leaves = jax.random.bernoulli(free_key, FREED, (SERVERS,))
        busy = jnp.arange(SERVERS) < SERVERS - free
        free += jnp.sum(leaves & busy, dtype=jnp.int32)
        successor = _draw_customer(customer_key) + free
        reward = jnp.where(accepted, priority, jnp.float32(0))
        return successor, reward, jnp.bool_(False)


def _draw_customer(key: Key) -> Array:
    """The number of the state of a random customer without free servers; [] int32."""
    index = jax.random.randint(key, (), 0, len(PRIORITIES), jnp.int32)
    return (SERVERS + 1) * index


def model() -> MDP:
    """The exact model of `AccessControl`."""
    shape = len(PRIORITIES), SERVERS + 1, 2
    reward, transition = np.zeros(shape), np.zeros((*shape, *shape[:2]))
    for customer, priority in enumerate(PRIORITIES):
        for free in range(SERVERS + 1):
            for action in range(2):
                accepted = action == 1 and free > 0
                reward[customer, free, action] = priority * accepted
                busy = SERVERS - free + accepted
                for leave in range(busy + 1):
                    probability = math.comb(busy, leave) * FREED**leave
                    probability *= (1 - FREED) ** (busy - leave) / len(PRIORITIES)
                    after = SERVERS - busy + leave
                    transition[customer, free, action, :, after] = probability
    start = np.zeros(shape[:2])
    start[:, SERVERS] = 1 / len(PRIORITIES)
    states = start.size
    return MDP(
        transition.reshape(states, 2, states),
        reward.reshape(states, 2),
        start.ravel(),
        sutton_barto.Params().max_steps_in_episode,
    )
