"""Datasets as compiled programs read them: rings of steps, one per device.

The successor of a step is the next row, as in any ring. That of a step which was
truncated or cut is in a row of its own, from which nothing is learned; every step of
the dataset can therefore be learned from.
"""

import dataclasses
import functools
import math
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.agents import acting, algorithms
from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import MAX_INT32, ConfigError
from jaxq.replay import ring
from jaxq.training import dataset_format
from jaxq.training.dataset_format import Dataset
from jaxq.types import Counter, EnvSpec, PyTree
from jaxq.xla import prng

_PADDING = 101  # rows; more than any window


class _Content(NamedTuple):
    """A dataset as it is read from a file."""

    rows: ring.ReplayState  # on the host
    steps: int
    facts: dict[str, Any]
    digest: str


def check(config: Config, spec: EnvSpec) -> None:
    """Raise for a dataset that a configuration cannot learn from.

    Raises:
        ConfigError: with a remedy.
    """
    if config.dataset is None:
        return
    content = _content(config, spec)
    agent = algorithms.make(config, spec)
    state = jax.eval_shape(agent.init, jax.eval_shape(lambda: prng.key(0)), _step(spec))
    if not hasattr(state, "store"):
        raise ConfigError(
            f"dataset = {config.dataset!r}: {config.algorithm} replays nothing. Use an "
            "algorithm that replays, such as dqn or cql."
        )
    if content.rows.action.size > MAX_INT32 // 2:
        raise ConfigError(
            f"dataset = {config.dataset!r} has more steps than the {MAX_INT32 // 2} "
            "that an index can address. Record fewer."
        )


def _step(spec: EnvSpec) -> PyTree:
    return jax.eval_shape(spec.example)


def facts(config: Config, spec: EnvSpec) -> dict[str, Any]:
    """The facts of a dataset, and its digest; empty without one."""
    if config.dataset is None:
        return {}
    content = _content(config, spec)
    return {**content.facts, "sha256": content.digest}


def notes(config: Config, spec: EnvSpec) -> list[str]:
    """A line about the dataset, if there is one."""
    known = facts(config, spec)
    if not known:
        return []
    source = known.get("environment", spec.name)
    other = "" if source == spec.name else f" on {source}"
    mean = known.get("mean_return")
    returns = f", mean return {mean:.4g}" if isinstance(mean, int | float) else ""
    steps = _content(config, spec).steps
    return [f"dataset: {config.dataset}, {steps:,} steps{other}{returns}"]


def loaded(config: Config, spec: EnvSpec) -> Config:
    """The configuration with the dataset itself, on the host, if it names one."""
    if config.dataset is None:
        return config
    rows: Any = _fitted(config, spec, _content(config, spec).rows)
    return dataclasses.replace(config, dataset=rows)


def on_device(
    config: Config, spec: EnvSpec, device: jax.Device
) -> ring.ReplayState | None:
    """The dataset on a device, where all blocks share it; None if there is none."""
    if config.dataset is None:
        return None
    copies = _copies(*_identity(config), spec, config.timeout_is_terminal)
    if device not in copies:
        copies[device] = jax.device_put(_content(config, spec).rows, device)
    return _fitted(config, spec, copies[device])


def _fitted(config: Config, spec: EnvSpec, rows: ring.ReplayState) -> ring.ReplayState:
    """Rows with the window and the memory of an agent, which is the same for all."""
    memory = algorithms.make(config, spec).initial_memory(prng.key(0))
    shared = jax.tree.map(
        lambda leaf: np.asarray(leaf)[None, None], acting.network_memory(memory)
    )
    added = rows.added.value + np.int32(loop_lengths.window(config))
    return rows._replace(memory=shared, added=Counter(added))


def _identity(config: Config) -> tuple[str, int, int]:
    """Path, time and size of a file: a file that is overwritten is another one."""
    path = str(config.dataset)
    try:
        status = pathlib.Path(path).stat()
    except OSError:
        return path, 0, 0  # reading it reports the error
    return path, status.st_mtime_ns, status.st_size


def _content(config: Config, spec: EnvSpec) -> _Content:
    return _read(*_identity(config), spec, config.timeout_is_terminal)


@functools.lru_cache(maxsize=1)
def _read(
    path: str, time: int, size: int, spec: EnvSpec, timeout_is_terminal: bool
) -> _Content:
    del time, size
    dataset, facts, digest = dataset_format.read(pathlib.Path(path), spec)
    rows = to_ring(dataset, spec, timeout_is_terminal)
    return _Content(rows, dataset.action.size, facts, digest)


@functools.lru_cache(maxsize=1)
def _copies(
    path: str, time: int, size: int, spec: EnvSpec, timeout_is_terminal: bool
) -> dict[jax.Device, ring.ReplayState]:
    """The copies on devices of the dataset used last; those of others are freed."""
    del path, time, size, spec, timeout_is_terminal
    return {}


def to_ring(
    dataset: Dataset, spec: EnvSpec, timeout_is_terminal: bool = False
) -> ring.ReplayState:
    """The rows of a dataset; [R, 1], in one column.

    Every step is followed by its successor, and the last by copies of the first rows,
    of which a window may need some; `added` does not count these.

    Args:
        dataset: N steps.
        spec: of its environment.
        timeout_is_terminal: whether a truncated step is terminal.
    """
    terminated, closed = dataset.terminated, dataset.truncated | dataset.cut
    kept = np.ones(int(closed.sum()), bool)
    if timeout_is_terminal:
        kept = dataset.cut[closed]
        terminated, closed = terminated | dataset.truncated, dataset.cut
    before = np.cumsum(closed) - closed  # rows of successors before each step
    place = np.arange(closed.size) + before
    after = place[closed] + 1
    rows = closed.size + after.size
    copied = np.arange(_PADDING) % rows

    def arranged(steps: np.ndarray, successors: Any) -> Any:
        column = np.zeros((rows, *steps.shape[1:]), steps.dtype)
        column[place], column[after] = steps, successors
        return np.concatenate([column, column[copied]])[:, None]

    def packed(steps: np.ndarray, successors: np.ndarray) -> np.ndarray:
        return arranged(_narrowed(steps), _narrowed(successors[kept]))

    ended = arranged(np.uint8(ring.TERMINATED) * terminated, np.uint8(ring.TRUNCATED))
    ended[rows:] = ring.TRUNCATED
    action_type = np.uint8 if spec.num_actions <= 256 else np.int32
    return ring.ReplayState(
        observation=jax.tree.map(
            packed, dataset.observation, dataset.final_observation
        ),
        action=arranged(dataset.action.astype(action_type), 0),
        reward=arranged(dataset.reward, 0.0),
        ended=ended,
        memory=(),
        added=Counter(np.asarray(rows, np.int32)),  # type: ignore[arg-type]
    )


def _narrowed(rows: np.ndarray) -> np.ndarray:
    """Observations [N, ...] in their narrowest form: eight bits of each in a byte."""
    if rows.dtype != bool:
        return rows
    return np.packbits(rows.reshape(len(rows), math.prod(rows.shape[1:])), axis=-1)
