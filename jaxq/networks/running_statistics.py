"""Running statistics of observations and returns, and what is normalised by them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.networks import from_flax
from jaxq.rl import recall
from jaxq.types import (
    Array,
    EnvSpec,
    Key,
    MaskedObservation,
    Network,
    PyTree,
)

STATISTICS = "observation_statistics"  # their name among the parameters
_EPS = 1e-8  # added to a variance


class Statistics(NamedTuple):
    """Number, mean and sum of squared deviations of a stream of arrays."""

    total: Array  # [] float32: number of arrays
    mean: Array  # [...]
    deviation: Array  # [...]


def empty(shape: tuple[int, ...] = ()) -> Statistics:
    """Statistics of nothing."""
    return Statistics(jnp.zeros(()), jnp.zeros(shape), jnp.zeros(shape))


def add(statistics: Statistics, batch: Array) -> Statistics:
    """Add a batch of arrays, [..., *shape].

    Reference: Welford (1962); Chan et al. (1983), equation 2.1, for several at once.
    """
    batch = batch.reshape(-1, *statistics.mean.shape)
    size, mean = float(batch.shape[0]), jnp.mean(batch, axis=0)
    total = statistics.total + size
    shift = mean - statistics.mean
    spread = jnp.sum((batch - mean[None]) ** 2, axis=0)
    weight = statistics.total * size / total
    return Statistics(
        total,
        statistics.mean + shift * (size / total),
        statistics.deviation + spread + shift**2 * weight,
    )


def variance(statistics: Statistics) -> Array:
    """The unbiased variance, or 1 before the second array."""
    enough = statistics.total > 1.0
    unbiased = statistics.deviation / jnp.maximum(statistics.total - 1.0, 1.0)
    return jnp.where(enough, unbiased, 1.0)


def normalize(statistics: Statistics, x: Array) -> Array:
    """(x - mean) / sqrt(variance + 1e-8)."""
    return (x - statistics.mean) * jax.lax.rsqrt(variance(statistics) + _EPS)


def _normalizer(
    spec: EnvSpec,
) -> tuple[Callable[[PyTree], list[Array]], Callable[[PyTree, PyTree], PyTree]]:
    """The arrays of an observation, and (params, observation) -> a normalised one."""
    convert = from_flax.features(spec)

    def leaves(observation: PyTree) -> list[Array]:
        return jax.tree.leaves(convert(recall.plain(observation)))

    def inputs(params: PyTree, observation: PyTree) -> PyTree:
        if isinstance(observation, recall.Recalled):
            inner = inputs(params, observation.observation)
            return observation._replace(observation=inner)
        statistics = jax.lax.stop_gradient(params[STATISTICS])
        arrays = [
            normalize(s, x)
            for s, x in zip(statistics, leaves(observation), strict=True)
        ]
        x = jax.tree.unflatten(jax.tree.structure(convert(observation)), arrays)
        if isinstance(observation, MaskedObservation):
            return observation._replace(observation=x)
        return x

    return leaves, inputs


def normalized(network: Network, spec: EnvSpec) -> Network:
    """A network whose inputs are normalised by statistics among its parameters.

    They receive no gradient; `update_batch_stats` adds observations to them.

    Args:
        network: of normalised observations.
        spec: describes the observations.
    """
    convert = from_flax.features(spec)
    leaves, inputs = _normalizer(spec)

    def own(params: PyTree) -> PyTree:
        return {k: v for k, v in params.items() if k != STATISTICS}

    def init(key: Key, observation: PyTree) -> PyTree:
        statistics = {STATISTICS: [empty(x.shape) for x in leaves(observation)]}
        return network.init(key, inputs(statistics, observation)) | statistics

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        return network.apply(key, own(params), inputs(params, observation))

    def step(
        key: Key | None, params: PyTree, memory: PyTree, observation: PyTree
    ) -> tuple[PyTree, PyTree]:
        return network.step(key, own(params), memory, inputs(params, observation))

    def unroll(
        key: Key | None,
        params: PyTree,
        memory: PyTree,
        observation: PyTree,
        ended: Array,
    ) -> tuple[PyTree, PyTree]:
        assert network.unroll is not None
        visible = jax.vmap(inputs, in_axes=(None, 0))(params, observation)
        return network.unroll(key, own(params), memory, visible, ended)

    def activations(
        params: PyTree, memory: PyTree, observation: PyTree
    ) -> dict[str, Array]:
        assert network.activations is not None
        return network.activations(own(params), memory, inputs(params, observation))

    def update_batch_stats(params: PyTree, observation: PyTree) -> PyTree:
        rows = jax.tree.map(
            lambda x, example: x.reshape(-1, *example.shape),
            recall.plain(observation),
            spec.observation,
        )
        batch = jax.tree.leaves(jax.vmap(convert)(rows))
        statistics = [add(s, x) for s, x in zip(params[STATISTICS], batch, strict=True)]
        updated = own(params)
        if network.update_batch_stats is not None:
            inner = jax.vmap(inputs, in_axes=(None, 0))(params, observation)
            updated = network.update_batch_stats(updated, inner)
        return {**updated, STATISTICS: statistics}

    return network._replace(
        init=init,
        apply=apply,
        step=step,
        unroll=unroll if network.unroll else None,
        activations=activations if network.activations else None,
        update_batch_stats=update_batch_stats,
    )


def shared(target_params: PyTree, params: PyTree) -> PyTree:
    """Target parameters with the newest statistics, those of the online parameters.

    Those of a network whose inputs are not normalised are returned as they are.

    Args:
        target_params: a leading axis may hold several.
        params: online parameters.
    """
    if not isinstance(params, dict) or STATISTICS not in params:
        return target_params
    newest = jax.tree.map(
        lambda old, new: jnp.broadcast_to(new, old.shape),
        target_params[STATISTICS],
        params[STATISTICS],
    )
    return {**target_params, STATISTICS: newest}
