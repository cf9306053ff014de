"""The random inputs of a module, and its outputs as those of a network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.rl import heads
from jaxq.types import Array, Key, PyTree


class Readout(NamedTuple):
    """Inputs that a module takes after the observation, and its outputs.

    draw: (key) -> (key for noise, inputs); without a key, the inputs are fixed
    output: (outputs of the module, inputs) -> output of the network
    """

    draw: Callable[[Key | None], tuple[Key | None, tuple[Array, ...]]]
    output: Callable[[Any, tuple[Array, ...]], PyTree]


# For modules whose output is already that of the network.
PLAIN = Readout(lambda key: (key, ()), lambda output, inputs: output)


def implicit_quantiles(samples: int) -> Readout:
    """Quantiles at uniformly sampled fractions; equally spaced ones without a key.

    Args:
        samples: N.

    Reference: Dabney et al., arXiv:1806.06923, section 3.
    """

    def draw(key: Key | None) -> tuple[Key | None, tuple[Array, ...]]:
        fraction = (jnp.arange(samples) + 0.5) / samples
        if key is None:
            return None, (fraction,)
        fraction_key, noise_key = jax.random.split(key)
        return noise_key, (jax.random.uniform(fraction_key, (samples,)),)

    def output(value: Array, inputs: tuple[Array, ...]) -> heads.Quantiles:
        return heads.Quantiles(
            value=value,
            fraction=jnp.broadcast_to(inputs[0], value.shape),
            weight=jnp.full(value.shape, 1.0 / samples),
        )

    return Readout(draw, output)


def proposed_quantiles(num_actions: int) -> Readout:
    """Quantiles at the midpoints of the intervals that a module proposes.

    Args:
        num_actions: A.

    Reference: Yang et al., arXiv:1911.02140, section 3.
    """

    def per_action(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf, (num_actions, *leaf.shape))

    def output(
        outputs: tuple[Array, Array, Array, Array], inputs: tuple[Array, ...]
    ) -> heads.ProposedQuantiles:
        del inputs
        ends, value, edge_value, entropy = outputs
        fixed = jax.lax.stop_gradient(ends)
        quantiles = heads.Quantiles(
            value,
            per_action((fixed[1:] + fixed[:-1]) / 2.0),
            per_action(jnp.diff(fixed)),
        )
        inner = per_action(ends[1:-1])
        return heads.ProposedQuantiles(
            quantiles, inner, edge_value, per_action(entropy)
        )

    return Readout(lambda key: (key, ()), output)
