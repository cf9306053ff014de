"""A learned model of a finite environment, as a store of experience."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.replay import ring
from jaxq.replay.stores import Store, ignore_priorities
from jaxq.types import Array, EnvSpec, Key, PyTree, Step, Transition


class DynaState(NamedTuple):
    """What happened the last time an action was taken in a state; [S, A]."""

    reward: Array
    discount: Array
    observation: Array  # of the state itself
    next_observation: Array
    seen: Array  # bool
    rollout: Step  # [T, E], the newest steps


def dyna_store(config: Config, spec: EnvSpec) -> Store:
    """A deterministic model of a finite environment, for Dyna-Q.

    A sample is the newest rollout and, besides, batch_size pairs of a state and an
    action that were met before, drawn uniformly, with what happened last.

    Reference: Sutton (1990); Sutton and Barto (2018), section 8.2.
    """
    assert spec.num_states is not None and spec.state_index is not None
    index, shape = spec.state_index, (spec.num_states, spec.num_actions)
    length = loop_lengths.loop_lengths(config).rollout_length

    def init(example: Step) -> DynaState:
        def all_pairs(leaf: Array) -> Array:
            return jnp.zeros((*shape, *leaf.shape), leaf.dtype)

        return DynaState(
            reward=all_pairs(example.reward),
            discount=all_pairs(example.reward),
            observation=all_pairs(example.observation),
            next_observation=all_pairs(example.observation),
            seen=jnp.zeros(shape, bool),
            rollout=ring.zeros(example, length, config.num_envs),
        )

    def as_transition(step: Step) -> Transition:
        discount = config.discount * (1.0 - step.terminated)
        return Transition(
            step.observation, step.action, step.reward, discount, step.next_observation
        )

    def flat(rollout: Step) -> Step:
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)

    def add(state: DynaState, rollout: Step) -> DynaState:
        steps = flat(rollout)

        def learn(state: DynaState, step: Step) -> tuple[DynaState, None]:
            at = index(step.observation), step.action
            met = as_transition(step)
            return state._replace(
                reward=state.reward.at[at].set(met.reward),
                discount=state.discount.at[at].set(met.discount),
                observation=state.observation.at[at].set(met.observation),
                next_observation=state.next_observation.at[at].set(
                    met.next_observation
                ),
                seen=state.seen.at[at].set(True),
            ), None

        return jax.lax.scan(learn, state, steps)[0]._replace(rollout=rollout)

    def sample(key: Key, state: DynaState, updates: Array) -> ring.Sample:
        del updates
        real = jax.vmap(as_transition)(flat(state.rollout))
        count = jnp.cumsum(state.seen.reshape(-1))
        nth = ring.integers(key, config.batch_size, count[-1])
        pair = jnp.searchsorted(count, nth, side="right").astype(jnp.int32)

        def get(table: Array) -> PyTree:
            return table.reshape(-1, *table.shape[2:])[pair]

        imagined = Transition(
            get(state.observation),
            pair % shape[1],
            get(state.reward),
            get(state.discount),
            get(state.next_observation),
        )
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), real, imagined)
        weight = jnp.ones(both.reward.shape)
        return ring.Sample(both, weight, jnp.zeros(weight.shape, jnp.int32))

    return Store(init, add, sample, ignore_priorities)
