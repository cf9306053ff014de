"""Optimizers as gradient transformations without a step size."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from jaxq.agents import iterated
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.networks import running_statistics
from jaxq.types import Array, PyTree


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The direction of descent of the configured optimizer.

    The step size is applied in `learner.gradient_step`, where it can be swept.

    adam: m / (sqrt(v) + eps), bias corrected. amsgrad: with the largest v so far.
    nadam: with Nesterov's momentum, b1 m + (1 - b1) g, in place of m. radam: Adam whose
    adaptive part is off until its variance is tractable. rmsprop: g / (sqrt(v) + eps),
    or g / sqrt(v + eps) with `rmsprop_eps_in_root`; centred, with v - m^2 in place of
    v. muon: the nearest orthogonal matrix to Nesterov's momentum, of decay 0.95, times
    sqrt(max(1, columns / rows)); Adam for parameters that are not matrices.

    Reference: Kingma and Ba, arXiv:1412.6980; Reddi et al., arXiv:1904.09237; Dozat
    (2016); Liu et al., arXiv:1908.03265; Tieleman and Hinton (2012), lecture 6.5;
    Graves, arXiv:1308.0850, equation 38 (centred); Jordan et al. (2024), Muon.
    """
    if config.head != "fully_parameterized":
        return _main_optimizer(config)
    # The proposed fractions have their own optimizer, as in the authors' code.
    factor = config.fraction_learning_rate / config.learning_rate
    rms = scale_by_centered_rms(0.95, 1e-5, eps_in_sqrt=True)
    proposals = optax.chain(rms, optax.scale(factor))
    return optax.partition(
        {"values": _main_optimizer(config), "fractions": proposals},
        lambda params: jax.tree_util.tree_map_with_path(_label, params),
    )


def _label(path: tuple[Any, ...], leaf: Array) -> str:
    del leaf
    names = [getattr(part, "key", None) for part in path]
    return "fractions" if "fractions" in names else "values"


def _main_optimizer(config: Config) -> optax.GradientTransformation:
    b1, b2, eps = config.adam_b1, config.adam_b2, config.optimizer_eps
    if config.optimizer == "adam":
        return optax.scale_by_adam(b1, b2, eps)
    if config.optimizer == "amsgrad":
        return optax.scale_by_amsgrad(b1, b2, eps)
    if config.optimizer == "nadam":
        return optax.scale_by_adam(b1, b2, eps, nesterov=True)
    if config.optimizer == "radam":
        return optax.scale_by_radam(b1, b2, eps)
    if config.optimizer == "muon":
        return _muon(config)
    if config.optimizer == "sgd":
        return optax.identity()
    if config.optimizer != "rmsprop":
        raise ConfigError(
            f"optimizer = {config.optimizer!r} is a rule for eligibility traces. Use "
            "another one, or an algorithm such as stream_q."
        )
    scale = scale_by_centered_rms if config.rmsprop_centered else optax.scale_by_rms
    return scale(config.rmsprop_decay, eps, eps_in_sqrt=config.rmsprop_eps_in_root)


def _muon(config: Config) -> optax.GradientTransformation:
    """Muon; of parameters that are stacked, each matrix by itself."""
    step = optax.chain(
        optax.contrib.muon(
            1.0,
            eps=config.optimizer_eps,
            adam_b1=config.adam_b1,
            adam_b2=config.adam_b2,
        ),
        optax.scale(-1.0),
    )
    if config.ensemble_size == 1 and config.iterated_heads is None:
        return step
    stacked = optax.GradientTransformation(jax.vmap(step.init), jax.vmap(step.update))

    def label(path: iterated.Path, leaf: Array) -> str:
        del leaf
        if config.iterated_heads is not None:
            return "stacked" if iterated.is_last(path) else "single"
        # Members share only the statistics of their inputs.
        shared = running_statistics.STATISTICS in [getattr(p, "key", "") for p in path]
        return "single" if shared else "stacked"

    return optax.partition(
        {"single": step, "stacked": stacked},
        lambda params: jax.tree_util.tree_map_with_path(label, params),
    )


class CenteredRmsState(NamedTuple):
    """Moving averages of the gradient and of its square."""

    mean: PyTree
    square: PyTree


def scale_by_centered_rms(
    decay: Array | float, eps: Array | float, eps_in_sqrt: bool
) -> optax.GradientTransformation:
    """Direction g / (sqrt(v - m^2) + eps), or g / sqrt(v - m^2 + eps), centred RMS.

    Differs from optax's `scale_by_stddev` where rounding makes v - m^2 negative, as it
    does for a steady gradient: the variance is then zero, and the result is not NaN.
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
