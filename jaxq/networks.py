"""Networks: flax modules, and the table as the simplest of them.

Every network maps one observation to output[A, K], K numbers for each of A actions.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.types import Array, EnvSpec, Head, Key, Network, PyTree

# U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for weights and biases.
_torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Dense(nn.Module):
    """An affine layer, with flax's initialisation or PyTorch's."""

    features: int
    torch_init: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[I] -> [features]."""
        if not self.torch_init:
            return nn.Dense(self.features)(x)
        bound = x.shape[-1] ** -0.5

        def bias(key: Key, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        return nn.Dense(self.features, kernel_init=_torch_kernel, bias_init=bias)(x)


class MLP(nn.Module):
    """Fully connected layers with ReLU between them."""

    hidden_sizes: Sequence[int]
    torch_init: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[...] -> [hidden_sizes[-1]]."""
        x = x.reshape(-1)
        for size in self.hidden_sizes:
            x = nn.relu(Dense(size, self.torch_init)(x))
        return x


class MinAtarTorso(nn.Module):
    """The network of Young and Tian (2019): 16 filters of 3 x 3, then 128 units.

    The convolution is written as patches times a matrix. With parameters of its own for
    every seed, `nn.Conv` becomes a grouped convolution, which is slow on every backend:
    941 against 225 us an iteration (H100, 32 seeds, batch 32).

    Reference: arXiv:1903.03176, section 3.
    """

    channels: int = 16
    dense_size: int = 128
    torch_init: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels] -> [dense_size]."""
        x = nn.relu(Dense(self.channels, self.torch_init)(patches(x, 3)))
        return nn.relu(Dense(self.dense_size, self.torch_init)(x.reshape(-1)))


def patches(x: Array, size: int) -> Array:
    """All windows of size x size, as a convolution without padding sees them.

    Args:
        x: [height, width, C].
        size: side of a window.

    Returns:
        [height - size + 1, width - size + 1, size * size * C]; the last axis runs over
        rows, columns and channels of the window.
    """
    height, width = x.shape[0] - size + 1, x.shape[1] - size + 1
    shifted = [
        x[row : row + height, column : column + width]
        for row in range(size)
        for column in range(size)
    ]
    return jnp.concatenate(shifted, axis=-1)


class QNetwork(nn.Module):
    """A torso and a linear layer with K outputs for every action."""

    torso: nn.Module
    num_actions: int
    num_outputs: int
    torch_init: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[...] -> [A, K]."""
        x = Dense(self.num_actions * self.num_outputs, self.torch_init)(self.torso(x))
        return x.reshape(self.num_actions, self.num_outputs)


def features(spec: EnvSpec) -> Callable[[Array], Array]:
    """Function from an observation to float32 inputs of a network.

    A scalar integer of a known number of categories becomes one-hot.
    """

    def convert(observation: Array) -> Array:
        if spec.num_categories is not None:
            return jax.nn.one_hot(observation, spec.num_categories)
        return observation.astype(jnp.float32)

    return convert


def from_torso(
    torso: nn.Module, spec: EnvSpec, head: Head, torch_init: bool = False
) -> Network:
    """A network from any flax module that maps features to a vector.

    Args:
        torso: module [...] -> [D].
        spec: what is observed and how many actions there are.
        head: how many outputs an action has.
        torch_init: PyTorch's initialisation for the last layer.
    """
    module = QNetwork(torso, spec.num_actions, head.num_outputs, torch_init)
    convert = features(spec)

    def init(key: Key, observation: Array) -> PyTree:
        return module.init(key, convert(observation))["params"]

    def apply(key: Key, params: PyTree, observation: Array) -> Array:
        del key
        output = module.apply({"params": params}, convert(observation))
        assert isinstance(output, jax.Array)  # not a tuple: nothing is mutable
        return output

    return Network(init, apply, head)


def table(spec: EnvSpec, head: Head, initial_value: Array | float = 0.0) -> Network:
    """A table of values, one row for every state.

    Args:
        spec: its `state_index` maps an observation to one of `num_states` rows.
        head: K outputs for every entry.
        initial_value: [] value of every entry at the start.

    Raises:
        ValueError: if the environment's states are not numbered.
    """
    index, rows = spec.state_index, spec.num_states
    if index is None or rows is None:
        raise ValueError(
            f"{spec.name} has no numbered states, so no table can hold its values. Use "
            "network='mlp', or pass an environment whose spec has num_states and "
            "state_index."
        )

    def init(key: Key, observation: Array) -> PyTree:
        del key, observation
        shape = (rows, spec.num_actions, head.num_outputs)
        return {"table": jnp.full(shape, initial_value, jnp.float32)}

    def apply(key: Key, params: PyTree, observation: Array) -> Array:
        del key
        return jnp.asarray(params["table"]).at[index(observation)].get(mode="clip")

    return Network(init, apply, head)


def is_minatar(spec: EnvSpec) -> bool:
    """Whether an observation is a 10 x 10 grid of channels."""
    return len(spec.observation.shape) == 3 and spec.observation.shape[:2] == (10, 10)
