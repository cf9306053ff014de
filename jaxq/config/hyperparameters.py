"""Hyper-parameters of an algorithm of a user's own: the arguments of its function.

A function (config, spec, *, beta: Annotated[float, Range(0, 1)] = 0.5) has the
hyper-parameter beta, which `algorithm_args` sets as "beta=0.3". Floats are traced;
integers, booleans, strings and the choices of a Literal are static.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from jaxq.config import algorithm_table, user_code
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError, Range, did_you_mean, json_value
from jaxq.config.loop_lengths import LoopLengths

FINITE = Range(-1e38, 1e38)
_EXPECTED = {float: "a number", int: "an integer", bool: "true or false", str: "text"}


def check(config: Config, lengths: LoopLengths) -> None:
    """Check the names of a user's own code and hyper-parameters, as `validate` does.

    Raises:
        ConfigError: if one is malformed, or an algorithm of jaxq is given any.
    """
    for field in user_code.FIELDS:
        user_code.check_form(field, getattr(config, field))
    names = split(config.algorithm_args, "algorithm_args")
    if names and config.algorithm in algorithm_table.ALGORITHMS:
        raise ConfigError(
            f"algorithm_args: {config.algorithm} has no hyper-parameter "
            f"{next(iter(names))!r}; only algorithms of your own have any. Set "
            "fields of the configuration with their flags, which --help-all lists."
        )


class Hyperparameter(NamedTuple):
    """An argument of an algorithm's function."""

    default: Any
    kind: type
    choices: tuple[Any, ...] = ()
    bounds: Range | None = None

    @property
    def traced(self) -> bool:
        """Whether it is an input of the compiled program."""
        return self.kind is float and not self.choices

    @property
    def expected(self) -> str:
        """Its valid values, in words."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        inside = f" in {self.bounds}" if self.bounds else ""
        return f"{_EXPECTED[self.kind]}{inside}"


def declared(name: str, function: Callable[..., Any]) -> dict[str, Hyperparameter]:
    """The hyper-parameters of an algorithm: its arguments after `config` and `spec`.

    Args:
        name: of the algorithm, for messages.
        function: the algorithm.

    Raises:
        ConfigError: if it is not a function (config, spec), or one of its
            hyper-parameters has no default or another type.
    """
    try:
        signature = inspect.signature(function)
        signature.bind(None, None)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"algorithm = {name!r} must be a function (config, spec) -> Agent whose "
            f"other arguments have defaults, but it is {function!r} ({error})."
        ) from error
    arguments = list(signature.parameters.values())[2:]
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    own = [a for a in arguments if a.kind not in variable]
    # The annotations of `config` and `spec` may be names that only type checkers know.
    annotations = {a.name: a.annotation for a in own if a.annotation is not a.empty}
    try:
        hints = typing.get_type_hints(
            types.SimpleNamespace(__annotations__=annotations),
            getattr(inspect.unwrap(function), "__globals__", {}),
            include_extras=True,
        )
    except NameError as error:
        raise ConfigError(
            f"algorithm = {name!r}: an annotation of its hyper-parameters cannot be "
            f"read ({error}). Import that name outside `if TYPE_CHECKING`."
        ) from error
    return {a.name: _declared(name, a, hints.get(a.name)) for a in own}


def _declared(name: str, argument: inspect.Parameter, hint: Any) -> Hyperparameter:
    """A hyper-parameter, from its annotation and its default."""
    default = argument.default
    metadata: tuple[Any, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, metadata = typing.get_args(hint)[0], hint.__metadata__
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    kind = hint if isinstance(hint, type) else type(default)
    bounds = next((m for m in metadata if isinstance(m, Range)), None)
    declaration = Hyperparameter(default, kind, choices, bounds)
    if kind not in _EXPECTED or not _is_valid(declaration, default):
        expected = declaration.expected if kind in _EXPECTED else "supported"
        raise ConfigError(
            f"algorithm = {name!r}: the default of {argument.name}, {default!r}, is "
            f"not {expected}. A hyper-parameter is a float, an int, a bool, a str or "
            "a Literal, with a valid default."
        )
    return declaration


def _is_valid(declaration: Hyperparameter, value: Any) -> bool:
    if declaration.choices:
        return value in declaration.choices
    kinds = (int, float) if declaration.kind is float else (declaration.kind,)
    if type(value) not in kinds or (kinds[-1] is float and value not in FINITE):
        return False
    return declaration.bounds is None or value in declaration.bounds


def values(
    name: str, declarations: Mapping[str, Hyperparameter], args: tuple[str, ...]
) -> dict[str, Any]:
    """The value of every hyper-parameter: the given one, or the default.

    Raises:
        ConfigError: for an unknown name, or a value out of range.
    """
    given = split(args, "algorithm_args")
    for key in given.keys() - declarations.keys():
        known = ", ".join(declarations) or "none"
        raise ConfigError(
            f"algorithm_args: {name} has no hyper-parameter {key!r}."
            f"{did_you_mean(key, declarations)} It declares {known}."
        )
    return {
        key: _value(name, key, declaration, given[key])
        if key in given
        else declaration.kind(declaration.default)
        for key, declaration in declarations.items()
    }


def _value(name: str, key: str, declaration: Hyperparameter, text: str) -> Any:
    if declaration.choices:
        value = next((c for c in declaration.choices if str(c) == text), text)
    else:
        value = text if declaration.kind is str else parse(text)
    if isinstance(value, float) and value.is_integer() and declaration.kind is int:
        value = int(value)
    if not _is_valid(declaration, value):
        raise ConfigError(
            f"algorithm_args: {key} = {value!r} of {name} must be "
            f"{declaration.expected}; the default is {declaration.default!r}."
        )
    return value if declaration.choices else declaration.kind(value)


def split(args: tuple[str, ...], field: str) -> dict[str, str]:
    """Split name=value strings of a field.

    Raises:
        ConfigError: if one is malformed, or a name is given twice.
    """
    texts: dict[str, str] = {}
    for argument in args:
        key, equals, text = argument.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"{field} = {argument!r} is not of the form name=value.")
        if key in texts:
            raise ConfigError(f"{field}: {key} is given twice.")
        texts[key] = text
    return texts


def parse(text: str) -> Any:
    """A value: true, false, none or JSON, or else a string."""
    literals = {"true": True, "false": False, "none": None}
    if text.lower() in literals:
        return literals[text.lower()]
    try:
        return json_value(text)
    except ValueError:
        return text


def join(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The inverse of `split`."""
    return tuple(f"{key}={value}" for key, value in values.items())
