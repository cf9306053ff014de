"""The configuration of an experiment.

The fields are declared in groups, in `jaxq.config.basics` and `jaxq.config.components`,
each with its type, range, unit and meaning. One declaration gives the flag and its
help, the range check, the axis of a sweep, and whether the field is *traced*, an input
of the compiled program, or *static*, compiled into it.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from jaxq.config import (
    algorithm_table,
    aliases,
    average_reward,
    environment_table,
)
from jaxq.config.basics import (
    EnvironmentOptions,
    Evaluation,
    Experiment,
    Exploration,
    Optimization,
    Replay,
)
from jaxq.config.components import (
    NetworkLayers,
    Plasticity,
    Representation,
    Rollouts,
    Sampling,
)
from jaxq.config.estimates import ReturnRepresentation, Target
from jaxq.config.fields import TRACED, ConfigError, check_name
from jaxq.config.recurrence import Recurrence
from jaxq.config.versions import ADDED

__all__ = [
    "ENVIRONMENT_OPTIONS",
    "Config",
    "annotation",
    "from_json",
    "given",
    "preset",
    "static_fields",
    "traced_fields",
]

# Fields that, besides its name, define an environment.
ENVIRONMENT_OPTIONS = (
    "environment_args",
    "time_limit",
    "sticky_actions",
    "full_action_set",
)

_Class = TypeVar("_Class", bound=type)


def _resolved(cls: _Class) -> _Class:
    """Let the algorithm and the environment fill in the fields that are not given."""
    assign: Callable[..., None] = cls.__init__  # type: ignore[misc]
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}

    @functools.wraps(assign)
    def init(self: Any, **fields: Any) -> None:
        # `dataclasses.replace` passes its changes, then `given`, then all other fields.
        names = list(fields)
        if "given" in fields:
            given = {*fields.pop("given"), *names[: names.index("given")]}
            fields = {name: fields[name] for name in given if name in fields}
        for unknown in fields.keys() - defaults.keys():
            hint = aliases.suggest(unknown, defaults)
            raise TypeError(f"Config has no field {unknown!r}.{hint}")
        assign(self, **_resolve(defaults, fields))
        object.__setattr__(self, "given", frozenset(fields))

    cls.__init__ = init  # type: ignore[misc]
    return cls


def _resolve(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all fields: of a given one, its value; else of the tables; else plain.

    Values of a wrong type are kept, for `validate` to report.
    """
    algorithm = str(given.get("algorithm", defaults["algorithm"]))
    fields = {**defaults, **algorithm_table.components(algorithm), **given}
    implied = average_reward.filled_in(fields)
    fields = {**fields, **implied, **given}
    return {**fields, **environment_table.filled_in(fields), **implied, **given}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields(
    Rollouts,
    Sampling,
    ReturnRepresentation,
    Evaluation,
    Exploration,
    Plasticity,
    Representation,
    Recurrence,
    NetworkLayers,
    Optimization,
    Target,
    Replay,
    EnvironmentOptions,
    Experiment,
):
    """All settings that affect results."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Given:
    """Hands `given` to `dataclasses.replace`, before all other fields."""

    given: dataclasses.InitVar[frozenset[str]] = frozenset()


@_resolved
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Fields, _Given):
    """All settings that affect results, always resolved.

    `algorithm` fills in the fields that it is made of, and `environment` the settings
    that learn it, unless `defaults` is "plain". Only fields that are not given are
    filled in: a given value always wins, even one that equals the default.

        Config(algorithm="rainbow").n_step                          3, Rainbow's
        Config(algorithm="rainbow", n_step=1).n_step                1
        Config(algorithm="rainbow", prioritized=False)              an ablation
        Config(environment="Acrobot-v1", algorithm="c51").v_min     -110.0

    `dataclasses.replace` keeps what was given. Changing `algorithm` or `environment`
    with it therefore fills in what belongs to the new one, and drops what belongs to
    the old one:

        dataclasses.replace(Config(num_seeds=3), algorithm="rainbow")
            equals Config(num_seeds=3, algorithm="rainbow")

    Attributes:
        given: names of the fields that were given, by the constructor or by
            `dataclasses.replace`. It is ignored in comparisons.
    """


def preset(name: str, **changes: Any) -> Config:
    """The configuration of a paper: its components, its settings, and changes.

    The settings count as given, and other fields are plain. A change of `algorithm`
    therefore keeps them, but drops the components of the preset's own algorithm.

    Raises:
        ConfigError: for a name that is not in the table of algorithms.
    """
    check_name("preset", name, algorithm_table.ALGORITHMS)
    settings = algorithm_table.ALGORITHMS[name].settings
    return Config(**{"algorithm": name, "defaults": "plain", **settings, **changes})


def given(config: Config) -> frozenset[str]:
    """Names of the fields that were given; see `Config`."""
    return vars(config)["given"]


@functools.cache
def annotation(field: str) -> tuple[type, tuple[Any, ...], bool]:
    """Type, metadata and optionality of a field, read from its annotation."""
    hint = typing.get_type_hints(Config, include_extras=True)[field]
    optional = type(None) in typing.get_args(hint)
    if optional:
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Annotated:
        return typing.get_args(hint)[0], hint.__metadata__, optional
    return hint, (), optional


@functools.cache
def traced_fields() -> tuple[str, ...]:
    """Names of the fields that are inputs of the compiled program."""
    names = [field.name for field in dataclasses.fields(Config)]
    return tuple(name for name in names if TRACED in annotation(name)[1])


@functools.cache
def static_fields() -> tuple[str, ...]:
    """Names of the fields that are compiled into the program."""
    traced = traced_fields()
    names = [field.name for field in dataclasses.fields(Config)]
    return tuple(name for name in names if name not in traced)


def changed(config: Config, base: Config | None = None) -> list[str]:
    """Names of the fields that differ from those of `base`, or from the defaults."""
    base = base or Config()
    names = [field.name for field in dataclasses.fields(Config)]
    return [name for name in names if getattr(config, name) != getattr(base, name)]


def from_json(fields: Any, given: Iterable[str] | None = None) -> Config:
    """A configuration from its fields in JSON.

    Args:
        fields: every field; a list stands for a tuple.
        given: names of the fields that were given; None means all.

    Raises:
        ConfigError: if the fields are not those of this version, or this version would
            fill in other values for those that were not given.
    """
    if not isinstance(fields, dict):
        raise ConfigError(f"{str(fields)[:80]!r} is not a configuration.")
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
    }
    added = ADDED.keys() - values.keys()
    values = {**ADDED, **values}
    values.pop("schema", None)
    mismatched = set(values) ^ {field.name for field in dataclasses.fields(Config)}
    if mismatched:
        raise ConfigError(
            "the configuration was written by another version of jaxq: the fields "
            f"{', '.join(sorted(mismatched))} exist in only one of them."
        )
    config = Config(**values)
    if given is None:
        return config
    names = added.union(given) & values.keys()
    resolved = Config(**{name: values[name] for name in names})
    if resolved != config:
        raise ConfigError(
            "the configuration was written by another version of jaxq, with other "
            f"settings for {config.algorithm} or {config.environment}."
        )
    return resolved
