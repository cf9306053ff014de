"""The head of a configuration."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxq.config import average_reward
from jaxq.config.config import Config
from jaxq.rl import categorical, heads, offline
from jaxq.types import Array, Head

HEADS: dict[str, Callable[[Config], Head]] = {
    "scalar": lambda c: heads.scalar(c.loss, c.huber_delta, c.value_rescaling),
    "categorical": lambda c: categorical.categorical(c.num_atoms, *_return_bounds(c)),
    "two_hot": lambda c: categorical.two_hot(c.num_atoms, *_return_bounds(c)),
    "hl_gauss": lambda c: categorical.hl_gauss(
        c.num_atoms, *_return_bounds(c), c.hl_gauss_sigma
    ),
    "quantile": lambda c: heads.quantile(
        c.num_quantiles, c.huber_delta, c.value_rescaling
    ),
    "implicit_quantile": lambda c: heads.implicit_quantile(c.huber_delta),
    "fully_parameterized": lambda c: heads.fully_parameterized(
        c.huber_delta, c.fraction_entropy
    ),
}


def _return_bounds(config: Config) -> tuple[float, float]:
    assert config.v_min is not None and config.v_max is not None  # see validate
    return config.v_min, config.v_max


def make_head(config: Config) -> Head:
    """The head that a configuration names, with the penalties that it weighs."""
    return penalized(reporting(HEADS[config.head](config), config), config)


def penalized(head: Head, config: Config) -> Head:
    """The head, with the configured penalties on actions not in the data, if any."""
    conservative, imitation = config.conservative_weight, config.margin_weight
    if conservative is None and imitation is None:
        return head

    def penalty(q_values: Array, action: Array) -> Array:
        total = jnp.zeros(())
        if conservative is not None:
            total += conservative * offline.conservative(q_values, action)
        if imitation is not None:
            total += imitation * offline.large_margin(q_values, action, config.margin)
        return total

    return head._replace(penalty=penalty)


def reporting(head: Head, config: Config) -> Head:
    """The head, without signed TD errors unless an average reward is learned."""
    if config.average_reward in average_reward.LEARNED:
        return head
    return head._replace(td_error=None)
