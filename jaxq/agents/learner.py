"""One gradient step, and the refresh of the target parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxq.agents import (
    average_reward,
    iterated,
    plasticity,
    recycling,
    schedules,
    targets,
)
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
from jaxq.xla import matmul, ops

_TINY = 1e-30  # keeps divisions by a norm or a sum of weights finite


def init_learner(
    key: Key,
    network: Network,
    optimizer: optax.GradientTransformation,
    observation: Array,
    keep_initial: bool = False,
    averaged_targets: int = 1,
    average: PyTree = (),
    shared_target: bool = False,
) -> LearnerState:
    """Initial parameters; the target parameters start as copies of them.

    Args:
        key: for the parameters.
        network: the network.
        optimizer: of the parameters.
        observation: an example.
        keep_initial: keep another copy, for L2 Init.
        averaged_targets: number of target networks, K; see `targets.shift_in`.
        average: initial average reward.
        shared_target: copy a last layer only; see `iterated`.
    """
    params = network.init(key, observation)
    return LearnerState(
        params=params,
        target_params=iterated.target_head(params)
        if shared_target
        else targets.copies(params, averaged_targets),
        opt_state=optimizer.init(params),
        diverged_at=jnp.asarray(-1, jnp.int32),
        initial_params=jax.tree.map(jnp.copy, params) if keep_initial else (),
        average_reward=average,
    )


def batch_loss(
    loss: LossFunction, reduction: str, shared_key: bool = False
) -> Callable[..., tuple[Array, tuple[Array, Array, Array | None]]]:
    """Weighted mean or sum of a loss over a minibatch.

    Args:
        loss: of one example.
        reduction: "mean" or "sum".
        shared_key: whether the minibatch shares one key; otherwise each example has its
            own. Noise on weights is then drawn once per minibatch, and so is anything
            else that the loss draws, such as the fractions of implicit quantiles.

    Returns:
        (params, target_params, key[] or keys[B], examples[B], weight[B]) ->
        (loss, (priority[B], mean q_value, mean td_error)), the last None if the loss
        does not report it.
    """
    example_loss = jax.vmap(
        loss,
        in_axes=(None if shared_key else 0, None, None, 0),
        axis_name=layers.BATCH,
    )

    def total(
        params: PyTree,
        target_params: PyTree,
        keys: Key,
        examples: PyTree,
        weight: Array,
    ) -> tuple[Array, tuple[Array, Array, Array | None]]:
        values, info = example_loss(keys, params, target_params, examples)
        weighted = jnp.sum(weight * values)
        if reduction == "mean":
            weighted /= values.size
        q_value = jnp.sum(weight * info.q_value) / jnp.maximum(jnp.sum(weight), _TINY)
        error = info.td_error
        if error is not None:
            error = jnp.sum(weight * error) / jnp.maximum(jnp.sum(weight), _TINY)
        return weighted, (info.priority, q_value, error)

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
    network: Network,
) -> tuple[LearnerState, Array, UpdateMetrics]:
    """One gradient step on the loss of a minibatch.

    params <- decay(params) - step_size * optimizer(clip(gradient))

    A seed whose loss, gradient or statistics are not finite is frozen: it keeps its
    parameters from then on, `diverged_at` records the update, and other seeds are not
    affected. (The moments of its optimizer still change, but have no effect.) The new
    parameters are not checked separately: a gradient whose norm is finite in float32 is
    below 2e19, and gives a finite step.

    Args:
        key: split over the minibatch, or, with noisy weights and shared_noise, shared
            by it, so that the noise is drawn once, as in Fortunato et al.; see
            `batch_loss`.
        learner: state to update.
        examples: inputs of the loss, with a leading axis [B].
        weight: [B] weights of the losses.
        updates: [] gradient steps done before this one.
        config: step size, clipping, reduction, target refresh, penalties and resets.
        loss: the loss of one example.
        optimizer: direction of descent.
        network: of the learner, for batch statistics and resets.

    Returns:
        The new state, priorities [B], and metrics.
    """
    if config.reset_period is not None:
        key, reset_key = jax.random.split(key)
    if config.redo_period is not None:
        key, redo_key = jax.random.split(key)
    shared = config.noisy and config.shared_noise
    keys = key if shared else jax.random.split(key, weight.size)
    total = batch_loss(loss, config.loss_reduction, shared_key=shared)
    (value, (priority, q_value, signed)), gradient = matmul.value_and_grad(
        total, has_aux=True
    )(learner.params, learner.target_params, keys, examples, weight)
    penalty = plasticity.penalty_gradient(config, learner)
    if penalty is not None:
        gradient = optax.tree.add(gradient, penalty)
    norm = ops.global_norm(gradient)
    healthy = (learner.diverged_at < 0) & jnp.isfinite(value) & jnp.isfinite(norm)
    if config.max_grad_norm is not None:
        gradient = clip_by_norm(gradient, norm, config.max_grad_norm)
    direction, opt_state = optimizer.update(gradient, learner.opt_state, learner.params)
    rate = schedules.step_size(config, updates)
    params = plasticity.decay(config, learner.params, rate)
    params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
    if network.update_batch_stats is not None:
        params = network.update_batch_stats(params, examples.observation)
        finite = jax.tree.map(lambda leaf: jnp.all(jnp.isfinite(leaf)), params)
        healthy &= jnp.all(jnp.stack(jax.tree.leaves(finite)))
    state = learner._replace(params=params, opt_state=opt_state)
    state = freeze(state, learner.params, healthy, updates)
    state = average_reward.learn(config, state, q_value, signed, rate, healthy)
    state = targets.renew(config, state, updates, healthy)
    if config.reset_period is not None:
        observation = plasticity.first(plasticity.observations(examples))
        state = plasticity.reset(
            config, state, reset_key, (updates + 1) % config.reset_period == 0,
            healthy, lambda key: network.init(key, observation), optimizer,
            iterated.target_head if config.iterated_heads is not None else None,
        )  # fmt: skip
    if config.redo_period is not None:
        state = recycling.recycle(
            config, state, network, examples, redo_key,
            (updates + 1) % config.redo_period == 0, healthy,
        )  # fmt: skip
    if config.hare_period is not None:
        due = (updates + 1) % config.hare_period == 0
        state = state._replace(params=plasticity.return_to_target(state, due, healthy))
    td_error = jnp.sum(weight * priority) / jnp.maximum(jnp.sum(weight), _TINY)
    return state, priority, UpdateMetrics(value, td_error, q_value, norm)


def clip_by_norm(gradient: PyTree, norm: Array, max_norm: Array | float) -> PyTree:
    """Scale the gradient to a norm of at most max_norm: g min(1, max_norm / norm).

    Args:
        gradient: pytree.
        norm: [] its global norm.
        max_norm: [] largest norm of the result.

    Reference: Pascanu et al., arXiv:1211.5063.
    """
    scale = jnp.minimum(1.0, max_norm / jnp.maximum(norm, _TINY))
    return jax.tree.map(lambda leaf: scale * leaf, gradient)


def freeze(
    state: LearnerState, params: PyTree, healthy: Array, updates: Array
) -> LearnerState:
    """Restore the parameters of a seed that has diverged, and record when it did.

    Args:
        state: state after the step.
        params: parameters before the step.
        healthy: [] bool: whether the seed has never diverged.
        updates: [] gradient steps done before this one.
    """
    return state._replace(
        params=jax.tree.map(
            lambda new, old: jnp.where(healthy, new, old), state.params, params
        ),
        diverged_at=jnp.where(
            healthy | (state.diverged_at >= 0), state.diverged_at, updates
        ),
    )
