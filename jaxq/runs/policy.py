"""Trained policies, to act with."""

import dataclasses
import functools
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import acting
from jaxq.config.fields import ConfigError
from jaxq.envs import observations
from jaxq.types import Agent, Array, EnvSpec, Key, LearnerState, PyTree
from jaxq.xla import prng


class _ActingState(NamedTuple):
    """The part of an agent's state that acting reads."""

    learner: LearnerState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Policy:
    """A trained policy, as an immutable pytree: pass it through `jit` and `vmap`.

    The policies of all seeds are one Policy whose arrays have a leading axis [S]:

        actions = jax.vmap(lambda policy, key: policy.act(key, observation))(
            policies, keys
        )
    """

    params: PyTree
    numbers: Array  # [] int32 of the seed, or [S]
    agent: Agent = dataclasses.field(metadata={"static": True})
    spec: EnvSpec = dataclasses.field(metadata={"static": True})
    # Whether actions depend on a memory of the episode.
    recurrent: bool = dataclasses.field(metadata={"static": True})

    @property
    def seeds(self) -> tuple[int, ...]:
        """Numbers of the seeds, as in metrics.csv."""
        return tuple(np.atleast_1d(self.numbers).tolist())

    def act(self, key: Key, observation: Any, epsilon: float | Array = 0.0) -> Array:
        """Choose an action without noise.

        Args:
            key: breaks ties, and draws random actions.
            observation: one observation of the environment.
            epsilon: [] probability of a random action; 0 is the greedy policy.

        Returns:
            The action, [] int32.

        Raises:
            ValueError: if the policy is recurrent, or for a wrong observation.
        """
        memory = self._no_memory()
        return self.step(key, memory, observation, epsilon)[0]

    def step(
        self,
        key: Key,
        memory: PyTree,
        observation: Any,
        epsilon: float | Array = 0.0,
        reward: float | Array | None = None,
    ) -> tuple[Array, PyTree]:
        """Choose an action, and return it with the memory after the observation.

        Args:
            key: breaks ties, and draws random actions.
            memory: result of the previous step, or of `initial_memory`.
            observation: one observation of the environment.
            epsilon: [] probability of a random action; 0 is the greedy policy.
            reward: [] of the step before, 0 at the start of an episode; needed if
                `recurrent_inputs` is action_reward, and not used otherwise.

        Raises:
            ValueError: for a wrong observation, or if the reward is missing.
        """
        observation = self._checked(observation)
        memory = self._after_reward(memory, reward)
        args = key, self.params, memory, observation, jnp.float32(epsilon)
        return _step(self.agent, *args)

    def initial_memory(self, key: Key) -> PyTree:
        """The memory at the start of an episode; empty for most agents."""
        return self.agent.initial_memory(key)

    def q_values(
        self,
        observation: Any,
        memory: PyTree = None,
        reward: float | Array | None = None,
    ) -> Array:
        """Estimates of Q(s, a) without noise, [A].

        Args:
            observation: one observation of the environment.
            memory: before the observation, if the policy is recurrent.
            reward: of the step before; see `step`.
        """
        memory = self._no_memory() if memory is None else memory
        memory = self._after_reward(memory, reward)
        return _q_values(self.agent, self.params, memory, self._checked(observation))

    def seed(self, number: int) -> Self:
        """The policy of one of several seeds.

        Args:
            number: of the seed, as in metrics.csv.

        Raises:
            ConfigError: if there is no such seed.
        """
        seeds = self.seeds
        if number not in seeds:
            raise ConfigError(
                f'seed = {number!r}: choose "best", "all", or one of {seeds[0]} to '
                f"{seeds[-1]}."
            )
        if jnp.ndim(self.numbers) == 0:
            return self
        index = seeds.index(number)
        return jax.tree.map(lambda leaf: leaf[index], self)

    def _no_memory(self) -> PyTree:
        """The memory of a policy that does not use it."""
        if self.recurrent:
            raise ValueError(
                "this policy has a memory. Start an episode with memory = "
                "policy.initial_memory(key), act with action, memory = "
                "policy.step(key, memory, observation), and pass it to "
                "policy.q_values(observation, memory)."
            )
        return self.agent.initial_memory(prng.key(0))

    def _after_reward(self, memory: PyTree, reward: float | Array | None) -> PyTree:
        """The memory with the reward of the step before, if the agent needs it."""
        if self.agent.remember is None:
            return memory
        if reward is None:
            raise ValueError(
                "this policy sees the last reward (recurrent_inputs = "
                "'action_reward'). Pass reward = that of the step before, and 0 at "
                "the start of an episode."
            )
        action = acting.network_memory(memory).action
        return self.agent.remember(memory, action, jnp.float32(reward))

    def _checked(self, observation: Any) -> PyTree:
        """The observation with the types that the network was trained on."""
        expected = self.spec.observation
        if isinstance(expected, jax.ShapeDtypeStruct):
            observation = jnp.asarray(observation)
        observation = observations.split_mask(observation)
        shapes = jax.tree.map(jnp.shape, observation)
        if shapes != jax.tree.map(jnp.shape, expected):
            raise ValueError(
                f"the observation has shape {_shapes(observation)}, but the policy was "
                f"trained on {_shapes(expected)}. Use jax.vmap for several "
                "observations."
            )
        return observations.cast(observation, expected)

    def __repr__(self) -> str:
        if isinstance(self.numbers, jax.core.Tracer):
            return f"Policy(environment={self.spec.name!r}, traced)"
        first, *others = self.seeds
        seeds = f"{first} to {others[-1]}" if others else f"{first}"
        return f"Policy(environment={self.spec.name!r}, seed={seeds})"


def _shapes(observation: PyTree) -> str:
    shapes = jax.tree.map(lambda leaf: list(jnp.shape(leaf)), observation)
    return str(shapes)


def _state(params: PyTree) -> _ActingState:
    return _ActingState(LearnerState(params, None, None, jnp.int32(-1)))


@functools.partial(jax.jit, static_argnums=0)
def _step(
    agent: Agent,
    key: Key,
    params: PyTree,
    memory: PyTree,
    observation: PyTree,
    epsilon: Array,
) -> tuple[Array, PyTree]:
    action, memory = agent.act(key, _state(params), memory, observation, epsilon, False)
    if agent.remember is not None:  # the reward follows with the next step
        memory = agent.remember(memory, action, jnp.zeros(()))
    return action, memory


@functools.partial(jax.jit, static_argnums=0)
def _q_values(
    agent: Agent, params: PyTree, memory: PyTree, observation: PyTree
) -> Array:
    return agent.q_values(_state(params), memory, observation)
