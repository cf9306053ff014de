"""What a configuration must satisfy, checked before anything is compiled."""

import dataclasses
import math
import typing
from typing import Any, Literal

from jaxq.config import loop_lengths, presets
from jaxq.config.config import Config, annotation
from jaxq.config.fields import (
    MAX_INT32,
    ConfigError,
    Range,
)


def _check_field(name: str, value: Any, default: Any) -> None:
    kind, metadata, optional = annotation(name)
    if value is None and optional:
        return
    if isinstance(default, tuple):
        if not isinstance(value, tuple):
            raise ConfigError(f"{name} = {value!r} must be a tuple, e.g. {default!r}.")
        values = value
    else:
        values = (value,)
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(
                f"{name} = {value!r}: choose one of {', '.join(choices)}."
            )
        return
    for item in values:
        is_number = isinstance(item, int | float) and not isinstance(item, bool)
        fits = is_number if kind is float else type(item) is kind
        if not fits:
            raise ConfigError(
                f"{name} = {value!r} must be of type {kind.__name__}; try {default!r}."
            )
        bounds = next((m for m in metadata if isinstance(m, Range)), None)
        if kind is float and not math.isfinite(item):
            raise ConfigError(f"{name} = {item!r} must be finite; try {default!r}.")
        if kind is float and item != 0 and not 1e-38 < abs(item) < 1e38:
            raise ConfigError(
                f"{name} = {item!r} does not fit float32; try {default!r}."
            )
        if bounds is not None and item not in bounds:
            raise ConfigError(
                f"{name} = {item!r} is outside {bounds}; try {default!r}."
            )


def validate(config: Config) -> None:
    """Refuse a configuration that cannot run, before anything is compiled.

    Raises:
        ConfigError: names the field, its value, the range and the way out.
    """
    for field in dataclasses.fields(Config):
        _check_field(field.name, getattr(config, field.name), field.default)
    config = presets.compose(config)
    lengths = loop_lengths.loop_lengths(config)
    if config.first_seed + config.num_seeds > 2**32:
        raise ConfigError(
            f"first_seed = {config.first_seed} leaves no room for num_seeds = "
            f"{config.num_seeds}: seeds end at 2**32 - 1. Lower first_seed."
        )
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
    iterations = lengths.num_points * lengths.point_chunks * lengths.chunk_iterations
    if iterations * lengths.num_updates > MAX_INT32:
        raise ConfigError(
            f"num_updates = {config.num_updates} makes "
            f"{iterations * lengths.num_updates} gradient steps, more than the "
            f"{MAX_INT32} that a counter holds. Lower it, or total_steps."
        )
    if not config.rollout_length:
        _check_replay(config, lengths)
    if config.v_min >= config.v_max:
        raise ConfigError(
            f"v_min = {config.v_min} must be below v_max = {config.v_max}; they bound "
            "the returns that a histogram can hold."
        )
    if config.epsilon_end > config.epsilon_start:
        raise ConfigError(
            f"epsilon_end = {config.epsilon_end} is above epsilon_start = "
            f"{config.epsilon_start}; epsilon decays. Swap them."
        )
    if config.epsilon_schedule == "ladder":
        if config.epsilon_start == 1.0:
            raise ConfigError(
                "epsilon_start = 1.0 is the base of the ladder, and all its powers are "
                "1: every action would be random. Lower it; Ape-X has 0.4."
            )
        if config.num_envs == 1:
            raise ConfigError(
                "epsilon_schedule = 'ladder' gives every environment an epsilon of its "
                "own, and num_envs = 1. Raise num_envs."
            )
    if not config.timeout_is_terminal and config.time_limit is not None:
        check_time_limit(config.time_limit)


def _check_replay(config: Config, lengths: loop_lengths.LoopLengths) -> None:
    window = loop_lengths.window(config)
    if lengths.buffer_rows <= window:
        least = (window + 1) * config.num_envs
        parts = f"n_step = {config.n_step}"
        if config.recurrent != "none":
            parts += (
                f", burn_in = {config.burn_in} and sequence_length = "
                f"{config.sequence_length}"
            )
        raise ConfigError(
            f"buffer_size = {config.buffer_size} keeps {lengths.buffer_rows} steps of "
            f"each of {config.num_envs} environments; {parts} needs more. Set "
            f"buffer_size to {least} or more."
        )
    if config.buffer_size > MAX_INT32 // 2:
        raise ConfigError(
            f"buffer_size = {config.buffer_size} is more than {MAX_INT32 // 2}, what "
            "an index can address. Lower it."
        )
    if config.batch_size > config.buffer_size:
        raise ConfigError(
            f"batch_size = {config.batch_size} exceeds buffer_size = "
            f"{config.buffer_size}. Lower batch_size or raise buffer_size."
        )


def check_time_limit(time_limit: float) -> None:
    """Refuse a limit so short that no window ends before it.

    The last step of a truncated episode has no stored successor, so an episode of one
    step would leave nothing to learn from.
    """
    if time_limit < 2:
        raise ConfigError(
            f"a time_limit of {time_limit:g}: every step would be truncated, and a "
            "truncated step cannot be replayed because its successor is not stored. "
            "Use a longer limit, or timeout_is_terminal."
        )
