"""The LSTM and the GRU of flax in two parts, for sequences.

The products with the inputs do not depend on the memory, and can see all steps at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.types import Array, PyTree
from jaxq.xla import primitives


class GatedCell(NamedTuple):
    """A cell whose gates are sums of an input and a memory part.

    project: (params of the cell, inputs [D]) -> input parts of the gates [G]
    weights: (params of the cell) -> weights of `step`
    step: (weights, memory, input parts [G]) -> memory, output [D']
    """

    project: Callable[[PyTree, Array], Array]
    weights: Callable[[PyTree], PyTree]
    step: Callable[[PyTree, PyTree, Array], tuple[PyTree, Array]]


def _joined(params: PyTree, names: tuple[str, ...], leaf: str) -> Array:
    return jnp.concatenate([params[name][leaf] for name in names], axis=-1)


def _lstm() -> GatedCell:
    inputs, hidden = ("ii", "if", "ig", "io"), ("hi", "hf", "hg", "ho")

    def project(params: PyTree, x: Array) -> Array:
        bias = _joined(params, hidden, "bias")
        return x @ _joined(params, inputs, "kernel") + bias

    def weights(params: PyTree) -> PyTree:
        return _joined(params, hidden, "kernel")

    def step(kernel: PyTree, memory: PyTree, x: Array) -> tuple[PyTree, Array]:
        state, output = memory
        gates = primitives.materialise_cotangent(x + output @ kernel)
        i, f, g, o = jnp.split(gates, 4)
        state = jax.nn.sigmoid(f) * state + jax.nn.sigmoid(i) * jnp.tanh(g)
        output = jax.nn.sigmoid(o) * jnp.tanh(state)
        return (state, output), output

    return GatedCell(project, weights, step)


def _gru() -> GatedCell:
    inputs, hidden = ("ir", "iz", "in"), ("hr", "hz", "hn")

    def project(params: PyTree, x: Array) -> Array:
        bias = _joined(params, inputs, "bias")
        return x @ _joined(params, inputs, "kernel") + bias

    def weights(params: PyTree) -> PyTree:
        # The bias of the candidate is inside the product with the reset gate.
        return _joined(params, hidden, "kernel"), params["hn"]["bias"]

    def step(weights: PyTree, memory: PyTree, x: Array) -> tuple[PyTree, Array]:
        kernel, bias = weights
        hidden = primitives.materialise_cotangent(memory @ kernel)
        (x_r, x_z, x_n), (r, z, n) = jnp.split(x, 3), jnp.split(hidden, 3)
        r, z = jax.nn.sigmoid(x_r + r), jax.nn.sigmoid(x_z + z)
        memory = (1.0 - z) * jnp.tanh(x_n + r * (n + bias)) + z * memory
        return memory, memory

    return GatedCell(project, weights, step)


# flax's cell -> the same equations in two parts
GATED_CELLS: dict[type[nn.Module], GatedCell] = {
    nn.OptimizedLSTMCell: _lstm(),
    nn.GRUCell: _gru(),
}
