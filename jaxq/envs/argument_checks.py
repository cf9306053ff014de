"""Checks of the arguments of environments, before anything is constructed."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxq.config import hyperparameters
from jaxq.config.fields import MAX_INT32, ConfigError, Range, did_you_mean

POSITIVE = Range(0, 1e38, open_low=True)
PROBABILITY = Range(0, 1)
FINITE = Range(-1e38, 1e38)
COUNT = Range(1, MAX_INT32)
INT32 = Range(-MAX_INT32, MAX_INT32)
# Ranges of gymnax's parameters and constructor arguments; other integers are counts,
# and other floats finite.
RANGES = {
    **dict.fromkeys(("fail_prob", "reward_prob", "success_rate"), PROBABILITY),
    **dict.fromkeys(("torque_noise_max", "sigma_p", "sigma_l"), Range(0, 1e38)),
    **dict.fromkeys(
        ("mapping_seed", "n_distractor", "shot_cool_down", "ball_max_y_speed"),
        Range(0, MAX_INT32),
    ),
    **dict.fromkeys(
        (
            "masscart", "masspole", "total_mass", "length", "polemass_length", "tau",
            "theta_threshold_radians", "x_threshold", "max_speed", "max_torque", "dt",
            "m", "l", "link_length_1", "link_length_2", "link_mass_1", "link_mass_2",
            "link_com_pos_1", "link_com_pos_2", "link_moi", "max_vel_1", "max_vel_2",
        ),
        POSITIVE,
    ),
}  # fmt: skip


def parse(args: tuple[str, ...]) -> dict[str, Any]:
    """Parse name=value strings; a value is JSON, or else a string."""
    texts = hyperparameters.split(args, "environment_args")
    return {key: hyperparameters.parse(text) for key, text in texts.items()}


def replaced(name: str, params: Any, changes: Mapping[str, Any]) -> Any:
    """An environment's parameters, a dataclass, with checked changes.

    Raises:
        ConfigError: for an unknown parameter, or a bad value.
    """
    fields = [field.name for field in dataclasses.fields(params)]
    for key in changes:
        if key not in fields:
            raise ConfigError(
                f"environment_args: {name} has no parameter {key!r}."
                f"{did_you_mean(key, fields)} Its parameters: {', '.join(fields)}."
            )
    return dataclasses.replace(params, **check_parameters(name, changes, params))


def check_parameters(
    name: str,
    changes: Mapping[str, Any],
    defaults: Any,
    ranges: Mapping[str, Range] | None = None,
) -> dict[str, Any]:
    """Check changes of an environment's parameters, and convert them.

    Args:
        name: of the environment.
        changes: parameter -> value.
        defaults: object with the default of every parameter.
        ranges: parameter -> range, of a user's own environment, whose other numbers
            are only finite; None means gymnax's.

    Returns:
        The changes, each of the type of its default: 1e3 may stand for 1000, and 1
        for 1.0.

    Raises:
        ConfigError: for another type than the default's, or a number out of range.
    """
    checked = {}
    for key, value in changes.items():
        default = getattr(defaults, key)
        if key == "max_steps_in_episode":  # a float in one of gymnax's environments
            default = int(default)
        if not isinstance(default, bool | int | float):
            raise ConfigError(
                f"environment_args: {key} of {name} is an array, {default}, which "
                "cannot be set by name. Construct the environment, and pass it to "
                "jaxq.adapt with these parameters."
            )
        checked[key] = _check(name, key, value, default, ranges)
    return checked


def check_constructor(
    name: str,
    arguments: Mapping[str, Any],
    constructor: Callable[..., Any],
    ranges: Mapping[str, Range] | None = None,
) -> dict[str, Any]:
    """Check the arguments of a constructor whose defaults are numbers; see above.

    Others, among them unknown ones, are left to the constructor.
    """
    parameters = inspect.signature(constructor).parameters
    defaults = {key: getattr(parameters.get(key), "default", None) for key in arguments}
    return {
        key: _check(name, key, value, defaults[key], ranges)
        if isinstance(defaults[key], bool | int | float)
        else _check_finite(name, key, value)
        for key, value in arguments.items()
    }


def _check(
    name: str,
    key: str,
    value: Any,
    default: Any,
    ranges: Mapping[str, Range] | None,
) -> Any:
    """One value, of the type of its default and in its range."""
    kind = type(default)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind is bool:
        valid, expected = isinstance(value, bool), "true or false"
    else:
        if ranges is None:
            bounds = RANGES.get(key, COUNT if kind is int else FINITE)
        else:
            bounds = ranges.get(key, INT32 if kind is int else FINITE)
        valid = type(value) in {int, kind} and value in bounds
        expected = f"{'an integer' if kind is int else 'a number'} in {bounds}"
    if not valid:
        raise ConfigError(
            f"environment_args: {key} = {value!r} of {name} must be {expected}; the "
            f"default is {default!r}."
        )
    return kind(value)


def _check_finite(name: str, key: str, value: Any) -> Any:
    """A value without a range; its numbers must be finite."""
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, float) and number not in FINITE:
            raise ConfigError(
                f"environment_args: {key} = {value!r} of {name} must be finite."
            )
    return value
