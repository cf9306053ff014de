"""Small environments of several agents, behind JaxMARL's interface."""

import jax
import jax.numpy as jnp
from mdps import Discrete


class Team:
    """Base class: subclasses define first(key), observe(value) and play(...)."""

    agents = ("ann", "bob")
    num_actions = (2, 2)

    def action_space(self, agent):
        return Discrete(self.num_actions[self.agents.index(agent)])

    def reset(self, key):
        value = self.first(key)
        return self.observe(value), {"value": value, "time": 0}

    def step_env(self, key, state, actions):
        value, rewards, over = self.play(key, state["value"], actions)
        state = {"value": value, "time": state["time"] + 1}
        late = state["time"] >= getattr(self, "max_steps", 10**6)
        dones = {agent: over for agent in self.agents} | {"__all__": over | late}
        return self.observe(value), state, rewards, dones, {}


class Credit(Team):
    """Ann is rewarded if Bob does what he sees; Bob himself is never rewarded.

    An episode takes one step. Independent learners leave Bob indifferent, with a mean
    return of 1/2 for Ann; the sum of both values is learned to be 1.
    """

    def first(self, key):
        return jax.random.randint(key, (), 0, 2)

    def observe(self, value):
        sign = 2.0 * value - 1.0
        return {"ann": jnp.array([0.0]), "bob": jnp.stack([sign, 1.0])}

    def play(self, key, value, actions):
        reward = jnp.float32(actions["bob"] == value)
        return value, {"ann": reward, "bob": jnp.float32(0)}, jnp.bool_(True)


class Counting(Team):
    """Ann counts up by her action, Bob by twice his; the sum is random up to 1.

    The observations are integers and the actions of different number. An episode ends
    at 15, or after max_steps.
    """

    agents = ("ann", "bob", "cas")
    num_actions = (2, 3, 2)
    max_steps = 5

    def first(self, key):
        return jax.random.randint(key, (), 0, 3)

    def observe(self, value):
        return {
            "ann": jnp.stack([value, value + 1]),
            "bob": jnp.stack([value]),
            "cas": jnp.stack([-value, value, 2 * value]),
        }

    def play(self, key, value, actions):
        luck = jnp.int32(jax.random.bernoulli(key))
        value = value + actions["ann"] + 2 * actions["bob"] + luck
        rewards = {agent: i + value for i, agent in enumerate(self.agents)}
        return value, rewards, value >= 15
