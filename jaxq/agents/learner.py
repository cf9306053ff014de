"""One gradient step, and the refresh of the target parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxq.config.config import Config
from jaxq.networks import layers
from jaxq.types import (
    Array,
    Key,
    LearnerState,
    LossFunction,
    Network,
    PyTree,
    UpdateMetrics,
)
from jaxq.xla import matmul, primitives


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The direction of descent; the step size is applied in `gradient_step`.

    adam: m / (sqrt(v) + eps), bias corrected. radam: Adam whose adaptive part waits
    until its variance is tractable. rmsprop: g / (sqrt(v) + eps), or
    g / sqrt(v + eps) with `rmsprop_eps_in_root`; centred: v - m^2 in the place of v.

    Reference: Kingma and Ba, arXiv:1412.6980; Tieleman and Hinton (2012), lecture 6.5;
    Graves, arXiv:1308.0850, equation 38 (centred); Liu et al., arXiv:1908.03265.
    """
    if config.head != "fully_parameterized":
        return _one_optimizer(config)
    # The proposed fractions have an optimizer of their own, as in the authors' code.
    factor = config.fraction_learning_rate / config.learning_rate
    rms = scale_by_centered_rms(0.95, 1e-5, eps_in_sqrt=True)
    proposals = optax.chain(rms, optax.scale(factor))
    return optax.partition(
        {"values": _one_optimizer(config), "fractions": proposals},
        lambda params: jax.tree_util.tree_map_with_path(_label, params),
    )


def _label(path: tuple[Any, ...], leaf: Array) -> str:
    del leaf
    names = [getattr(part, "key", None) for part in path]
    return "fractions" if "fractions" in names else "values"


def _one_optimizer(config: Config) -> optax.GradientTransformation:
    eps = config.optimizer_eps
    if config.optimizer == "adam":
        return optax.scale_by_adam(config.adam_b1, config.adam_b2, eps)
    if config.optimizer == "radam":
        return optax.scale_by_radam(config.adam_b1, config.adam_b2, eps)
    if config.optimizer == "sgd":
        return optax.identity()
    scale = scale_by_centered_rms if config.rmsprop_centered else optax.scale_by_rms
    return scale(config.rmsprop_decay, eps, eps_in_sqrt=config.rmsprop_eps_in_root)


class CenteredRmsState(NamedTuple):
    """Running moments of the gradient."""

    mean: PyTree
    square: PyTree


def scale_by_centered_rms(
    decay: Array | float, eps: Array | float, eps_in_sqrt: bool
) -> optax.GradientTransformation:
    """Direction g / (sqrt(v - m^2) + eps), or g / sqrt(v - m^2 + eps), centred RMS.

    optax's `scale_by_stddev` takes the root of a negative number where rounding leaves
    v - m^2 below zero, which a steady gradient does; here it is taken as zero.
    """

    def init(params: PyTree) -> CenteredRmsState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return CenteredRmsState(zeros, zeros)

    def scale(gradient: Array, mean: Array, square: Array) -> Array:
        variance = jnp.maximum(square - mean**2, 0.0)
        if eps_in_sqrt:
            return gradient * jax.lax.rsqrt(variance + eps)
        return gradient / (jnp.sqrt(variance) + eps)

    def update(
        gradient: PyTree, state: CenteredRmsState, params: PyTree = None
    ) -> tuple[PyTree, CenteredRmsState]:
        del params
        mean = optax.tree.update_moment(gradient, state.mean, decay, 1)
        square = optax.tree.update_moment(gradient, state.square, decay, 2)
        scaled = jax.tree.map(scale, gradient, mean, square)
        return scaled, CenteredRmsState(mean, square)

    return optax.GradientTransformation(init, update)


def step_size(config: Config, updates: Array) -> Array:
    """Learning rate at a gradient step.

    Args:
        config: learning_rate, learning_rate_schedule and learning_rate_updates.
        updates: [] gradient steps done.
    """
    progress = updates / config.learning_rate_updates
    if config.learning_rate_schedule == "linear":
        return config.learning_rate * jnp.maximum(0.0, 1.0 - progress)
    if config.learning_rate_schedule == "inverse":
        return config.learning_rate / (1.0 + progress)
    return jnp.asarray(config.learning_rate, jnp.float32)


def init_learner(
    key: Key,
    network: Network,
    optimizer: optax.GradientTransformation,
    observation: Array,
) -> LearnerState:
    """Fresh parameters; the target parameters start as their copy."""
    params = network.init(key, observation)
    return LearnerState(
        params=params,
        target_params=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
        diverged_at=jnp.asarray(-1, jnp.int32),
    )


def batch_loss(
    loss: LossFunction, reduction: str
) -> Callable[..., tuple[Array, tuple[Array, Array]]]:
    """Weighted mean or sum of a loss over a minibatch.

    Returns:
        (params, target_params, keys[B] or one key, examples[B], weight[B]) ->
        (loss, (priority[B], mean q_value)).
    """

    def total(
        params: PyTree,
        target_params: PyTree,
        keys: Key,
        examples: PyTree,
        weight: Array,
    ) -> tuple[Array, tuple[Array, Array]]:
        values, info = jax.vmap(
            loss,
            in_axes=(0 if keys.ndim else None, None, None, 0),
            axis_name=layers.BATCH,
        )(keys, params, target_params, examples)
        weighted = jnp.sum(weight * values)
        if reduction == "mean":
            weighted /= values.size
        q_value = jnp.sum(weight * info.q_value) / jnp.maximum(jnp.sum(weight), 1e-30)
        return weighted, (info.priority, q_value)

    return total


def gradient_step(
    key: Key,
    learner: LearnerState,
    examples: PyTree,
    weight: Array,
    updates: Array,
    *,
    config: Config,
    loss: LossFunction,
    optimizer: optax.GradientTransformation,
    update_batch_stats: Callable[[PyTree, Array], PyTree] | None = None,
) -> tuple[LearnerState, Array, UpdateMetrics]:
    """Descend the loss of a minibatch once.

    A seed whose loss, gradient or statistics are not finite keeps its parameters: it is
    frozen from then on, `diverged_at` says when, and no other seed is touched. (The
    moments of its optimizer go on, unused.) New parameters need no look of their own:
    a gradient of finite norm, below 2e19, makes a finite step.

    Args:
        key: split over the minibatch, or shared by it if the network is noisy.
        learner: what is updated.
        examples: what the loss takes, with a leading axis [B].
        weight: [B] weights of the losses.
        updates: [] gradient steps done before this one.
        config: step size, clipping, reduction and target refresh.
        loss: the loss of one transition.
        optimizer: direction of descent.
        update_batch_stats: (params, observation[B]) -> params with new statistics of
            the inputs.

    Returns:
        The new state, priorities [B], and metrics.
    """
    total = batch_loss(loss, config.loss_reduction)
    descent = matmul.tuned(jax.value_and_grad(total, has_aux=True))
    # Noise on weights is drawn once for a minibatch, as in Fortunato et al.; a draw for
    # every example takes 1.4 ms more an update (Rainbow, 48 units, batch of 64, CPU).
    # The fractions of an implicit_quantile head are then shared as well.
    keys = key if config.noisy else jax.random.split(key, weight.size)
    (value, (priority, q_value)), gradient = descent(
        learner.params, learner.target_params, keys, examples, weight
    )
    # Without the fence the squares are a pass of their own (CPU: 2 % of an update).
    norm = optax.tree.norm(primitives.on_cpu(jax.lax.optimization_barrier, gradient))
    healthy = (learner.diverged_at < 0) & jnp.isfinite(value) & jnp.isfinite(norm)
    if config.max_grad_norm is not None:
        clip = jnp.minimum(1.0, config.max_grad_norm / jnp.maximum(norm, 1e-30))
        gradient = jax.tree.map(lambda leaf: clip * leaf, gradient)
    direction, opt_state = optimizer.update(gradient, learner.opt_state, learner.params)
    rate = step_size(config, updates)
    params = jax.tree.map(lambda p, d: p - rate * d, learner.params, direction)
    if update_batch_stats is not None:
        params = update_batch_stats(params, examples.observation)
        healthy &= jnp.isfinite(optax.tree.norm(params))
    params = jax.tree.map(lambda n, o: jnp.where(healthy, n, o), params, learner.params)
    learner = LearnerState(
        params=params,
        target_params=refresh(
            learner.target_params,
            params,
            (updates + 1) % config.target_period == 0,
            config.target_tau,
        ),
        opt_state=opt_state,
        diverged_at=jnp.where(
            healthy | (learner.diverged_at >= 0), learner.diverged_at, updates
        ),
    )
    drawn = jnp.maximum(jnp.sum(weight), 1e-30)
    td_error = jnp.sum(weight * priority) / drawn
    return learner, priority, UpdateMetrics(value, td_error, q_value, norm)


def refresh(
    target_params: PyTree, params: PyTree, due: Array, tau: Array | float
) -> PyTree:
    """Target <- (1 - tau) target + tau params, when due; tau = 1 is an exact copy.

    Args:
        target_params, params: pytrees of the same structure.
        due: [] bool.
        tau: [] weight of the online parameters, in (0, 1].

    Reference: Mnih et al. (2015) for the copy; Lillicrap et al., arXiv:1509.02971.
    """
    return jax.lax.cond(
        due,
        lambda: optax.incremental_update(params, target_params, tau),
        lambda: target_params,
    )
