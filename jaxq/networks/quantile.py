"""Networks that estimate quantiles of the return at sampled or proposed fractions."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq import types
from jaxq.networks import from_flax, layers, readouts, recurrent
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


def _at_fractions(
    values: layers.ActionValues,
    num_cosines: int,
    style: layers.LayerConfig,
    x: Array,
    fraction: Array,
) -> Array:
    """Quantiles f(x * phi(t)) at given fractions; inside a compact module.

    Args:
        values: f, with one output per action.
        num_cosines, style: of the embedding phi.
        x: [D] features.
        fraction: [N].

    Returns:
        [A, N].
    """
    phi = FractionEmbedding(num_cosines, x.shape[-1], style)(fraction)
    return values(x[None, :] * phi)[..., 0].T


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
        return _at_fractions(self.values, self.num_cosines, self.style, x, fraction)


class RecurrentImplicitQuantileNetwork(recurrent.RecurrentQNetwork):
    """Implicit quantiles from the output of a recurrent cell."""

    num_cosines: int = 64
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def outputs(self, x: Array, *extra: Array) -> Array:
        """[D], [N] -> [A, N]."""
        (fraction,) = extra
        return _at_fractions(self.values, self.num_cosines, self.style, x, fraction)


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


Proposed = tuple[Array, Array, Array, Array]


def _at_proposals(
    values: layers.ActionValues,
    proposal: FractionProposal,
    num_cosines: int,
    style: layers.LayerConfig,
    x: Array,
) -> Proposed:
    """Quantiles at proposed fractions; inside a compact module.

    The proposal is trained by its own loss only: no gradient passes through its inputs,
    nor through the fractions at which quantiles are estimated.

    Args:
        values, num_cosines, style: as in `_at_fractions`.
        proposal: of N intervals.
        x: [D] features.

    Returns:
        Ends [N + 1], quantiles [A, N], those at inner ends [A, N - 1], and the entropy
        of the proposal [].
    """
    ends, entropy = proposal(jax.lax.stop_gradient(x))
    fixed = jax.lax.stop_gradient(ends)
    middle = (fixed[1:] + fixed[:-1]) / 2.0
    fractions = jnp.concatenate([middle, fixed[1:-1]])
    quantiles = _at_fractions(values, num_cosines, style, x, fractions)
    return ends, quantiles[:, : middle.size], quantiles[:, middle.size :], entropy


class ProposedQuantileNetwork(nn.Module):
    """Quantiles of the return at fractions that the network proposes.

    Reference: Yang et al., arXiv:1911.02140, section 3.
    """

    torso: nn.Module
    values: layers.ActionValues
    fractions: FractionProposal
    num_cosines: int = 64
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def __call__(self, x: Array) -> Proposed:
        """[...] -> outputs of `_at_proposals`."""
        x = self.torso(x)
        self.sow(layers.RECORDS, layers.FEATURES, x)
        return _at_proposals(
            self.values, self.fractions, self.num_cosines, self.style, x
        )


class RecurrentProposedQuantileNetwork(recurrent.RecurrentQNetwork):
    """Proposed quantiles from the output of a recurrent cell."""

    fractions: FractionProposal = FractionProposal(32)
    num_cosines: int = 64
    style: layers.LayerConfig = layers.LayerConfig()

    @nn.compact
    def outputs(self, x: Array, *extra: Array) -> Proposed:
        """[D] -> outputs of `_at_proposals`."""
        del extra
        return _at_proposals(
            self.values, self.fractions, self.num_cosines, self.style, x
        )


def feed_forward(
    module: ImplicitQuantileNetwork | ProposedQuantileNetwork,
    spec: EnvSpec,
    head: Head,
    readout: readouts.Readout,
) -> Network:
    """A network without a memory whose head represents quantiles.

    Args:
        module: features, and the inputs that the readout draws -> its outputs.
        spec: describes the observations.
        head: of implicit or proposed quantiles.
        readout: the fractions; the parameters do not depend on it.
    """
    convert = from_flax.features(spec)
    fixed = readout.draw(None)[1]

    def init(key: Key, observation: PyTree) -> PyTree:
        return from_flax.flat(module.init(key, convert(observation), *fixed))

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        noise_key, inputs = readout.draw(key)
        outputs = from_flax.apply_module(
            module, params, noise_key, convert(observation), *inputs
        )
        return readout.output(outputs, inputs)

    read = from_flax.activations(module, lambda x: (convert(x), *fixed))
    return types.feed_forward(init, apply, head)._replace(activations=read)
