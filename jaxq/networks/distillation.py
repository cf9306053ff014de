"""Networks that embed an observation, for random network distillation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from flax import linen as nn

from jaxq.networks import from_flax, layers
from jaxq.types import Array, Key, PyTree


class Embedding(nn.Module):
    """A torso, hidden layers, and an affine layer."""

    torso: nn.Module
    size: int
    hidden_sizes: Sequence[int] = ()
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: PyTree) -> Array:
        """[...] -> [size]."""
        x = self.torso(x)
        for size in self.hidden_sizes:
            x = layers.Hidden(size, self.style)(x)
        return layers.Dense(self.size, self.style)(x)


class Embedder(NamedTuple):
    """A function from the features of an observation to a vector.

    init: (key, features) -> params
    apply: (params, features) -> [D]
    """

    init: Callable[[Key, PyTree], PyTree]
    apply: Callable[[PyTree, PyTree], Array]


def embedder(module: nn.Module) -> Embedder:
    """The pure functions of a module."""

    def init(key: Key, features: PyTree) -> PyTree:
        return from_flax.flat(module.init(key, features))

    def apply(params: PyTree, features: PyTree) -> Array:
        return from_flax.apply_module(module, params, None, features)

    return Embedder(init, apply)
