"""ReDo: recycles the dormant units of a network."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.agents import iterated, plasticity
from jaxq.config.config import Config
from jaxq.rl import representation
from jaxq.types import Array, Key, LearnerState, Network, PyTree

Path = tuple[str, ...]


def consecutive(config: Config, num_layers: int) -> list[tuple[Path, list[Path]]]:
    """The hidden layers, each with the layers that read it.

    Args:
        config: the streams of the output layers.
        num_layers: hidden layers of the torso, each of which reads the one before it.
    """
    torso: list[Path] = [("torso", f"Hidden_{i}") for i in range(num_layers)]
    pairs = [(a, [b]) for a, b in itertools.pairwise(torso)]
    depth, streams = len(config.stream_sizes), []
    for s in range(2 if config.dueling else 1):
        hidden: list[Path] = [
            ("values", f"Hidden_{s * depth + i}") for i in range(depth)
        ]
        stream = [*hidden, ("values", f"Dense_{s}")]
        streams.append(stream)
        pairs += [(a, [b]) for a, b in itertools.pairwise(stream)]
    if torso:
        readers = [stream[0] for stream in streams]
        if config.head == "fully_parameterized":
            readers.append(("fractions", "Dense_0"))
        pairs.append((torso[-1], readers))
    return pairs


def recycle(
    config: Config,
    learner: LearnerState,
    network: Network,
    examples: PyTree,
    key: Key,
    due: Array,
    healthy: Array,
) -> LearnerState:
    """Initialise the dormant units of the online network anew, when due.

    The incoming weights of a unit with s_i <= redo_threshold are drawn anew, its
    outgoing weights become zero, and so do the optimizer's moments of both. Weights of
    self-prediction, on which no value depends, are kept. The target parameters follow
    at their next refresh; with `iterated_heads` the copied last layer changes at once.

    Args:
        config: the threshold.
        learner: state to change.
        network: of the learner.
        examples: a minibatch, whose observations decide which units are dormant.
        key: for new weights.
        due: [] bool.
        healthy: [] bool: whether the seed has never diverged; others are left alone.

    Reference: Sokar et al., arXiv:2302.12902, algorithm 1; `unit_scores`.
    """

    def recycled() -> LearnerState:
        params, observation = learner.params, plasticity.observations(examples)
        fresh = network.init(key, plasticity.first(observation))
        assert network.activations is not None
        activations = jax.vmap(network.activations, in_axes=(None, None, 0))(
            params, (), observation
        )
        incoming, outgoing = _masks(config, params, activations)
        changed = jax.tree.map(jnp.logical_or, incoming, outgoing)
        moments = _without_moments(learner.opt_state, changed, healthy)

        def new(old: Array, drawn: Array, reads: Array, feeds: Array) -> Array:
            replaced = jnp.where(feeds, 0.0, jnp.where(reads, drawn, old))
            return jnp.where(healthy, replaced, old)

        params = jax.tree.map(new, params, fresh, incoming, outgoing)
        recycled = learner._replace(params=params, opt_state=moments)
        if config.iterated_heads is None:
            return recycled
        # A copied last layer reads the new units at once.
        target_params = jax.tree.map(
            lambda old, feeds: jnp.where(feeds & healthy, 0.0, old),
            learner.target_params,
            iterated.target_head(outgoing),
        )
        return recycled._replace(target_params=target_params)

    return jax.lax.cond(due, recycled, lambda: learner)


def _without_moments(opt_state: PyTree, changed: PyTree, healthy: Array) -> PyTree:
    """Zeros for the moments of changed weights.

    A moment is recognised by its path, which ends in that of its parameter.
    """
    masks = {
        tuple(map(str, path)): mask
        for path, mask in jax.tree_util.tree_leaves_with_path(changed)
    }

    def zero(path: tuple[Any, ...], leaf: Array) -> Array:
        names = tuple(map(str, path))
        for start in range(len(names)):
            if names[start:] in masks:
                return jnp.where(masks[names[start:]] & healthy, 0.0, leaf)
        return leaf

    return jax.tree_util.tree_map_with_path(zero, opt_state)


def _masks(
    config: Config, params: PyTree, activations: dict[str, Array]
) -> tuple[PyTree, PyTree]:
    """Incoming and outgoing weights of dormant units, as booleans; like `params`."""
    if config.iterated_heads is not None:
        of_one = _masks_of_one(config, iterated.head(params, 0), activations)
        incoming, outgoing = (
            jax.tree.map(lambda x, leaf: jnp.broadcast_to(x, leaf.shape), mask, params)
            for mask in of_one
        )
        return incoming, outgoing
    if config.ensemble_size == 1:
        return _masks_of_one(config, params, activations)
    names = [name[2:] for name in activations if name.startswith("0/")]
    stacked = {
        name: jnp.stack(
            [activations[f"{m}/{name}"] for m in range(config.ensemble_size)]
        )
        for name in names
    }
    of_members = jax.vmap(lambda p, a: _masks_of_one(config, p, a))
    masks = of_members(params["members"], stacked)
    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool), params)
    incoming, outgoing = ({**none, "members": mask} for mask in masks)
    return incoming, outgoing


def _masks_of_one(
    config: Config, params: PyTree, activations: dict[str, Array]
) -> tuple[PyTree, PyTree]:
    incoming = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool), params)
    outgoing = incoming
    pairs = consecutive(config, len(params.get("torso", ())))
    for layer, readers in pairs:
        activation = activations["/".join(layer)]
        weight = jnp.ones(activation.shape[0])
        scores = representation.unit_scores(activation, weight)
        if config.activation == "crelu":  # two outputs per unit
            scores = jnp.mean(scores.reshape(2, -1), axis=0)
        dormant = scores <= config.redo_threshold
        incoming = _mark(incoming, layer, dormant)
        outputs = jnp.tile(dormant, activation.shape[-1] // dormant.size)
        for reader in readers:
            outgoing = _mark(outgoing, reader, outputs, rows=True)
    return incoming, outgoing


def _mark(masks: PyTree, layer: Path, units: Array, rows: bool = False) -> PyTree:
    """Mark the columns of all weights of a layer, or the rows of its matrices.

    Rows run over positions, then over units, as patches and flattened images do.
    """

    def mark(path: tuple[Any, ...], mask: Array) -> Array:
        if tuple(getattr(entry, "key", None) for entry in path[: len(layer)]) != layer:
            return mask
        if not rows:
            return mask | jnp.broadcast_to(units, mask.shape)
        if mask.ndim < 2:
            return mask
        column = jnp.tile(units, mask.shape[0] // units.size)[:, None]
        return mask | jnp.broadcast_to(column, mask.shape)

    return jax.tree_util.tree_map_with_path(mark, masks)
