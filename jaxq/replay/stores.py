"""Stores of experience: where steps are kept, and how they are sampled."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.replay import fixed, readers, sum_tree
from jaxq.replay import ring as replay_ring
from jaxq.rl import frames
from jaxq.types import Array, EnvSpec, Key, Step
from jaxq.xla import indexing


class Store(NamedTuple):
    """A store of experience as four pure functions.

    init: (example: Step) -> state
    add: (state, rollout: Step[T, E]) -> state
    sample: (key, state, updates) -> ring.Sample[B]
    update_priorities: (state, sample, priority[B]) -> state, after a gradient step
    """

    init: Callable[[Step], Any]
    add: Callable[[Any, Step], Any]
    sample: Callable[[Key, Any, Array], replay_ring.Sample]
    update_priorities: Callable[[Any, replay_ring.Sample, Array], Any]


def newest_frames(spec: EnvSpec, steps: Step) -> Step:
    """Steps with the newest frame of each stack, which is all that a ring stores.

    Args:
        spec: of the environment.
        steps: one step, or Step[T, E].
    """
    if spec.frame is None:
        return steps
    newest = functools.partial(frames.newest, frame=spec.frame)
    for _ in range(steps.action.ndim):
        newest = jax.vmap(newest)
    return steps._replace(
        observation=newest(steps.observation),
        next_observation=newest(steps.next_observation),
    )


def ignore_priorities(state: Any, sample: replay_ring.Sample, priority: Array) -> Any:
    """The `update_priorities` of a store without priorities."""
    del sample, priority
    return state


def uniform(config: Config, spec: EnvSpec) -> Store:
    """A ring, or a dataset, sampled uniformly.

    Reference: Lin (1992); Mnih et al. (2015), doi:10.1038/nature14236.
    """
    rows = loop_lengths.loop_lengths(config).buffer_rows
    window, history = loop_lengths.window(config), config.frame_stack - 1
    init, add = ring_functions(config, spec, rows)

    def sample(
        key: Key, state: replay_ring.ReplayState, updates: Array
    ) -> replay_ring.Sample:
        read, ring = readers.reader(config, spec, updates), fixed.ring_of(config, state)
        return replay_ring.sample_uniform(
            key, ring, read, config.batch_size, window, history
        )

    return Store(init, add, sample, ignore_priorities)


def ring_functions(
    config: Config, spec: EnvSpec, rows: int
) -> tuple[Callable[[Step], Any], Callable[[Any, Step], Any]]:
    """The functions `init` and `add` of a store that keeps its steps in a ring."""

    def init(example: Step) -> Any:
        if config.dataset is not None:
            return ()
        example = newest_frames(spec, example)
        return replay_ring.init(example, rows, config.num_envs, spec.num_actions)

    def add(state: replay_ring.ReplayState, rollout: Step) -> replay_ring.ReplayState:
        return replay_ring.add(state, newest_frames(spec, rollout))

    return init, add


class Prioritized(NamedTuple):
    """A ring, and the mass with which each of its steps is sampled."""

    ring: replay_ring.ReplayState
    tree: sum_tree.Tree
    largest: Array  # [] float32: the largest priority so far


def proportional(config: Config, spec: EnvSpec) -> Store:
    """A ring from which steps are sampled in proportion to p^alpha.

    p is the last priority of a step plus priority_epsilon; a new step gets the largest
    priority so far, initially 1. The loss is weighted by (N P(i))^-beta, divided by its
    maximum in the minibatch, where beta rises linearly to 1 over importance_updates.
    Steps that cannot be learned from, because their successors are not stored yet or
    they were truncated, have no mass.

    Reference: Schaul et al., arXiv:1511.05952, section 3.3 and algorithm 1.
    """
    window, num_envs = loop_lengths.window(config), config.num_envs
    history = config.frame_stack - 1
    base = uniform(config, spec)

    def mass(priority: Array) -> Array:
        return (priority + config.priority_epsilon) ** config.priority_exponent

    def init(example: Step) -> Prioritized:
        ring = base.init(example)
        if config.dataset is not None:
            return Prioritized(
                ring, fixed.tree(config, mass(jnp.ones(()))), jnp.ones(())
            )
        return Prioritized(ring, sum_tree.init(ring.action.size), jnp.ones(()))

    def add(state: Prioritized, rollout: Step) -> Prioritized:
        length = rollout.action.shape[0]
        before = state.ring.added.value
        ring = base.add(state.ring, rollout)
        rows = ring.action.shape[0]
        row, ready = _changed_rows(before, length, window, rows, history)
        usable = jnp.ones((row.size, num_envs))
        if config.recurrent == "none":
            usable = 1.0 - _truncated(ring, row).astype(jnp.float32)
        masses = jnp.where(ready[:, None], usable * mass(state.largest), 0.0)
        tree = sum_tree.update(state.tree, _places(ring, row), masses.reshape(-1))
        return Prioritized(ring, tree, state.largest)

    def sample(key: Key, state: Prioritized, updates: Array) -> replay_ring.Sample:
        place = sum_tree.sample(key, state.tree, config.batch_size)
        place = indexing.fence(place)
        ring = fixed.ring_of(config, state.ring)
        row, env = indexing.row_and_column(place, ring.action.shape[1])
        if history:
            row = _since_the_start(ring, row)
        read = readers.reader(config, spec, updates)
        batch = replay_ring.gather(ring, read, row, env)
        progress = jnp.minimum(updates / config.importance_updates, 1.0)
        start = config.importance_exponent
        beta = start + (1.0 - start) * progress
        weight = importance_weights(state.tree[0][place], beta)
        return batch._replace(weight=batch.weight * weight)

    def update_priorities(
        state: Prioritized, batch: replay_ring.Sample, priority: Array
    ) -> Prioritized:
        priority = jnp.where(jnp.isfinite(priority), priority, state.largest)
        # Steps of zero mass must keep it; those that cannot be learned from need none.
        masses = jnp.where(batch.weight > 0.0, mass(priority), 0.0)
        tree = sum_tree.update(state.tree, batch.place, masses)
        largest = jnp.maximum(state.largest, jnp.max(priority))
        return Prioritized(state.ring, tree, largest)

    return Store(init, add, sample, update_priorities)


def importance_weights(mass: Array, beta: Array) -> Array:
    """(min_j m_j / m_i)^beta, which is (N P(i))^-beta over its maximum; 0 for m_i = 0.

    Args:
        mass: [B] unnormalised probabilities.
        beta: [] exponent.

    Reference: Schaul et al., arXiv:1511.05952, section 3.4.
    """
    smallest = jnp.min(jnp.where(mass > 0.0, mass, jnp.inf))
    return jnp.where(mass > 0.0, (smallest / mass) ** beta, 0.0)


def _changed_rows(
    before: Array, length: int, window: int, rows: int, history: int = 0
) -> tuple[Array, Array]:
    """Rows whose mass a rollout changes, and which of them can now be sampled.

    Rows from `before - window` on now have all their successors, except for the newest
    `window` rows, which have also replaced old ones. After the newest come the oldest
    rows; the first `history` of them have lost frames that their stacks need.
    """
    changed = length + window + history
    row = before - window + jnp.arange(min(changed, rows))
    row += changed - row.size
    return row, (row >= 0) & (row < before + length - window)


def _since_the_start(ring: replay_ring.ReplayState, row: Array) -> Array:
    """The row, one lap later once the ring is full, so that earlier rows exist."""
    rows = ring.action.shape[0]
    return jnp.where(ring.added.value >= rows, row + rows, row)


def _truncated(ring: replay_ring.ReplayState, row: Array) -> Array:
    return ring.ended[row % ring.ended.shape[0]] & replay_ring.TRUNCATED != 0


def _places(ring: replay_ring.ReplayState, row: Array) -> Array:
    """Indices of all environments' steps in some rows; [rows * E]."""
    rows, num_envs = ring.action.shape
    place = (row % rows)[:, None] * num_envs + jnp.arange(num_envs)[None, :]
    return place.reshape(-1)
