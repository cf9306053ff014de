"""What a replay agent learns from: where steps are kept and how they are drawn."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.replay import ring as replay_ring
from jaxq.replay import sum_tree, transition_readers
from jaxq.rl import returns
from jaxq.types import Array, EnvSpec, Key, Step, Transition


class Store(NamedTuple):
    """A place for experience as four pure functions.

    init: (example: Step) -> state
    add: (state, rollout: Step[T, E]) -> state
    sample: (key, state, updates) -> replay.Sample[B]
    update_priorities: (state, sample, priority[B]) -> state, after a gradient step
    """

    init: Callable[[Step], Any]
    add: Callable[[Any, Step], Any]
    sample: Callable[[Key, Any, Array], replay_ring.Sample]
    update_priorities: Callable[[Any, replay_ring.Sample, Array], Any]


def reader(config: Config, spec: EnvSpec) -> replay_ring.Reader:
    """Sequences for a recurrent network, n-step transitions for any other."""
    if config.recurrent == "none":
        return transition_readers.transitions(
            spec.observation, config.n_step, config.discount
        )
    return transition_readers.sequences(
        spec.observation, loop_lengths.window(config) + 1
    )


def ignore_priorities(state: Any, sample: replay_ring.Sample, priority: Array) -> Any:
    """The update_priorities of a store that has no use for priorities."""
    del sample, priority
    return state


def uniform(config: Config, spec: EnvSpec) -> Store:
    """A ring from which every step is drawn equally often.

    Reference: Lin (1992); Mnih et al. (2015), doi:10.1038/nature14236.
    """
    rows, window = (
        loop_lengths.loop_lengths(config).buffer_rows,
        loop_lengths.window(config),
    )
    read = reader(config, spec)

    def init(example: Step) -> replay_ring.ReplayState:
        return replay_ring.init(example, rows, config.num_envs, spec.num_actions)

    def sample(
        key: Key, state: replay_ring.ReplayState, updates: Array
    ) -> replay_ring.Sample:
        del updates
        return replay_ring.sample_uniform(key, state, read, config.batch_size, window)

    return Store(init, replay_ring.add, sample, ignore_priorities)


class Prioritized(NamedTuple):
    """A ring, and the mass with which each of its steps is drawn."""

    ring: replay_ring.ReplayState
    tree: sum_tree.Tree
    largest: Array  # [] float32: the largest priority so far


def proportional(config: Config, spec: EnvSpec) -> Store:
    """A ring from which steps are drawn in proportion to p^alpha.

    p is the last priority of a step plus priority_epsilon; a new step has the largest
    so far, at first 1. The loss is weighted by (N P(i))^-beta over its maximum in the
    minibatch, where beta rises linearly to 1 over importance_updates. A step that
    cannot be learned from (its successors are not stored yet, or it was truncated) has
    no mass.

    Reference: Schaul et al., arXiv:1511.05952, section 3.3 and algorithm 1.
    """
    rows, window = (
        loop_lengths.loop_lengths(config).buffer_rows,
        loop_lengths.window(config),
    )
    read, num_envs = reader(config, spec), config.num_envs
    base = uniform(config, spec)

    def mass(priority: Array) -> Array:
        return (priority + config.priority_epsilon) ** config.priority_exponent

    def init(example: Step) -> Prioritized:
        tree = sum_tree.init(rows * num_envs)
        return Prioritized(base.init(example), tree, jnp.ones(()))

    def add(state: Prioritized, rollout: Step) -> Prioritized:
        length = rollout.action.shape[0]
        before = state.ring.added.value
        ring = base.add(state.ring, rollout)
        # Rows from `before - window` on have all their successors now, except for the
        # newest `window` rows, which also take the place of old ones.
        row = before - window + jnp.arange(min(length + window, rows))
        row += length + window - row.size
        ready = (row >= 0) & (row < before + length - window)
        usable = jnp.ones((row.size, num_envs))
        if config.recurrent == "none":
            truncated = ring.ended[row % rows] & replay_ring.TRUNCATED != 0
            usable = 1.0 - truncated.astype(jnp.float32)
        new = jnp.where(ready[:, None], usable * mass(state.largest), 0.0)
        place = (row % rows)[:, None] * num_envs + jnp.arange(num_envs)[None, :]
        tree = sum_tree.update(state.tree, place.reshape(-1), new.reshape(-1))
        return Prioritized(ring, tree, state.largest)

    def sample(key: Key, state: Prioritized, updates: Array) -> replay_ring.Sample:
        place = sum_tree.sample(key, state.tree, config.batch_size)
        place = jax.lax.optimization_barrier(place)
        row, env = replay_ring.coordinates(place, num_envs)
        drawn = replay_ring.gather(state.ring, read, row, env)
        progress = jnp.minimum(updates / config.importance_updates, 1.0)
        start = config.importance_exponent
        beta = start + (1.0 - start) * progress
        chance = state.tree[0][place]
        smallest = jnp.min(jnp.where(chance > 0.0, chance, jnp.inf))
        weight = jnp.where(chance > 0.0, (smallest / chance) ** beta, 0.0)
        return drawn._replace(weight=drawn.weight * weight)

    def update_priorities(
        state: Prioritized, drawn: replay_ring.Sample, priority: Array
    ) -> Prioritized:
        priority = jnp.where(jnp.isfinite(priority), priority, state.largest)
        # What has no mass must not get any, and what cannot be learned from needs none.
        new = jnp.where(drawn.weight > 0.0, mass(priority), 0.0)
        tree = sum_tree.update(state.tree, drawn.place, new)
        largest = jnp.maximum(state.largest, jnp.max(priority))
        return Prioritized(state.ring, tree, largest)

    return Store(init, add, sample, update_priorities)


def sarsa_queue(config: Config, spec: EnvSpec) -> Store:
    """Every step once, as soon as its successors and their actions are known."""
    lengths, window = loop_lengths.loop_lengths(config), loop_lengths.window(config)
    length = lengths.rollout_length
    rows = -(-(length + window) // length) * length
    read = reader(config, spec)

    def init(example: Step) -> replay_ring.ReplayState:
        return replay_ring.init(example, rows, config.num_envs, spec.num_actions)

    def sample(
        key: Key, state: replay_ring.ReplayState, updates: Array
    ) -> replay_ring.Sample:
        del key, updates
        return replay_ring.sample_latest(state, read, length, window)

    return Store(init, replay_ring.add, sample, ignore_priorities)


def current_rollout(config: Config, spec: EnvSpec) -> Store:
    """The steps of the newest rollout, each once, with their true successors.

    A window of n steps ends with its episode or with the rollout.
    """
    del spec
    length = loop_lengths.loop_lengths(config).rollout_length

    def init(example: Step) -> Step:
        return replay_ring.zeros(example, length, config.num_envs)

    def add(state: Step, rollout: Step) -> Step:
        del state
        return rollout

    def sample(key: Key, state: Step, updates: Array) -> replay_ring.Sample:
        del key, updates
        last = jnp.arange(length) == length - 1
        ended = state._replace(truncated=state.truncated | last[:, None])

        def fold(time: Array, env: Array) -> Transition:
            window = jnp.minimum(time + jnp.arange(config.n_step), length - 1)
            steps = jax.tree.map(lambda leaf: leaf[window, env], ended)
            return returns.n_step(steps, config.discount)

        place = jnp.arange(length * config.num_envs)
        examples = jax.vmap(fold)(*replay_ring.coordinates(place, config.num_envs))
        return replay_ring.Sample(examples, jnp.ones(place.size), place)

    return Store(init, add, sample, ignore_priorities)
