"""The horizon of returns: their discount factor and their length, annealed or not.

Only learning targets use the annealed horizon. The scale of an intrinsic
bonus and the bounds of a histogram of returns do not change with it.

Reference: Schwarzer et al., arXiv:2305.19452, section 3 (BBF). Rounding, and the
interpolation of 1 - gamma in place of gamma, are those of the authors' program.
"""

import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.rl import returns
from jaxq.types import Array


def horizon(config: Config, updates: Array) -> returns.Horizon:
    """The horizon of the returns that a gradient step learns from.

    Args:
        config: see `discount` and `limit`.
        updates: [] gradient steps done before.
    """
    return returns.Horizon(discount(config, updates), limit(config, updates))


def discount(config: Config, updates: Array) -> Array | float:
    """Discount factor: 1 - (1 - gamma_0)^(1 - x) (1 - gamma_1)^x; x: see `progress`.

    Args:
        config: discount_start, gamma_0; discount, gamma_1, at once without a start.
        updates: [] gradient steps done.
    """
    if config.discount_start is None:
        return config.discount
    start, end = 1.0 - config.discount_start, 1.0 - config.discount
    return 1.0 - geometric(start, end, progress(config, updates))


def limit(config: Config, updates: Array) -> Array | None:
    """Rewards in a return: round(n_0^(1 - x) n_1^x), [] int32; x: see `progress`.

    Args:
        config: n_step_start, n_0; n_step, n_1.
        updates: [] gradient steps done.

    Returns:
        The number, or None if all windows have their full length.
    """
    if config.n_step_start is None:
        return None
    start, end = float(config.n_step_start), float(config.n_step)
    steps = geometric(start, end, progress(config, updates))
    return jnp.round(steps).astype(jnp.int32)


def progress(config: Config, updates: Array) -> Array:
    """Progress of the annealing: min(1, t / anneal_updates), [].

    Args:
        config: anneal_updates, and reset_period if parameters are reset.
        updates: [] gradient steps done; t is their number since the last reset.
    """
    since = updates if config.reset_period is None else updates % config.reset_period
    return jnp.minimum(1.0, since.astype(jnp.float32) / config.anneal_updates)


def geometric(start: Array | float, end: Array | float, progress: Array) -> Array:
    """Geometric interpolation: start^(1 - x) end^x.

    Args:
        start, end: [] positive values at x = 0 and at x = 1.
        progress: [] x, from 0 to 1.
    """
    return jnp.power(start, 1.0 - progress) * jnp.power(end, progress)
