"""The model of Dyna-Q: remembered outcomes of a finite environment, as a store."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.replay import horizons, ring, stores
from jaxq.types import Array, EnvSpec, Key, PyTree, Step, Transition
from jaxq.xla import ops


class DynaState(NamedTuple):
    """The latest outcome of every action in every state; leading axes [S, A]."""

    reward: Array
    discount: Array
    observation: PyTree  # the state itself
    next_observation: PyTree
    seen: Array  # bool
    rollout: Step  # [T, E], the newest rollout


def dyna_store(config: Config, spec: EnvSpec) -> stores.Store:
    """A deterministic model of a finite environment, for Dyna-Q.

    A sample consists of the newest rollout and of batch_size pairs of a state and an
    action, drawn uniformly from those visited so far, with their latest outcomes. If
    the discount factor is annealed, outcomes are remembered without it.

    Reference: Sutton (1990); Sutton and Barto (2018), section 8.2.
    """
    assert spec.num_states is not None and spec.state_index is not None
    index, shape = spec.state_index, (spec.num_states, spec.num_actions)
    length, annealed = config.rollout_length, config.discount_start is not None
    as_transition = functools.partial(
        _as_transition,
        gamma=1.0 if annealed else config.discount,
        continuing=config.average_reward != "none",
    )

    def init(example: Step) -> DynaState:
        rollout = ring.zeros(example, length, config.num_envs)
        return _empty_model(example, shape, rollout)

    def add(state: DynaState, rollout: Step) -> DynaState:
        def learn(state: DynaState, step: Step) -> tuple[DynaState, None]:
            pair = index(step.observation), step.action
            return _learn(state, pair, as_transition(step)), None

        state, _ = jax.lax.scan(learn, state, _flat(rollout))
        return state._replace(rollout=rollout)

    def sample(key: Key, state: DynaState, updates: Array) -> ring.Sample:
        real = jax.vmap(as_transition)(_flat(state.rollout))
        imagined = _imagine(key, state, config.batch_size)
        examples = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), real, imagined)
        if annealed:
            gamma = horizons.discount(config, updates)
            examples = examples._replace(discount=gamma * examples.discount)
        weight = jnp.ones(examples.reward.shape)
        return ring.Sample(examples, weight, jnp.zeros(weight.shape, jnp.int32))

    return stores.Store(init, add, sample, stores.ignore_priorities)


def _empty_model(example: Step, shape: tuple[int, int], rollout: Step) -> DynaState:
    """A model in which no pair [S, A] has been visited."""

    def all_pairs(tree: PyTree) -> PyTree:
        return jax.tree.map(
            lambda leaf: jnp.zeros((*shape, *leaf.shape), leaf.dtype), tree
        )

    return DynaState(
        reward=all_pairs(example.reward),
        discount=all_pairs(example.reward),
        observation=all_pairs(example.observation),
        next_observation=all_pairs(example.observation),
        seen=jnp.zeros(shape, bool),
        rollout=rollout,
    )


def _learn(
    state: DynaState, pair: tuple[Array, Array], outcome: Transition
) -> DynaState:
    """Remember the outcome of a pair (row of the state, action)."""

    def remember(table: PyTree, new: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf, value: leaf.at[pair].set(value), table, new)

    return state._replace(
        reward=remember(state.reward, outcome.reward),
        discount=remember(state.discount, outcome.discount),
        observation=remember(state.observation, outcome.observation),
        next_observation=remember(state.next_observation, outcome.next_observation),
        seen=state.seen.at[pair].set(True),
    )


def _imagine(key: Key, state: DynaState, count: int) -> Transition:
    """Remembered outcomes of `count` visited pairs, drawn uniformly; leading [B]."""
    cumulative = jnp.cumsum(state.seen.reshape(-1))
    nth = ops.randint(key, count, cumulative[-1])
    pair = jnp.searchsorted(cumulative, nth, side="right").astype(jnp.int32)

    def get(table: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[pair], table)

    return Transition(
        get(state.observation),
        pair % state.seen.shape[1],
        get(state.reward),
        get(state.discount),
        get(state.next_observation),
    )


def _as_transition(
    step: Step, gamma: Array | float, continuing: bool = False
) -> Transition:
    ends = jnp.zeros_like(step.terminated) if continuing else step.terminated
    discount = gamma * (1.0 - ends)
    return Transition(
        step.observation, step.action, step.reward, discount, step.next_observation
    )


def _flat(rollout: Step) -> Step:
    """Step[T, E] as Step[T E]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)
