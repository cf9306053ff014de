"""The effects of a sweep's settings: the fields that are read, and their values.

Two settings that differ only in fields without effect would train the same bits twice,
and share two places of the ranking.
"""

from collections.abc import Hashable, Iterable, Sequence

from jaxq.agents import field_effects
from jaxq.config import field_usage
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs import make
from jaxq.sweeps import planning, search_space
from jaxq.sweeps.search_space import Setting

Effect = frozenset[tuple[str, Hashable]]  # of fields and their values


def effect(base: Config, setting: Setting) -> Effect:
    """The fields of a setting that are read; equal ones train the same bits."""
    config = planning.resolved(base, setting)
    # Parameters of an environment do not change the torso.
    fields = {k: v for k, v in setting.items() if not search_space.is_argument(k)}
    spec = make.from_config(search_space.apply(base, fields)).spec
    read = field_usage.read(field_effects.with_torso(config, spec))
    return frozenset((name, getattr(config, name)) for name in read)


def unread(names: Iterable[str], effects: Iterable[Effect]) -> list[str]:
    """Those of some fields that no setting reads."""
    read = {name for pairs in set(effects) for name, _ in pairs}
    return [n for n in names if n not in read and not search_space.is_argument(n)]


def check_swept(settings: Sequence[Setting], effects: Sequence[Effect]) -> None:
    """Raise for a field that is swept without effect.

    Args:
        settings: of the sweep, all of the same fields.
        effects: the effect of each.

    Raises:
        ConfigError: with the fields, and the parts that would read them.
    """
    names = unread(settings[0], effects)
    if names:
        reasons = "; ".join(f"{name}: {field_usage.reason(name)}" for name in names)
        raise ConfigError(
            f"a sweep over {' and '.join(names)} has no effect: no setting reads it "
            f"({reasons})."
        )


def distinct(
    settings: Sequence[Setting], effects: Sequence[Effect]
) -> tuple[list[Setting], str]:
    """Leave out settings that differ from earlier ones only in fields without effect.

    Returns:
        The other settings, and a note on those left out; it is empty if there are none.
    """
    first: dict[Effect, Setting] = {}
    differing: list[list[str]] = []  # fields of every setting that is left out
    for pairs, setting in zip(effects, settings, strict=True):
        other = first.setdefault(pairs, setting)
        names = [name for name in setting if setting[name] != other[name]]
        differing += [names] if names else []
    if not differing:
        return list(first.values()), ""
    ignored = dict.fromkeys(name for names in differing for name in names)
    return list(first.values()), (
        f"left out {len(differing)} of {len(settings)} settings, which differ from "
        f"others only in {' and '.join(ignored)}, without effect there"
    )
