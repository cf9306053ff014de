"""Environments of several agents, which share one network: an adapter for JaxMARL's.

Every agent is a row of the training loop: it observes, acts and is rewarded on its own.
That is independent Q-learning with shared parameters; `value_decomposition` adds the
sum over a team.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.envs import adapter, observations, team_contract
from jaxq.types import (
    Array,
    EnvSpec,
    Key,
    MaskedObservation,
    PyTree,
    Step,
    is_key,
)


class TeamState(NamedTuple):
    """State of an environment, and the steps since its episode started."""

    inner: PyTree
    steps: Array  # [] int32


def adapt_team(
    env: Any,
    name: str = "",
    *,
    time_limit: int | None = None,
    agent_ids: bool = True,
    mask: bool = True,
) -> adapter.Environment:
    """Adapt an object with JaxMARL's interface, of N agents.

    An episode ends for all agents at once; an agent that is done early waits. A step
    that reaches the environment's own `max_steps` is a truncation even if the task ends
    with it, which the environment does not report separately. A step that reaches a
    different `time_limit` is a truncation unless the task ends with it.

    Args:
        env: has `agents`, `reset(key)`, `step_env(key, state, actions)`,
            `action_space(agent)`, and may have `get_avail_actions(state)`, or
            Hanabi's `get_legal_moves(state)`.
        name: display name; if empty, the object's own.
        time_limit: steps after which an episode is truncated; None keeps the
            environment's own.
        agent_ids: append the agent's number, as a one-hot vector, to observations that
            are vectors, so that agents with one network can differ. Vectors of
            different sizes are padded with zeros.
        mask: give the mask of valid actions with the observations, if there is one.
            Agents with fewer actions than others always have one.

    Returns:
        An environment whose observations, actions and rewards have a leading axis [N].

    Raises:
        ConfigError: if the object does not follow the interface.
    """
    name = name or str(getattr(env, "name", type(env).__name__))
    team_contract.check_methods(env, name)
    team = Team(env, tuple(env.agents), team_contract.time_limit(env, name, time_limit))
    team = team._replace(num_actions=team_contract.num_actions(env, name))
    team = team._replace(
        width=team_contract.width(env, name),
        agent_ids=agent_ids and len(team.agents) > 1,
        masks=team_contract.masks(env) if mask else None,
    )
    types = jax.eval_shape(team.play, team_contract.key())
    types = types._replace(observation=observations.narrow(types.observation))
    team = team._replace(types=types)
    return adapter.Environment(
        spec=_spec(team, name),
        reset=team.reset,
        step=team.step,
        time_limit=math.inf if team.time_limit is None else float(team.time_limit),
    )


class Team(NamedTuple):
    """Reset and step of a JaxMARL environment with jaxq's records and dtypes."""

    env: Any
    agents: tuple[str, ...]
    time_limit: int | None
    num_actions: tuple[int, ...] = ()  # of each agent
    width: int | None = None  # of observations that are vectors, after padding
    agent_ids: bool = False
    masks: Callable[[PyTree], Mapping[str, Array]] | None = None  # of a state
    types: Any = None  # EnvState of ShapeDtypeStruct

    def reset(self, key: Key) -> adapter.EnvState:
        """The start of an episode; the observation has a leading axis [N]."""
        observation, inner = self.env.reset(key)
        state = TeamState(inner, jnp.int32(0))
        return self._cast(adapter.EnvState(state, self._observe(observation, inner)))

    def step(
        self, key: Key, state: adapter.EnvState, action: Array
    ) -> tuple[adapter.EnvState, Step]:
        """One step; at the end of an episode, the new state starts another.

        Args:
            key: for the step, and for the start of the next episode.
            state: from `reset` or `step`.
            action: [N].
        """
        step_key, reset_key = jax.random.split(key)
        actions = {agent: action[i] for i, agent in enumerate(self.agents)}
        observation, inner, rewards, dones, _ = self.env.step_env(
            step_key, state.inner.inner, actions
        )
        steps = state.inner.steps + 1
        successor = self._cast(
            adapter.EnvState(TeamState(inner, steps), self._observe(observation, inner))
        )
        done, late = jnp.bool_(dones["__all__"]), jnp.bool_(False)
        if self.time_limit is not None:
            late = steps >= self.time_limit
        own_limit = self.time_limit == getattr(self.env, "max_steps", None)
        terminated = done & ~late if own_limit else done
        start = self.reset(reset_key)
        after = jax.tree.map(
            lambda new, old: jnp.where(done | late, new, old), start, successor
        )
        every = jnp.ones(len(self.agents), bool)
        reward = jnp.stack([jnp.float32(rewards[agent]) for agent in self.agents])
        return after, Step(
            observation=state.observation,
            action=action,
            reward=reward,
            terminated=every & terminated,
            truncated=every & late & ~terminated,
            next_observation=successor.observation,
        )

    def play(self, key: Key) -> adapter.EnvState:
        """The state after a reset and a step, as the environment returns it."""
        observation, inner = self.env.reset(key)
        actions = {agent: jnp.int32(0) for agent in self.agents}
        observation, inner, *_ = self.env.step_env(key, inner, actions)
        state = TeamState(inner, jnp.int32(0))
        return adapter.EnvState(state, self._observe(observation, inner))

    def _observe(self, observation: Mapping[str, Array], inner: PyTree) -> PyTree:
        """The observations of all agents, [N, ...], with ids and mask."""
        values = [jnp.asarray(observation[agent]) for agent in self.agents]
        if self.width is not None:
            values = [jnp.pad(v, (0, self.width - v.size)) for v in values]
        stacked = jnp.stack(values)
        if self.agent_ids and self.width is not None:
            ids = jnp.eye(len(self.agents), dtype=stacked.dtype)
            stacked = jnp.concatenate([stacked, ids], axis=1)
        most = max(self.num_actions)
        if self.masks is None and min(self.num_actions) == most:
            return stacked
        valid = jnp.asarray(
            [[action < count for action in range(most)] for count in self.num_actions]
        )
        if self.masks is not None:
            given = self.masks(inner)
            valid &= jnp.stack([self._padded(given[agent]) for agent in self.agents])
        return MaskedObservation(stacked, valid)

    def _padded(self, mask: Array) -> Array:
        most = max(self.num_actions)
        return jnp.pad(jnp.bool_(mask), (0, most - mask.size))

    def _cast(self, state: adapter.EnvState) -> adapter.EnvState:
        """A state with the dtypes of one after a step."""

        def cast(leaf: Any, like: Any) -> Array:
            return leaf if is_key(like) else jnp.asarray(leaf, like.dtype)

        return adapter.EnvState(
            jax.tree.map(cast, state.inner, self.types.inner),
            observations.cast(state.observation, self.types.observation),
        )


def _spec(team: Team, name: str) -> EnvSpec:
    """Shapes of one agent's observation, and the numbers of actions and agents."""
    seen = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
        team.types.observation,
    )
    masked = isinstance(seen, MaskedObservation)
    spec = EnvSpec(
        name=name,
        observation=seen,
        num_actions=max(team.num_actions),
        num_agents=len(team.agents),
        valid_actions=(lambda seen: seen.action_mask) if masked else None,
    )
    observations.check_mask(spec)
    return spec
