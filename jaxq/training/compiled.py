"""The compiled programs of a block of members: `jit` and `vmap` of the training loop.

A member is a seed together with a setting. A `Config` is an argument of these
programs: registered as a pytree, its traced fields are leaves and its static fields
part of the structure. `jit` therefore recompiles when a static field changes and never
when a traced field does, and `vmap` maps over whichever leaves have an axis: 64
learning rates are one program. That is also why `algorithms.make(config, spec)` is
called inside traced code: the traced fields of `config` are tracers there.

Traced fields, and the parameters of the environment, are [] where all members of a
block share a value and [S] where each has its own. A dataset has no axis for members.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import algorithms
from jaxq.config.aliases import HYPERPARAMETER
from jaxq.config.config import Config, annotation, static_fields, traced_fields
from jaxq.config.loop_lengths import loop_lengths
from jaxq.envs.adapter import Environment
from jaxq.replay import ring
from jaxq.training import diagnostics, evaluate, learned_steps, loop
from jaxq.training.pytree_arrays import seed_axes
from jaxq.types import Array, Key, PyTree
from jaxq.xla import loops, prng

# Here `algorithm_args` is an `algorithms.Hyperparameters`, and `dataset` a ring.
_INPUTS = (*traced_fields(), "algorithm_args", "dataset")
_STATIC = tuple(name for name in static_fields() if name not in _INPUTS)
jax.tree_util.register_dataclass(Config, _INPUTS, _STATIC)

_NOTHING: Mapping[str, Any] = {}
# Folded into a seed's key for the keys of evaluation; `loop.start` uses 2^32 - 1.
CURVE = 2**32 - 2  # points of the curve
RANDOM_POLICY = 2**32 - 3  # the level of the random policy
DIAGNOSTICS = 2**32 - 4


def traced(
    config: Config,
    changes: Mapping[str, Any] = _NOTHING,
    dataset: ring.ReplayState | None = None,
) -> Config:
    """The configuration with its traced fields as arrays, ready for `jit`.

    Args:
        config: configuration of all members.
        changes: traced fields, and hyper-parameters of the algorithm as algo.NAME,
            that replace its own: [], or [S] with one per member.
        dataset: content of the file that `config` names; see `jaxq.training.datasets`.
    """
    own = algorithms.compiled(config)
    fields = {k: v for k, v in changes.items() if not k.startswith(HYPERPARAMETER)}
    numbers = {
        name: np.asarray(changes.get(HYPERPARAMETER + name, value), np.float32)
        for name, value in own.traced.items()
    }
    config = dataclasses.replace(config, **fields)
    arrays: dict[str, Any] = {
        "algorithm_args": dataclasses.replace(own, traced=numbers),
        "dataset": config.dataset if dataset is None else dataset,
    }
    for name in traced_fields():
        value, kind = getattr(config, name), annotation(name)[0]
        if value is not None:
            arrays[name] = np.asarray(value, np.int32 if kind is int else np.float32)
    # The same program serves all seeds.
    return dataclasses.replace(
        config, **arrays, num_seeds=1, first_seed=0, seed_block=0
    )


def _axes(tree: PyTree) -> PyTree:
    """in_axes of scalars for `vmap`: None, or 0 where every member has its own."""

    def axis(leaf: Any) -> int | None:
        return 0 if not _is_dataset(leaf) and jnp.ndim(leaf) else None

    return jax.tree.map(axis, tree, is_leaf=_is_dataset)


def _first(tree: PyTree) -> PyTree:
    """The scalars of the first member."""

    def first(leaf: Any) -> Any:
        return leaf[0] if not _is_dataset(leaf) and jnp.ndim(leaf) else leaf

    return jax.tree.map(first, tree, is_leaf=_is_dataset)


def _is_dataset(leaf: Any) -> bool:
    return isinstance(leaf, ring.ReplayState)


def _bind(env: Environment, parameters: Mapping[str, Array]) -> Environment:
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
        config: from `traced`.
        keys: [S], one per member.
        parameters: of the environment, by name.
        env: the environment.
    """
    lengths = loop_lengths(config)

    def one(config: Config, parameters: PyTree, key: Key) -> loop.RunState:
        return loop.start(config, lengths, _bind(env, parameters), key)

    arguments = config, parameters, keys
    in_axes = _axes(config), _axes(parameters), 0
    out_axes = seed_axes(jax.eval_shape(one, *_first(arguments)))
    return loops.vmap_members(one, in_axes, out_axes, keys.size)(*arguments)


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
    lengths = loop_lengths(config)

    def one(
        config: Config, parameters: PyTree, key: Key, state: loop.RunState
    ) -> loop.RunState:
        bound = _bind(env, parameters)
        return loop.chunk(config, lengths, bound, key, state, iterations)

    axes = seed_axes(state)
    in_axes = _axes(config), _axes(parameters), 0, axes
    vmapped = loops.vmap_members(one, in_axes, axes, keys.size)
    return vmapped(config, parameters, keys, state)


@functools.partial(jax.jit, static_argnames=("env",))
def evaluate_block(
    config: Config,
    keys: Key,
    state: loop.RunState,
    epsilon: Array,
    stream: Array | int = CURVE,
    parameters: Mapping[str, Array] = _NOTHING,
    *,
    env: Environment,
) -> evaluate.Evaluation:
    """Evaluate the members of a block; [S, K]. See `start`.

    The keys are a function of the seed, of `stream` and of the clock.
    """
    stream = jnp.asarray(stream, jnp.uint32)
    max_steps = int(min(config.eval_max_steps, env.time_limit))

    def one(
        config: Config, parameters: PyTree, key: Key, state: loop.RunState
    ) -> evaluate.Evaluation:
        key = jax.random.fold_in(jax.random.fold_in(key, stream), state.steps.value)
        return evaluate.evaluate(
            key,
            algorithms.make(config, env.spec),
            state.agent,
            _bind(env, parameters),
            config.eval_episodes,
            epsilon,
            max_steps,
        )

    in_axes = _axes(config), _axes(parameters), 0, seed_axes(state)
    vmapped = loops.vmap_members(one, in_axes, 0, keys.size)
    return vmapped(config, parameters, keys, state)


@functools.partial(jax.jit, static_argnames=("env",))
def diagnose_block(
    config: Config,
    keys: Key,
    state: loop.RunState,
    parameters: Mapping[str, Array] = _NOTHING,
    *,
    env: Environment,
) -> dict[str, Array]:
    """Diagnostics of the members of a block; name -> [S]. See `start`."""
    max_steps = int(min(config.eval_max_steps, env.time_limit))

    def one(
        config: Config, parameters: PyTree, key: Key, state: loop.RunState
    ) -> dict[str, Array]:
        config = learned_steps.with_dataset_as_learned(config)
        bound, agent = _bind(env, parameters), algorithms.make(config, env.spec)
        stream = jax.random.fold_in(key, jnp.uint32(DIAGNOSTICS))
        return diagnostics.measure(
            jax.random.fold_in(stream, state.steps.value),
            config,
            agent,
            state.agent,
            loop.initial_params(agent, bound, key),
            bound,
            max_steps,
        )

    in_axes = _axes(config), _axes(parameters), 0, seed_axes(state)
    vmapped = loops.vmap_members(one, in_axes, 0, keys.size)
    return vmapped(config, parameters, keys, state)


make_keys = jax.jit(jax.vmap(prng.key))
