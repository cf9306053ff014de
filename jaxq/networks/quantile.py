"""Networks that estimate quantiles of the return at sampled or proposed fractions."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq import types
from jaxq.networks import from_flax, layers
from jaxq.rl import heads
from jaxq.types import Array, EnvSpec, Head, Key, Network, PyTree
from jaxq.xla import ops


class FractionEmbedding(nn.Module):
    """phi(t) = relu(Dense(cos(pi i t), i = 0 ... n - 1)).

    Reference: Dabney et al., arXiv:1806.06923, equation 4.
    """

    num_cosines: int
    features: int
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, fraction: Array) -> Array:
        """[N] -> [N, features]."""
        waves = jax.vmap(lambda t: ops.cos_multiples(t, self.num_cosines))(fraction)
        plain = self.style._replace(weight_norm="none")
        return nn.relu(layers.Dense(self.features, plain)(waves))


class ImplicitQuantileNetwork(nn.Module):
    """Quantiles of the return at any fractions: f(psi(x) * phi(t)).

    Reference: Dabney et al., arXiv:1806.06923, section 3.1.
    """

    torso: nn.Module
    values: layers.ActionValues
    num_cosines: int = 64
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: Array, fraction: Array) -> Array:
        """[...], [N] -> [A, N]."""
        x = self.torso(x)
        self.sow(layers.RECORDS, layers.FEATURES, x)
        phi = FractionEmbedding(self.num_cosines, x.shape[-1], self.style)(fraction)
        return self.values(x[None, :] * phi)[..., 0].T


class FractionProposal(nn.Module):
    """A partition of [0, 1] into N intervals, proposed from the features.

    Reference: Yang et al., arXiv:1911.02140, section 3.4.
    """

    num_fractions: int

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """[D] -> ends[N + 1], entropy[]."""
        # Small weights, so that the initial intervals are nearly equal.
        init = nn.initializers.variance_scaling(0.01, "fan_in", "uniform")
        log_length = nn.log_softmax(nn.Dense(self.num_fractions, kernel_init=init)(x))
        length = jnp.exp(log_length)
        ends = jnp.concatenate([jnp.zeros(1), jnp.cumsum(length)])
        return ends, -jnp.sum(length * log_length)


class ProposedQuantileNetwork(nn.Module):
    """Quantiles of the return at fractions that the network proposes.

    The proposal is trained by its own loss only: no gradient passes through its inputs,
    nor through the fractions at which quantiles are estimated.

    Reference: Yang et al., arXiv:1911.02140, section 3.
    """

    torso: nn.Module
    values: layers.ActionValues
    fractions: FractionProposal
    num_cosines: int = 64
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """[...] -> ends[N + 1], quantiles[A, N], inner end quantiles[A, N - 1], H[]."""
        x = self.torso(x)
        self.sow(layers.RECORDS, layers.FEATURES, x)
        ends, entropy = self.fractions(jax.lax.stop_gradient(x))
        fixed = jax.lax.stop_gradient(ends)
        middle = (fixed[1:] + fixed[:-1]) / 2.0
        fractions = jnp.concatenate([middle, fixed[1:-1]])
        phi = FractionEmbedding(self.num_cosines, x.shape[-1], self.style)(fractions)
        quantiles = self.values(x[None, :] * phi)[..., 0].T
        return ends, quantiles[:, : middle.size], quantiles[:, middle.size :], entropy


def iqn_network(
    module: ImplicitQuantileNetwork, spec: EnvSpec, head: Head, samples: int
) -> Network:
    """Quantiles at uniformly sampled fractions; equally spaced ones without a key.

    Args:
        module: (features, fractions[N]) -> [A, N].
        spec: describes the observations.
        head: of implicit quantiles.
        samples: N; the parameters do not depend on it.
    """
    convert = from_flax.features(spec)

    def init(key: Key, observation: PyTree) -> PyTree:
        return from_flax.flat(module.init(key, convert(observation), jnp.zeros(1)))

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> heads.Quantiles:
        fraction = (jnp.arange(samples) + 0.5) / samples
        noise_key = None
        if key is not None:
            fraction_key, noise_key = jax.random.split(key)
            fraction = jax.random.uniform(fraction_key, (samples,))
        value = from_flax.apply_module(
            module, params, noise_key, convert(observation), fraction
        )
        return heads.Quantiles(
            value=value,
            fraction=jnp.broadcast_to(fraction, value.shape),
            weight=jnp.full(value.shape, 1.0 / samples),
        )

    fractions = (jnp.arange(samples) + 0.5) / samples
    read = from_flax.activations(module, lambda x: (convert(x), fractions))
    return types.feed_forward(init, apply, head)._replace(activations=read)


def fqf_network(module: ProposedQuantileNetwork, spec: EnvSpec, head: Head) -> Network:
    """Quantiles at the midpoints of the intervals that the network proposes."""
    convert = from_flax.features(spec)

    def init(key: Key, observation: PyTree) -> PyTree:
        return from_flax.flat(module.init(key, convert(observation)))

    def apply(
        key: Key | None, params: PyTree, observation: PyTree
    ) -> heads.ProposedQuantiles:
        ends, value, edge_value, entropy = from_flax.apply_module(
            module, params, key, convert(observation)
        )
        fixed = jax.lax.stop_gradient(ends)

        def per_action(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf, (spec.num_actions, *leaf.shape))

        quantiles = heads.Quantiles(
            value,
            per_action((fixed[1:] + fixed[:-1]) / 2.0),
            per_action(jnp.diff(fixed)),
        )
        inner = per_action(ends[1:-1])
        return heads.ProposedQuantiles(
            quantiles, inner, edge_value, per_action(entropy)
        )

    read = from_flax.activations(module, lambda x: (convert(x),))
    return types.feed_forward(init, apply, head)._replace(activations=read)
