"""Automatic resets, final observations and time limits for other libraries' games.

Every suite of environments becomes the same record, `Rules`: two pure functions that
start an episode and play one step of it, and never reset. `AutoReset` adds the rest of
gymnax's interface, once for all suites.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.types import Array, Key, MaskedObservation, PyTree


class Rules(NamedTuple):
    """An environment that does not reset itself, as pure functions, unbatched.

    start: (key) -> (observation, state)
    transition: (key, state, action[]) -> (observation, state, reward[],
        terminated[] bool, truncated[] bool), with the true successor, also at the end
    mask: (state) -> [A] bool, the valid actions; None: all are always valid
    """

    start: Callable[[Any], tuple[PyTree, PyTree]]
    transition: Callable[
        [Any, PyTree, Array], tuple[PyTree, PyTree, Array, Array, Array]
    ]
    num_actions: int
    mask: Callable[[PyTree], Array] | None = None
    time_limit: float = math.inf  # steps of the longest episode
    count_steps: bool = False  # `AutoReset` truncates at the limit, not `transition`


def limited(rules: Rules, time_limit: int | None) -> Rules:
    """Rules that have no step limit, with one that `AutoReset` enforces, if given."""
    if time_limit is None:
        return rules
    return rules._replace(time_limit=time_limit, count_steps=True)


class Counted(NamedTuple):
    """State of an environment, and the steps since its episode started."""

    state: PyTree
    steps: Array  # [] int32


class Actions(NamedTuple):
    """A finite set of actions."""

    n: int


class Params(NamedTuple):
    """Parameters of gymnax's interface."""

    max_steps_in_episode: float


class AutoReset:
    """Rules with gymnax's interface."""

    def __init__(self, rules: Rules, name: str = ""):
        self.rules = rules
        self.name = name or type(self).__name__
        self.default_params = Params(rules.time_limit)

    def action_space(self, params: Params) -> Actions:
        """The finite set of actions."""
        return Actions(self.rules.num_actions)

    def reset(self, key: Key, params: Params) -> tuple[PyTree, PyTree]:
        """The start of an episode."""
        observation, state = self.rules.start(key)
        observation = self._with_mask(observation, state)
        if self.rules.count_steps:
            state = Counted(state, jnp.int32(0))
        return observation, state

    def step(
        self, key: Key, state: PyTree, action: Array, params: Params
    ) -> tuple[PyTree, PyTree, Array, Array, Array, dict[str, PyTree]]:
        """One step; at the end of an episode, the new state starts another."""
        step_key, reset_key = jax.random.split(key)
        successor, after, reward, terminated, truncated = self._step(
            step_key, state, action, params
        )
        start, before = self.reset(reset_key, params)
        observation, state = jax.tree.map(
            lambda new, old: jnp.where(terminated | truncated, new, old),
            (start, before),
            (successor, after),
        )
        info = {"final_observation": successor}
        return observation, state, reward, terminated, truncated, info

    def _step(
        self, key: Key, state: PyTree, action: Array, params: Params
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        """One step, without a reset."""
        counted = self.rules.count_steps
        observation, inner, reward, terminated, truncated = self.rules.transition(
            key, state.state if counted else state, action
        )
        observation = self._with_mask(observation, inner)
        if not counted:
            return observation, inner, reward, terminated, truncated & ~terminated
        steps = state.steps + 1
        truncated = truncated | (steps >= params.max_steps_in_episode)
        after = Counted(inner, steps)
        return observation, after, reward, terminated, truncated & ~terminated

    def _with_mask(self, observation: PyTree, state: PyTree) -> PyTree:
        if self.rules.mask is None:
            return observation
        return MaskedObservation(observation, self.rules.mask(state))


def one_hot(identifiers: Array, *sizes: int) -> Array:
    """Planes of identifiers as bits, because an identifier is not a magnitude.

    Args:
        identifiers: [..., len(sizes)] integers.
        sizes: number of values of each plane; others have no bit.

    Returns:
        [..., sum(sizes)] bool.
    """
    planes = [
        jax.nn.one_hot(identifiers[..., i], size, dtype=bool)
        for i, size in enumerate(sizes)
    ]
    return jnp.concatenate(planes, axis=-1)
