"""The compiled programs of a block of members, with the axis that `vmap` adds.

A member is a seed with a setting: traced fields of the configuration and parameters of
the environment are inputs, [] where all members of a block have the same and [S] where
every one has its own.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import algorithms
from jaxq.config.config import (
    Config,
    annotation,
    traced_fields,
)
from jaxq.envs.adapter import Environment
from jaxq.training import evaluate, loop
from jaxq.types import Array, Key, PyTree, seed_axes
from jaxq.xla import loops, prng

_NOTHING: Mapping[str, Any] = {}
_EVALUATE = 2**32 - 2  # folded into a seed's key for the keys of evaluation


def traced(config: Config, changes: Mapping[str, Any] = _NOTHING) -> Config:
    """The configuration with its traced fields as arrays, ready for `jit`.

    Args:
        config: of all members.
        changes: traced fields in place of its own: [], or [S] for one a member.
    """
    config = dataclasses.replace(config, **changes)
    arrays: dict[str, Any] = {}
    for name in traced_fields():
        value, kind = getattr(config, name), annotation(name)[0]
        if value is not None:
            arrays[name] = np.asarray(value, np.int32 if kind is int else np.float32)
    # Which seeds they are is no part of the program.
    return dataclasses.replace(
        config, **arrays, num_seeds=1, first_seed=0, seed_block=0
    )


def _axes(tree: PyTree) -> PyTree:
    """Vmap's in_axes for scalars: None, or 0 where every member has its own."""
    return jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, tree)


def _bound(env: Environment, parameters: Mapping[str, Array]) -> Environment:
    return env.bind(parameters) if env.bind and parameters else env


@functools.partial(jax.jit, static_argnames=("env",))
def start(
    config: Config,
    keys: Key,
    parameters: Mapping[str, Array] = _NOTHING,
    *,
    env: Environment,
) -> loop.RunState:
    """Initialise and warm up the members of a block.

    Args:
        config: traced fields are [], or [S] where every member has its own.
        keys: [S].
        parameters: of the environment, like the fields.
        env: the environment.
    """

    def one(config: Config, parameters: PyTree, key: Key) -> loop.RunState:
        return loop.start(config, _bound(env, parameters), key)

    axes = _axes(config), _axes(parameters), 0
    first = jax.tree.map(
        lambda leaf: leaf[0] if jnp.ndim(leaf) else leaf, (config, parameters, keys)
    )
    out_axes = seed_axes(jax.eval_shape(one, *first))
    return loops.vmap_members(one, axes, out_axes, keys.size)(config, parameters, keys)


@functools.partial(jax.jit, static_argnames=("env",), donate_argnames=("state",))
def chunk(
    config: Config,
    keys: Key,
    state: loop.RunState,
    iterations: Array | None = None,
    parameters: Mapping[str, Array] = _NOTHING,
    *,
    env: Environment,
) -> loop.RunState:
    """Train the members of a block for a chunk of iterations; see `start`."""

    def one(
        config: Config, parameters: PyTree, key: Key, state: loop.RunState
    ) -> loop.RunState:
        return loop.chunk(config, _bound(env, parameters), key, state, iterations)

    out_axes = seed_axes(state)
    axes = _axes(config), _axes(parameters), 0, out_axes
    return loops.vmap_members(one, axes, out_axes, keys.size)(
        config, parameters, keys, state
    )


@functools.partial(jax.jit, static_argnames=("env",))
def evaluate_block(
    config: Config,
    keys: Key,
    state: loop.RunState,
    epsilon: Array,
    parameters: Mapping[str, Array] = _NOTHING,
    *,
    env: Environment,
) -> evaluate.Evaluation:
    """Evaluate the members of a block on keys of their own; [S, K]. See `start`."""
    max_steps = int(min(config.eval_max_steps, env.time_limit))

    def one(
        config: Config, parameters: PyTree, key: Key, state: loop.RunState
    ) -> evaluate.Evaluation:
        key = jax.random.fold_in(jax.random.fold_in(key, _EVALUATE), state.steps.value)
        return evaluate.evaluate(
            key,
            algorithms.make(config, env.spec),
            state.agent,
            _bound(env, parameters),
            config.eval_episodes,
            epsilon,
            max_steps,
        )

    axes = _axes(config), _axes(parameters), 0, seed_axes(state)
    return loops.vmap_members(one, axes, 0, keys.size)(config, parameters, keys, state)


make_keys = jax.jit(jax.vmap(prng.key))
