"""Checks of a configuration, made before jax is imported and anything is compiled."""

import contextlib
import dataclasses
import math
import pathlib
import typing
from collections.abc import Callable
from typing import Any, Literal

from jaxq.config import (
    annealing,
    compatibility,
    epsilon,
    hyperparameters,
    loop_lengths,
    normalization,
    plasticity,
    rollouts,
    suites,
)
from jaxq.config.config import Config, annotation
from jaxq.config.estimates import HISTOGRAMS
from jaxq.config.fields import MAX_INT32, ConfigError, Range, did_you_mean
from jaxq.config.loop_lengths import LoopLengths


def validate(config: Config) -> None:
    """Raise for a configuration that cannot run.

    Raises:
        ConfigError: with the field, its value, the range and a remedy.
    """
    for field in dataclasses.fields(Config):
        _check_field(field.name, getattr(config, field.name), field.default)
    compatibility.check(config)
    lengths = loop_lengths.loop_lengths(config)
    for check in _CHECKS:
        check(config, lengths)


def _check_field(name: str, value: Any, default: Any) -> None:
    """Check the type and the range of one field."""
    kind, metadata, optional = annotation(name)
    if value is None and optional:
        return
    if isinstance(default, tuple) and not isinstance(value, tuple):
        raise ConfigError(f"{name} = {value!r} must be a tuple, e.g. {default!r}.")
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ConfigError(
                f"{name} = {value!r}: choose one of {', '.join(choices)}.{hint}"
            )
        return
    bounds = next((m for m in metadata if isinstance(m, Range)), None)
    for item in value if isinstance(default, tuple) else (value,):
        if not _is_of(kind, item):
            raise ConfigError(
                f"{name} = {value!r} must be of type {kind.__name__}; try "
                f"{_converted(kind, item, default)!r}."
            )
        if kind is float:
            _check_float(name, item, default)
        if bounds is not None and item not in bounds:
            raise ConfigError(
                f"{name} = {item!r} is outside {bounds}; try {default!r}."
            )


def _converted(kind: type, item: Any, default: Any) -> Any:
    """A value of the right type: the item's own if it has one, else the default."""
    if kind is str and isinstance(item, pathlib.PurePath):
        return str(item)
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        number = float(item)
        if kind is float or (kind is int and number.is_integer()):
            return kind(number)
    return default


def _is_of(kind: type, item: Any) -> bool:
    if kind is float:
        return isinstance(item, int | float) and not isinstance(item, bool)
    return type(item) is kind


def _check_float(name: str, value: float, default: Any) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"{name} = {value!r} must be finite; try {default!r}.")
    if value != 0 and not 1e-38 < abs(value) < 1e38:
        raise ConfigError(
            f"{name} = {value!r} does not fit in float32; try {default!r}."
        )


def _check_seeds(config: Config, lengths: LoopLengths) -> None:
    if config.first_seed + config.num_seeds > 2**32:
        raise ConfigError(
            f"first_seed = {config.first_seed} leaves no room for num_seeds = "
            f"{config.num_seeds}: the last seed is 2**32 - 1. Lower first_seed."
        )


def _check_counters(config: Config, lengths: LoopLengths) -> None:
    """Check that steps and updates fit in 32-bit counters, and that a run learns."""
    if config.total_steps <= lengths.warmup_steps:
        raise ConfigError(
            f"total_steps = {config.total_steps} is not more than the warm-up's "
            f"{lengths.warmup_steps} environment steps: nothing would be learned. "
            "Raise total_steps, or lower warmup_steps or num_envs."
        )
    if lengths.total_steps > MAX_INT32:
        raise ConfigError(
            f"total_steps = {config.total_steps} rounds up to {lengths.total_steps}, "
            f"more than the {MAX_INT32} that a step counter holds. Lower it, or lower "
            "eval_points so that points divide it."
        )
    updates = lengths.iterations * lengths.num_updates
    if updates > MAX_INT32:
        raise ConfigError(
            f"num_updates = {config.num_updates} makes {updates} gradient steps, more "
            f"than the {MAX_INT32} that a counter holds. Lower it, or total_steps."
        )


def _check_replay(config: Config, lengths: LoopLengths) -> None:
    if config.rollout_length or config.dataset is not None:
        return
    window = loop_lengths.window(config) + config.frame_stack - 1
    if lengths.buffer_rows <= window:
        parts = annealing.longest_field(config)
        if config.spr_steps is not None:
            parts += f", spr_steps = {config.spr_steps}"
        if config.frame_stack > 1:
            parts += f", frame_stack = {config.frame_stack}"
        if config.recurrent != "none":
            parts += (
                f", burn_in = {config.burn_in} and sequence_length = "
                f"{config.sequence_length}"
            )
        raise ConfigError(
            f"buffer_size = {config.buffer_size} keeps {lengths.buffer_rows} steps of "
            f"each of {config.num_envs} environments; {parts} needs more. Set "
            f"buffer_size to {(window + 1) * config.num_envs} or more."
        )
    if config.buffer_size > MAX_INT32 // 2:
        raise ConfigError(
            f"buffer_size = {config.buffer_size} is more than {MAX_INT32 // 2}, the "
            "most that an index can address. Lower it."
        )
    if config.batch_size > config.buffer_size:
        raise ConfigError(
            f"batch_size = {config.batch_size} exceeds buffer_size = "
            f"{config.buffer_size}. Lower batch_size or raise buffer_size."
        )


def _check_returns(config: Config, lengths: LoopLengths) -> None:
    annealing.check_discount(config)
    if config.return_estimator != "n_step" and annealing.longest_return(config) == 1:
        raise ConfigError(
            f"return_estimator = {config.return_estimator!r} corrects the returns of "
            "n_step steps, but n_step = 1. Set n_step to the length of a return, for "
            "example 5."
        )


def _check_ensemble(config: Config, lengths: LoopLengths) -> None:
    subset = config.ensemble_subset
    if config.ensemble_size > 1 and subset and subset > config.ensemble_size:
        raise ConfigError(
            f"ensemble_subset = {subset} exceeds ensemble_size = "
            f"{config.ensemble_size}. Lower it, or leave it out to take all."
        )


def _check_return_bounds(config: Config, lengths: LoopLengths) -> None:
    """Check that a histogram of returns has a range."""
    low, high = config.v_min, config.v_max
    if low is not None and high is not None and low >= high:
        raise ConfigError(
            f"v_min = {config.v_min} must be below v_max = {config.v_max}; they bound "
            "the returns that a histogram can hold."
        )
    if config.head in HISTOGRAMS and None in (config.v_min, config.v_max):
        bonus = " with an intrinsic bonus" * (config.intrinsic_bonus != "none")
        raise ConfigError(
            f"head = {config.head!r} needs v_min and v_max, the smallest and largest "
            f"discounted return, and those of {config.environment} at discount = "
            f"{config.discount}{bonus} are not known. Give both, for example --v-min "
            "-10 --v-max 10."
        )


def _check_time_limit(config: Config, lengths: LoopLengths) -> None:
    if config.time_limit is not None:
        check_time_limit(config, config.time_limit)


def check_time_limit(config: Config, time_limit: float) -> None:
    """Raise for a limit so short that nothing could be learned from an episode.

    A rollout holds the successors of truncated steps, a ring does not.
    """
    held = config.rollout_length > 0 and config.next_value != "sarsa"
    held &= config.recurrent == "none"
    if time_limit < 2 and not held and not config.timeout_is_terminal:
        raise ConfigError(
            f"a time_limit of {time_limit:g}: every step would be truncated, without a "
            "successor to replay. Use a longer limit, or timeout_is_terminal."
        )


_CHECKS: tuple[Callable[[Config, LoopLengths], None], ...] = (
    hyperparameters.check,
    _check_seeds,
    _check_counters,
    _check_replay,
    _check_returns,
    rollouts.check,
    _check_ensemble,
    normalization.check,
    plasticity.check,
    _check_return_bounds,
    epsilon.check,
    suites.check_config,
    _check_time_limit,
)
