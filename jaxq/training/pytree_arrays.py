"""Conversion between pytrees and named NumPy arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxq.config.fields import CheckpointError
from jaxq.types import Counter, PyTree, is_key


def flatten(tree: PyTree, prefix: str = "") -> dict[str, np.ndarray]:
    """The leaves of a pytree, named by their paths.

    PRNG keys are stored as their data, and dtypes that NumPy does not have, such as
    bfloat16, as unsigned integers of the same size.

    Args:
        tree: a pytree of arrays and keys.
        prefix: prepended to each name.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    arrays = {
        prefix + path_name(path): np.asarray(_key_data(leaf)) for path, leaf in leaves
    }
    return {
        name: array.view(_stored_dtype(array.dtype)) for name, array in arrays.items()
    }


def unflatten(
    template: PyTree, arrays: Mapping[str, np.ndarray], prefix: str = ""
) -> PyTree:
    """The inverse of `flatten`, on the host.

    Args:
        template: pytree of arrays, or of their shapes and dtypes.
        arrays: name -> array; unused ones are allowed.
        prefix: of the names.

    Raises:
        CheckpointError: if an array is missing or has another shape or dtype.
    """

    def restore(path: tuple[Any, ...], leaf: Any) -> Any:
        name = prefix + path_name(path)
        if name not in arrays:
            raise CheckpointError(f"array {name} is missing")
        array = arrays[name]
        expected = jax.eval_shape(_key_data, leaf) if is_key(leaf) else leaf
        dtype = _stored_dtype(np.dtype(expected.dtype))
        if (array.shape, array.dtype) != (expected.shape, dtype):
            raise CheckpointError(
                f"array {name} is {array.dtype}{list(array.shape)}, expected "
                f"{expected.dtype}{list(expected.shape)}"
            )
        if is_key(leaf):
            return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=_impl(leaf))
        return array.view(expected.dtype)

    return jax.tree_util.tree_map_with_path(restore, template)


def path_name(path: tuple[Any, ...]) -> str:
    """The name of a leaf with this path, for example agent/learner/params."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _stored_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype


def _key_data(leaf: Any) -> Any:
    if hasattr(leaf, "dtype") and is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf


def _impl(key: Any) -> str:
    """The PRNG implementation of a key, or of the shape of one."""
    impl: list[Any] = []
    jax.eval_shape(lambda key: impl.append(jax.random.key_impl(key)), key)
    return impl[0]


def seed_axes(tree: PyTree) -> PyTree:
    """Prefix tree for `vmap`'s in_axes and out_axes: None for counters, 0 elsewhere."""
    return jax.tree.map(
        lambda leaf: None if isinstance(leaf, Counter) else 0,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, Counter),
    )
