"""The state of a run as named arrays, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxq.config.fields import CheckpointError
from jaxq.types import PyTree, is_key


def flatten(tree: PyTree, prefix: str = "") -> dict[str, np.ndarray]:
    """The leaves of a pytree by their path.

    Keys of random numbers are given as their data, and numbers that numpy does not know
    of itself, as bfloat16, as unsigned integers of their size.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    arrays = {prefix + name_of(path): np.asarray(_data(leaf)) for path, leaf in leaves}
    return {name: array.view(_stored(array.dtype)) for name, array in arrays.items()}


def _stored(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype


def name_of(path: tuple[Any, ...]) -> str:
    """The name of a leaf, for its path in a pytree."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _data(leaf: Any) -> Any:
    if hasattr(leaf, "dtype") and is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf


def _impl(key: Any) -> str:
    """The generator that a key, or the shape of one, is for."""
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), key)
    return found[0]


def unflatten(
    template: PyTree, arrays: Mapping[str, np.ndarray], prefix: str = ""
) -> PyTree:
    """A pytree like `template` from arrays by name, on the host.

    Args:
        template: arrays, or their shapes and dtypes.
        arrays: as `flatten` gives them; others may be among them.
        prefix: of their names.

    Raises:
        CheckpointError: if one is missing, or has another shape or dtype.
    """

    def find(path: tuple[Any, ...], leaf: Any) -> Any:
        name = prefix + name_of(path)
        if name not in arrays:
            raise CheckpointError(f"it has no {name}")
        array = arrays[name]
        like = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
        if (array.shape, array.dtype) != (like.shape, _stored(np.dtype(like.dtype))):
            raise CheckpointError(
                f"its {name} is {array.dtype}{list(array.shape)} in place of "
                f"{like.dtype}{list(like.shape)}"
            )
        if is_key(leaf):
            return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=_impl(leaf))
        return array.view(like.dtype)

    return jax.tree_util.tree_map_with_path(find, template)
