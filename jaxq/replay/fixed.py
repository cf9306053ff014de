"""A dataset in place of a store's own steps, shared by all seeds.

It is an input of the compiled program, the field `dataset` of its configuration, and no
part of any state: it is neither copied for a seed nor written to a checkpoint.
"""

from typing import Any

import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.replay import ring as replay_ring
from jaxq.replay import sum_tree
from jaxq.types import Array


def ring_of(config: Config, state: Any) -> replay_ring.ReplayState:
    """The ring to sample from: a store's own, or the dataset.

    Args:
        config: of the compiled program.
        state: of the store.

    Raises:
        ValueError: if the dataset has not been loaded; see `training.datasets`.
    """
    dataset: Any = config.dataset
    if dataset is None:
        return state
    if isinstance(dataset, str):
        raise ValueError(f"the dataset {dataset!r} has not been loaded")
    return dataset


def tree(config: Config, mass: Array) -> sum_tree.Tree:
    """A tree in which every step of the dataset that can be learned from has a mass.

    Args:
        config: of the compiled program.
        mass: [] of every step.
    """
    if isinstance(config.dataset, str):  # only the parameters are needed
        return sum_tree.init(1)
    ended = ring_of(config, ()).ended.reshape(-1)
    usable = (ended & replay_ring.TRUNCATED) == 0
    return sum_tree.of(jnp.where(usable, mass, 0.0))
