"""Observations as jaxq keeps them: arrays of narrow types, and a mask of actions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.config.fields import ConfigError
from jaxq.types import Array, EnvSpec, MaskedObservation, PyTree

MASK = "action_mask"


def split_mask(observation: PyTree) -> PyTree:
    """An observation with its mask, if it has one, in a MaskedObservation.

    The mask is the field or the entry `action_mask` of a record or a dictionary. If one
    other field remains, it is the observation; several stay together, in a dictionary.
    """
    if isinstance(observation, MaskedObservation):
        return observation
    fields = _fields(observation)
    if MASK not in fields or len(fields) == 1:
        return observation
    rest = {name: value for name, value in fields.items() if name != MASK}
    only = next(iter(rest.values()))
    return MaskedObservation(rest if len(rest) > 1 else only, fields[MASK])


def _fields(observation: PyTree) -> Mapping[str, Any]:
    if isinstance(observation, Mapping):
        return observation
    if hasattr(observation, "_fields"):
        return observation._asdict()
    if dataclasses.is_dataclass(observation):
        names = [field.name for field in dataclasses.fields(observation)]
        return {name: getattr(observation, name) for name in names}
    return {}


def narrow(types: PyTree, binary: bool = False) -> PyTree:
    """The types in which observations are kept: bool, uint8, int32 or float32.

    Args:
        types: of the arrays of an observation; pytree of ShapeDtypeStruct.
        binary: whether their only values are 0 and 1.
    """

    def dtype(leaf: Any) -> Any:
        if binary or jnp.issubdtype(leaf.dtype, jnp.bool_):
            return jnp.dtype(bool)
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            byte = leaf.dtype == jnp.uint8 and leaf.shape  # a scalar may be a number
            return jnp.dtype(jnp.uint8 if byte else jnp.int32)
        return jnp.dtype(jnp.float32)

    narrowed = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype(leaf)),
        split_mask(types),
    )
    if not isinstance(narrowed, MaskedObservation):
        return narrowed
    mask = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(bool)),
        narrowed.action_mask,
    )
    return narrowed._replace(action_mask=mask)


def cast(observation: PyTree, types: PyTree) -> PyTree:
    """An observation with the types that `narrow` chose."""

    def convert(leaf: Any, like: jax.ShapeDtypeStruct) -> Array:
        if jnp.issubdtype(like.dtype, jnp.bool_):
            return jnp.asarray(leaf) != 0
        return jnp.asarray(leaf).astype(like.dtype)

    return jax.tree.map(convert, split_mask(observation), types)


def check_mask(spec: EnvSpec) -> None:
    """Check that the mask of valid actions has one value per action.

    Raises:
        ConfigError: if it has another shape.
    """
    if spec.valid_actions is None:
        return
    mask = jax.eval_shape(spec.valid_actions, spec.observation)
    shape = getattr(mask, "shape", type(mask).__name__)
    if shape != (spec.num_actions,):
        raise ConfigError(
            f"environment = {spec.name!r} has an action_mask of shape "
            f"{shape} instead of ({spec.num_actions},)."
        )
