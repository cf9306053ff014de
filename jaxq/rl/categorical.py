"""Heads that represent the return of an action by a histogram over fixed atoms."""

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from jaxq.rl import mixtures
from jaxq.types import Array, Head


def _atoms(v_min: Array | float, v_max: Array | float, num_atoms: int) -> Array:
    return v_min + (v_max - v_min) * (jnp.arange(num_atoms) / (num_atoms - 1))


def cross_entropy(logits: Array, target: Array) -> tuple[Array, Array]:
    """Cross-entropy and Kullback-Leibler divergence of a target from a prediction.

    loss = -sum_i target_i log softmax(logits)_i
    priority = sum_i target_i log(target_i / softmax(logits)_i)

    The cross-entropy itself would be a poor priority: it never falls below the entropy
    of the target, so transitions with a wide return would always be replayed most.

    Args:
        logits, target: [K].

    Returns:
        loss [] and priority [].
    """
    log_probabilities = jax.nn.log_softmax(logits)
    value = -jnp.sum(target * log_probabilities)
    negative_entropy = jnp.sum(jax.scipy.special.xlogy(target, target))
    return value, jnp.maximum(value + negative_entropy, 0.0)


def two_hot_target(value: Array, atoms: Array) -> Array:
    """Projection of a value onto its two nearest atoms, which preserves the mean.

    target_i = max(0, 1 - |value - atom_i| / spacing)

    Values beyond the first or last atom are clipped to it. This is the projection of
    C51 for a single value.

    Args:
        value: [].
        atoms: [K], equally spaced.

    Returns:
        [K] probabilities.

    Reference: Bellemare et al., arXiv:1707.06887, equation 7.
    """
    spacing = atoms[1] - atoms[0]
    value = jnp.clip(value, atoms[0], atoms[-1])
    return jnp.clip(1.0 - jnp.abs(value - atoms) / spacing, 0.0, 1.0)


def categorical(num_atoms: int, v_min: Array | float, v_max: Array | float) -> Head:
    """K logits per action: a distribution of its return on K fixed atoms.

    target = projection of sum_i p'_i delta(r + discount * z_i) onto the atoms;
    loss = cross-entropy; priority = Kullback-Leibler divergence.

    Args:
        num_atoms: K.
        v_min, v_max: [] first and last atom.

    Reference: Bellemare et al., arXiv:1707.06887, equation 7 and algorithm 1.
    """

    def q_values(output: Array) -> Array:
        return jax.nn.softmax(output) @ _atoms(v_min, v_max, num_atoms)

    def backup(reward: Array, discount: Array, next_output: Array) -> Array:
        atoms = _atoms(v_min, v_max, num_atoms)
        values = reward + discount * atoms
        projection = jax.vmap(two_hot_target, in_axes=(0, None))(values, atoms)
        return jax.nn.softmax(next_output) @ projection

    def td_error(logits: Array, target: Array) -> Array:
        return (target - jax.nn.softmax(logits)) @ _atoms(v_min, v_max, num_atoms)

    return Head(
        num_atoms, q_values, backup, cross_entropy, mixtures.mix_logits, td_error
    )


def two_hot(num_atoms: int, v_min: Array | float, v_max: Array | float) -> Head:
    """K logits per action: its expected return, as a distribution on K fixed atoms.

    target = two-hot(r + discount * q'); loss = cross-entropy; priority =
    Kullback-Leibler divergence.

    Args:
        num_atoms: K.
        v_min, v_max: [] first and last atom.

    Reference: Schrittwieser et al., arXiv:1911.08265, appendix F; Farebrother et al.,
    arXiv:2403.03950, section 3.1.
    """

    def q_values(output: Array) -> Array:
        return jax.nn.softmax(output) @ _atoms(v_min, v_max, num_atoms)

    def backup(reward: Array, discount: Array, next_output: Array) -> Array:
        value = reward + discount * q_values(next_output[None])[0]
        return two_hot_target(value, _atoms(v_min, v_max, num_atoms))

    def td_error(logits: Array, target: Array) -> Array:
        return (target - jax.nn.softmax(logits)) @ _atoms(v_min, v_max, num_atoms)

    return Head(
        num_atoms, q_values, backup, cross_entropy, mixtures.mix_logits, td_error
    )


def hl_gauss(
    num_bins: int,
    v_min: Array | float,
    v_max: Array | float,
    sigma: Array | float = 0.75,
) -> Head:
    """K logits per action: its expected return, as a histogram of K equal bins.

    target_i = probability of bin i under a Gaussian N(r + discount * q', (sigma *
    width)^2) truncated to [v_min, v_max]; loss = cross-entropy; priority =
    Kullback-Leibler divergence.

    Args:
        num_bins: K.
        v_min, v_max: [] lower edge of the first bin and upper edge of the last.
        sigma: [] standard deviation of the Gaussian [bin widths].

    Reference: Imani and White, arXiv:1806.04613; Farebrother et al., arXiv:2403.03950,
    section 3.1 (sigma 0.75).
    """

    def edges() -> Array:
        return _atoms(v_min, v_max, num_bins + 1)

    def q_values(output: Array) -> Array:
        return jax.nn.softmax(output) @ ((edges()[1:] + edges()[:-1]) / 2.0)

    def backup(reward: Array, discount: Array, next_output: Array) -> Array:
        value = reward + discount * q_values(next_output[None])[0]
        value = jnp.clip(value, edges()[0], edges()[-1])
        width = edges()[1] - edges()[0]
        cumulative = erf((edges() - value) / (jnp.sqrt(2.0) * sigma * width))
        # In float32 erf is not quite monotone, but no probability may be negative.
        mass = jnp.maximum(jnp.diff(cumulative), 0.0)
        return mass / jnp.sum(mass)

    def td_error(logits: Array, target: Array) -> Array:
        centers = (edges()[1:] + edges()[:-1]) / 2.0
        return (target - jax.nn.softmax(logits)) @ centers

    return Head(
        num_bins, q_values, backup, cross_entropy, mixtures.mix_logits, td_error
    )
