"""Trained policies, to act with."""

import dataclasses
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from jaxq.config.fields import ConfigError
from jaxq.types import Agent, Array, EnvSpec, Key, LearnerState, PyTree
from jaxq.xla import prng


class _ActingState(NamedTuple):
    """The part of an agent's state that acting reads."""

    learner: LearnerState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Policy:
    """A trained policy, as an immutable pytree: pass it through `jit` and `vmap`.

    The policies of all seeds are one Policy whose parameters have a leading axis [S]:

        actions = jax.vmap(lambda policy, key: policy.act(key, observation))(
            policies, keys
        )
    """

    params: PyTree
    agent: Agent = dataclasses.field(metadata={"static": True})
    spec: EnvSpec = dataclasses.field(metadata={"static": True})
    seeds: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def act(self, key: Key, observation: Any, epsilon: float | Array = 0.0) -> Array:
        """Choose an action without noise.

        Args:
            key: breaks ties, and draws random actions.
            observation: one observation of the environment.
            epsilon: [] probability of a random action; 0 is the greedy policy.

        Returns:
            The action, [] int32.

        Raises:
            ValueError: if the policy has a memory, or for a wrong observation.
        """
        if jax.tree.leaves(jax.eval_shape(self.initial_memory, key_shape())):
            raise ValueError(
                "this policy has a memory, which `act` would lose. Start an episode "
                "with memory = policy.initial_memory(key), and act with action, memory "
                "= policy.step(key, memory, observation)."
            )
        return self.step(key, (), observation, epsilon)[0]

    def step(
        self,
        key: Key,
        memory: PyTree,
        observation: Any,
        epsilon: float | Array = 0.0,
    ) -> tuple[Array, PyTree]:
        """Choose an action, and return it with the memory after the observation.

        Args:
            key: breaks ties, and draws random actions.
            memory: result of the previous step, or of `initial_memory`.
            observation: one observation of the environment.
            epsilon: [] probability of a random action; 0 is the greedy policy.
        """
        observation = self._checked(observation)
        return _step(self, key, memory, observation, jnp.float32(epsilon))

    def initial_memory(self, key: Key) -> PyTree:
        """The memory at the start of an episode; empty for most agents."""
        return self.agent.initial_memory(key)

    def q_values(self, observation: Any, memory: PyTree = ()) -> Array:
        """Estimates of Q(s, a) without noise, [A].

        Args:
            observation: one observation of the environment.
            memory: before the observation, if the policy has one.
        """
        return _q_values(self, self._checked(observation), memory)

    def seed(self, number: int) -> Self:
        """The policy of one of several seeds.

        Args:
            number: of the seed, as in metrics.csv.

        Raises:
            ConfigError: if there is no such seed.
        """
        if number not in self.seeds:
            first, last = self.seeds[0], self.seeds[-1]
            raise ConfigError(f"seed = {number!r}: choose one of {first} to {last}.")
        if len(self.seeds) == 1:
            return self
        index = self.seeds.index(number)
        params = jax.tree.map(lambda leaf: leaf[index], self.params)
        return dataclasses.replace(self, params=params, seeds=(number,))

    def _checked(self, observation: Any) -> Array:
        """The observation as an array of the type that the network was trained on."""
        array = jnp.asarray(observation)
        if array.shape != self.spec.observation.shape:
            raise ValueError(
                f"the observation has shape {list(array.shape)}, but the policy was "
                f"trained on {list(self.spec.observation.shape)}. Use jax.vmap for "
                "several observations."
            )
        return array.astype(self.spec.observation.dtype)

    def __repr__(self) -> str:
        seeds = f"{self.seeds[0]}"
        if len(self.seeds) > 1:
            seeds += f" to {self.seeds[-1]}"
        return f"Policy(environment={self.spec.name!r}, seed={seeds})"


def key_shape() -> Any:
    """Shape and dtype of a key."""
    return jax.eval_shape(lambda: prng.key(0))


def _state(policy: Policy) -> _ActingState:
    return _ActingState(LearnerState(policy.params, None, None, jnp.int32(-1)))


@jax.jit
def _step(
    policy: Policy, key: Key, memory: PyTree, observation: Array, epsilon: Array
) -> tuple[Array, PyTree]:
    return policy.agent.act(key, _state(policy), memory, observation, epsilon, False)


@jax.jit
def _q_values(policy: Policy, observation: Array, memory: PyTree) -> Array:
    return policy.agent.q_values(_state(policy), memory, observation)
