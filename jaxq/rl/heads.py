"""Representations of the return of an action by the outputs of a network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxq.rl import mixtures, rescaling
from jaxq.types import Array, Head


def _identity(x: Array) -> Array:
    return x


def scalar(
    loss: str = "squared", huber_delta: Array | float = 1.0, rescaled: bool = False
) -> Head:
    """One output per action: its expected return.

    target = r + discount * q'   and   loss = l(target - q),

    where l(x) is x^2 / 2 (squared), or Huber's loss, which is linear beyond delta.
    Rescaled, the output is h(q), and the target h(r + discount * h^-1(output')).

    Args:
        loss: "squared" or "huber".
        huber_delta: [] error beyond which Huber's loss is linear.
        rescaled: whether outputs are returns compressed by `rescaling.rescale`.

    Raises:
        ValueError: if the loss is unknown.

    Reference: Watkins (1989); Mnih et al. (2015), doi:10.1038/nature14236, equation 2;
    Kapturowski et al. (2019), "Recurrent Experience Replay", equation 1 (rescaled).
    """
    losses = {
        "squared": optax.losses.l2_loss,
        "huber": lambda error: optax.losses.huber_loss(error, delta=huber_delta),
    }
    if loss not in losses:
        raise ValueError(f"loss = {loss!r}: choose one of {', '.join(losses)}")
    h, h_inverse = (
        (rescaling.rescale, rescaling.unrescale) if rescaled else (_identity, _identity)
    )

    def q_values(output: Array) -> Array:
        return h_inverse(output[:, 0])

    def backup(reward: Array, discount: Array, next_output: Array) -> Array:
        return h(reward + discount * h_inverse(next_output[0]))

    def td(output: Array, target: Array) -> tuple[Array, Array]:
        error = target - output[0]
        return losses[loss](error), jnp.abs(error)

    def mix(output: Array, policy: Array) -> Array:
        return h(mixtures.average(h_inverse(output), policy))

    def td_error(output: Array, target: Array) -> Array:
        return h_inverse(target) - h_inverse(output[0])

    return Head(1, q_values, backup, td, mix, td_error)


class QuantileTarget(NamedTuple):
    """Weighted samples of a return."""

    value: Array  # [M]
    weight: Array  # [M], sum 1


def quantile_loss(
    value: Array, fraction: Array, target: QuantileTarget, huber_delta: Array | float
) -> tuple[Array, Array]:
    """Quantile Huber loss, and the absolute difference of the means.

    sum_i sum_j w_j |f_i - [u_ij < 0]| huber(u_ij) / delta,  u_ij = target_j - value_i

    Args:
        value: [N] estimated quantiles.
        fraction: [N] their fractions f.
        target: M samples of the return, with weights w.
        huber_delta: [] error beyond which Huber's loss is linear.

    Returns:
        loss [] and absolute difference [].

    Reference: Dabney et al., arXiv:1710.10044, equation 10.
    """
    error = target.value[None, :] - value[:, None]
    side = jnp.where(error < 0.0, 1.0 - fraction[:, None], fraction[:, None])
    huber = optax.losses.huber_loss(error, delta=huber_delta) / huber_delta
    loss = jnp.sum(side * huber * target.weight[None, :])
    mean_error = jnp.sum(target.weight * target.value) - jnp.mean(value)
    return loss, jnp.abs(mean_error)


def quantile(
    num_quantiles: int, huber_delta: Array | float = 1.0, rescaled: bool = False
) -> Head:
    """N outputs per action: quantiles of its return at the fractions (i + 1/2) / N.

    target_j = r + discount * z'_j;  loss: see `quantile_loss`.

    Args:
        num_quantiles: N.
        huber_delta: [] error beyond which Huber's loss is linear.
        rescaled: whether outputs are returns compressed by `rescaling.rescale`.

    Reference: Dabney et al., arXiv:1710.10044.
    """
    fraction = (jnp.arange(num_quantiles) + 0.5) / num_quantiles
    h, h_inverse = (
        (rescaling.rescale, rescaling.unrescale) if rescaled else (_identity, _identity)
    )

    def q_values(output: Array) -> Array:
        return jnp.mean(h_inverse(output), axis=-1)

    def weighted(output: Array) -> QuantileTarget:
        return QuantileTarget(output, jnp.full(output.shape, 1.0 / output.shape[-1]))

    def backup(
        reward: Array, discount: Array, next_output: Array | QuantileTarget
    ) -> QuantileTarget:
        if not isinstance(next_output, QuantileTarget):  # one action's, not a mixture
            next_output = weighted(next_output)
        value = h(reward + discount * h_inverse(next_output.value))
        return QuantileTarget(value, next_output.weight)

    def td(output: Array, target: QuantileTarget) -> tuple[Array, Array]:
        return quantile_loss(output, fraction, target, huber_delta)

    def mix(output: Array, policy: Array) -> QuantileTarget:
        return QuantileTarget(*mixtures.mix_samples(*weighted(output), policy))

    def td_error(output: Array, target: QuantileTarget) -> Array:
        return jnp.sum(target.weight * h_inverse(target.value)) - q_values(output)

    return Head(num_quantiles, q_values, backup, td, mix, td_error)


class Quantiles(NamedTuple):
    """Quantiles of the return of each action, at sampled or proposed fractions."""

    value: Array  # [A, N]
    fraction: Array  # [A, N]
    weight: Array  # [A, N] weight of each quantile in the mean


class ProposedQuantiles(NamedTuple):
    """Quantiles of the return of each action, between proposed fractions."""

    quantiles: Quantiles  # at the midpoint of each interval
    edge: Array  # [A, N - 1] proposed fractions, through which the proposal learns
    edge_value: Array  # [A, N - 1] quantiles at the proposed fractions
    entropy: Array  # [A] entropy of the lengths of the intervals


def _mix_quantiles(output: Quantiles, policy: Array) -> Quantiles:
    value, weight = mixtures.mix_samples(output.value, output.weight, policy)
    return Quantiles(value, output.fraction.reshape(-1), weight)


def implicit_quantile(huber_delta: Array | float = 1.0) -> Head:
    """Quantiles of the return at sampled fractions; outputs are `Quantiles`.

    target_j = r + discount * z'_j;  loss: see `quantile_loss`.

    Args:
        huber_delta: [] error beyond which Huber's loss is linear.

    Reference: Dabney et al., arXiv:1806.06923, equation 3.
    """

    def q_values(output: Quantiles) -> Array:
        return jnp.sum(output.weight * output.value, axis=-1)

    def backup(
        reward: Array, discount: Array, next_output: Quantiles
    ) -> QuantileTarget:
        return QuantileTarget(reward + discount * next_output.value, next_output.weight)

    def td(output: Quantiles, target: QuantileTarget) -> tuple[Array, Array]:
        fraction = jax.lax.stop_gradient(output.fraction)
        loss, _ = quantile_loss(output.value, fraction, target, huber_delta)
        mean_error = jnp.sum(target.weight * target.value)
        mean_error -= jnp.sum(output.weight * output.value)
        return loss, jnp.abs(jax.lax.stop_gradient(mean_error))

    def td_error(output: Quantiles, target: QuantileTarget) -> Array:
        return jnp.sum(target.weight * target.value) - q_values(output)

    return Head(1, q_values, backup, td, _mix_quantiles, td_error)


def fully_parameterized(
    huber_delta: Array | float = 1.0, entropy: Array | float = 0.0
) -> Head:
    """Quantiles between proposed fractions; outputs are `ProposedQuantiles`.

    Adds to the loss of `implicit_quantile` a term whose gradient with respect to the
    proposed fraction t_i is that of the 1-Wasserstein distance,

    dW/dt_i = 2 F(t_i) - F((t_i + t_{i+1}) / 2) - F((t_{i-1} + t_i) / 2),

    with F the quantile function, and subtracts `entropy` times the entropy of the
    proposal.

    Args:
        huber_delta: [] error beyond which Huber's loss is linear.
        entropy: [] weight of the entropy of the proposal.

    Reference: Yang et al., arXiv:1911.02140, proposition 1 and algorithm 1.
    """
    inner = implicit_quantile(huber_delta)

    def q_values(output: ProposedQuantiles) -> Array:
        return inner.q_values(output.quantiles)

    def backup(
        reward: Array, discount: Array, next_output: ProposedQuantiles
    ) -> QuantileTarget:
        return inner.backup(reward, discount, next_output.quantiles)

    def td(output: ProposedQuantiles, target: QuantileTarget) -> tuple[Array, Array]:
        loss, priority = inner.loss(output.quantiles, target)
        middle = output.quantiles.value
        slope = 2.0 * output.edge_value - middle[1:] - middle[:-1]
        proposal = jnp.sum(jax.lax.stop_gradient(slope) * output.edge)
        term = proposal - entropy * output.entropy
        # Only the gradient of the term counts: the reported loss is the quantile loss.
        return loss + term - jax.lax.stop_gradient(term), priority

    def mix(output: ProposedQuantiles, policy: Array) -> ProposedQuantiles:
        return output._replace(quantiles=_mix_quantiles(output.quantiles, policy))

    def td_error(output: ProposedQuantiles, target: QuantileTarget) -> Array:
        assert inner.td_error is not None
        return inner.td_error(output.quantiles, target)

    return Head(1, q_values, backup, td, mix, td_error)
