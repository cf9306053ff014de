"""The replay buffer of a run, as a dataset."""

import pathlib
from typing import Any

import jax
import numpy as np

from jaxq.agents import algorithms
from jaxq.agents.intrinsic import BonusState
from jaxq.config import flags
from jaxq.config.config import Config
from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.replay import ring
from jaxq.runs import checkpoint, results
from jaxq.training import checks, pytree_arrays
from jaxq.training.dataset_format import Dataset
from jaxq.types import Counter, EnvSpec, PyTree


def read(directory: pathlib.Path, spec: EnvSpec, seed: int) -> Dataset:
    """The steps that a seed could replay at its last checkpoint, oldest first.

    Rewards and ends of episodes are as the agent learned from them. A step whose
    successor the buffer does not hold, because it was truncated or is the newest, is
    left out; the step before it is cut. Of stacked frames, an episode whose start was
    overwritten is left out too.

    Args:
        directory: of a run, finished or not.
        spec: of its environment.
        seed: its number.

    Raises:
        ConfigError: if the run replays nothing, or there is no such seed.
        fields.CheckpointError: if no checkpoint is valid.
    """
    config = flags.read_config(directory, "run")
    seeds = list(results.seeds(config))
    if seed not in seeds:
        raise ConfigError(
            f"seed = {seed}: choose one of {seeds[0]} to {seeds[-1]}, those of the run."
        )
    prefix, shape = _ring_shape(config, spec)
    header, arrays, errors = checkpoint.newest(directory)
    for warning in checkpoint.warnings(errors):
        print(warning)
    block, lane = divmod(seeds.index(seed), int(header["seed_block"]))
    template = _with_members(shape, int(header["seed_block"]))
    try:
        rows = pytree_arrays.unflatten(template, arrays, f"block{block}/{prefix}")
    except CheckpointError as error:
        raise ConfigError(
            f"the replay buffer of {directory} does not fit {spec.name}: {error}."
        ) from error
    alone = jax.tree.map(
        lambda axis, part: (
            part if axis is None else jax.tree.map(lambda x: x[lane], part)
        ),
        pytree_arrays.seed_axes(shape),
        rows,
        is_leaf=lambda axis: axis is None,
    )
    dataset = from_ring(alone, spec)
    if not dataset.action.size:
        raise ConfigError(
            f"the replay buffer of {directory} holds no step with its successor and "
            "all its frames. Record the policy instead."
        )
    return dataset


def _ring_shape(config: Config, spec: EnvSpec) -> tuple[str, ring.ReplayState]:
    """Shapes of the ring in an agent's state, and the prefix of its arrays' names."""
    state = checks.state_shape(algorithms.make(config, spec), spec)
    if config.intrinsic_bonus != "none" and isinstance(state, BonusState):
        raise ConfigError(
            f"intrinsic_bonus = {config.intrinsic_bonus!r}: the rewards in the replay "
            "buffer include the bonus of their time. Record the policy instead."
        )
    store = getattr(state, "store", None)
    inner = getattr(store, "ring", None)
    if isinstance(inner, ring.ReplayState):
        return "agent/store/ring/", inner
    if not isinstance(store, ring.ReplayState):
        raise ConfigError(
            f"algorithm = {config.algorithm!r}, in this configuration, keeps no replay "
            "buffer. Record the policy instead."
        )
    return "agent/store/", store


def _with_members(shape: ring.ReplayState, count: int) -> ring.ReplayState:
    """Shapes with a leading axis for the members of a block, counters excepted."""

    def widen(leaf: Any) -> Any:
        if isinstance(leaf, Counter):
            return leaf
        return jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype)

    return jax.tree.map(widen, shape, is_leaf=lambda leaf: isinstance(leaf, Counter))


def from_ring(rows: ring.ReplayState, spec: EnvSpec) -> Dataset:
    """The steps of a ring on the host, of one environment after another."""
    total, added = rows.action.shape[0], int(rows.added.value)
    order = np.arange(max(0, added - total), added) % total
    example = spec.observation if spec.frame is None else spec.frame
    observation = jax.tree.map(_unpacked, example, rows.observation)

    def column(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)[order].swapaxes(0, 1)
        return leaf.reshape(-1, *leaf.shape[2:])

    ended = column(rows.ended)
    terminated = ended & ring.TERMINATED != 0
    newest = np.arange(ended.size) % order.size == order.size - 1
    unknown = ~terminated & ((ended & ring.TRUNCATED != 0) | newest)
    kept = ~unknown
    if spec.frame is not None and added > total:
        before = np.cumsum(ended.reshape(-1, order.size) != 0, axis=1)
        kept &= np.insert(before[:, :-1], 0, 0, axis=1).reshape(-1) > 0
    cut = ~terminated & np.append(unknown[1:], False)
    cut &= kept
    after = np.flatnonzero(cut) + 1

    def known(leaf: Any) -> np.ndarray:
        return column(leaf)[kept]

    return Dataset(
        observation=jax.tree.map(known, observation),
        action=known(rows.action).astype(np.int32),
        reward=known(rows.reward),
        terminated=terminated[kept],
        truncated=np.zeros(int(kept.sum()), bool),
        cut=cut[kept],
        final_observation=jax.tree.map(lambda x: column(x)[after], observation),
    )


def _unpacked(like: PyTree, packed: Any) -> np.ndarray:
    """Observations [rows, E, ...] from their narrowest form."""
    if like.dtype != bool:
        return np.asarray(packed)
    bits = np.unpackbits(np.asarray(packed), axis=-1, count=like.size)
    return bits.astype(bool).reshape(*bits.shape[:2], *like.shape)
