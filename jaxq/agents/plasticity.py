"""Regularisation and resets of parameters: what keeps a network able to learn.

Fixed priors of an ensemble and statistics of batch normalisation are left alone.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxq.config.config import Config
from jaxq.networks import from_flax, running_statistics, self_prediction
from jaxq.types import Array, Key, LearnerState, PyTree, Sequence

HEAD = ("values", "fractions")  # modules of the output layers
FIXED = ("priors", from_flax.STATISTICS, running_statistics.STATISTICS)


def part(path: tuple[Any, ...]) -> str:
    """The part of a network that a parameter belongs to: fixed, head or torso."""
    names = [getattr(entry, "key", None) for entry in path]
    if any(name in FIXED for name in names):
        return "fixed"
    if self_prediction.NAME in names:
        return "torso" if "transition" in names else "head"
    return "head" if any(name in HEAD for name in names) else "torso"


def penalty_gradient(config: Config, learner: LearnerState) -> PyTree | None:
    """Gradient of the penalties on the parameters, or None if there are none.

    l2_penalty sum(theta^2) + l2_init_penalty sum((theta - theta_0)^2)

    Args:
        config: the weights of the penalties.
        learner: the parameters, and the initial ones.

    Reference: Kumar et al., arXiv:2308.11958 (L2 Init).
    """
    gradient = None
    if config.l2_penalty is not None:
        gradient = optax.tree.scale(2 * config.l2_penalty, learner.params)
    if config.l2_init_penalty is not None:
        distance = optax.tree.sub(learner.params, learner.initial_params)
        pull = optax.tree.scale(2 * config.l2_init_penalty, distance)
        gradient = pull if gradient is None else optax.tree.add(gradient, pull)
    return None if gradient is None else learned(gradient)


def decay(config: Config, params: PyTree, rate: Array) -> PyTree:
    """Decoupled weight decay: (1 - rate * weight_decay) theta.

    Args:
        config: the weight decay, if any.
        params: parameters before the step.
        rate: [] step size.

    Reference: Loshchilov and Hutter, arXiv:1711.05101.
    """
    if config.weight_decay is None:
        return params
    steps = optax.tree.scale(rate * config.weight_decay, params)
    return optax.tree.sub(params, learned(steps))


def learned(tree: PyTree) -> PyTree:
    """The parameters, with zeros in place of those that are never learned."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.zeros_like(leaf) if part(path) == "fixed" else leaf, tree
    )


def reset(
    config: Config,
    learner: LearnerState,
    key: Key,
    due: Array,
    healthy: Array,
    init: Callable[[Key], PyTree],
    optimizer: optax.GradientTransformation,
    target_of: Callable[[PyTree], PyTree] | None = None,
) -> LearnerState:
    """Move parameters towards newly initialised ones, when due.

    theta <- (1 - x) theta + x theta',  x = reset_torso or reset_head,

    for online and target parameters, with the same theta'. The optimizer starts anew.
    Of self-prediction, the transition model counts as torso, the rest as head.

    Args:
        config: the shares x.
        learner: state to reset.
        key: for the new parameters.
        due: [] bool.
        healthy: [] bool: whether the seed has never diverged; others are left alone.
        init: (key) -> new parameters.
        optimizer: of the learner.
        target_of: new parameters -> those of the target; None: the same.

    Reference: Nikishin et al., arXiv:2205.07802 (x = 1); Ash and Adams,
    arXiv:1910.08475 (shrink and perturb, 0 < x < 1).
    """
    share = {"torso": config.reset_torso, "head": config.reset_head}

    def mix(path: tuple[Any, ...], old: Array, new: Array) -> Array:
        name = part(path)
        if name == "fixed":
            return old
        new = jnp.broadcast_to(new, old.shape)  # of several target networks
        return jnp.where(healthy, old + share[name] * (new - old), old)

    def moved() -> LearnerState:
        fresh = init(key)
        params, target_params = (
            jax.tree_util.tree_map_with_path(mix, old, new)
            for old, new in (
                (learner.params, fresh),
                (learner.target_params, target_of(fresh) if target_of else fresh),
            )
        )
        return learner._replace(
            params=params,
            target_params=target_params,
            opt_state=optimizer.init(params),
        )

    return jax.lax.cond(due, moved, lambda: learner)


def return_to_target(learner: LearnerState, due: Array, healthy: Array) -> PyTree:
    """The parameters, which become a copy of the target parameters when due.

    Args:
        learner: online parameters, the hare, and target parameters, the tortoise.
        due: [] bool.
        healthy: [] bool: whether the seed has never diverged; others are left alone.

    Reference: Lee et al., arXiv:2406.02596 (Hare and Tortoise).
    """

    def copied() -> PyTree:
        return jax.tree.map(
            lambda hare, tortoise: jnp.where(healthy, tortoise, hare),
            learner.params,
            learner.target_params,
        )

    return jax.lax.cond(due, copied, lambda: learner.params)


def observations(examples: PyTree) -> PyTree:
    """The observations of a minibatch, [B] or, of sequences, [B L]."""
    if not isinstance(examples, Sequence):
        return examples.observation
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), examples.observation)


def first(observation: PyTree) -> PyTree:
    """The first observation, from which parameters are initialised."""
    return jax.tree.map(lambda x: x[0], observation)
