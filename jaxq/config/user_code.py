"""Environments and algorithms of a user's own, named `module:attribute`.

Importing a module runs it. A name that the user gives is imported when it is first
used; a name that only a file gives is not imported unless the user allows it.
"""

import importlib
import os
import re
import sys
from collections.abc import Container, Mapping
from typing import Any

from jaxq.config import aliases
from jaxq.config.fields import ConfigError, did_you_mean

FIELDS = ("environment", "algorithm")  # that may name code


def is_code(name: object) -> bool:
    """Whether a name is one of a user's code; those of suites have two colons."""
    return isinstance(name, str) and ":" in name and "::" not in name


def check_form(field: str, name: str) -> None:
    """Raise if a name with a colon is not of the form `module:attribute`."""
    if is_code(name) and not re.fullmatch(r"[^\W\d][\w.]*(?<!\.):[^\W\d]\w*", name):
        raise ConfigError(
            f"{field} = {name!r} is not of the form module:attribute, such as "
            "my_package.envs:Maze."
        )


def flags(values: Mapping[str, Any]) -> list[str]:
    """The flags of those fields that name code."""
    named = {field: values[field] for field in FIELDS if is_code(values.get(field))}
    return [word for k, name in named.items() for word in (aliases.flag(k), name)]


def load(field: str, name: str) -> Any:
    """The attribute that a field names; imports its module.

    Modules of the working directory are found as well, as by `python -m`.

    Raises:
        ConfigError: if the module cannot be imported, or has no such attribute.
    """
    check_form(field, name)
    module_name, _, attribute = name.partition(":")
    directory = os.getcwd()
    if directory not in sys.path and "" not in sys.path:
        sys.path.insert(0, directory)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{field} = {name!r}: {module_name} cannot be imported "
            f"({type(error).__name__}: {error}). Modules are searched for in the "
            f"working directory, {directory}, and on Python's path."
        ) from error
    if not hasattr(module, attribute):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise ConfigError(
            f"{field} = {name!r}: {module_name} has no attribute {attribute!r}."
            f"{did_you_mean(attribute, public)}"
        )
    return getattr(module, attribute)


def check_permitted(
    values: Mapping[str, Any], source: str, given: Container[Any], remedy: str
) -> None:
    """Raise if a file names code that the user has not named as well.

    Args:
        values: field -> value, as in the file.
        source: the file.
        given: names of code that the user gives.
        remedy: how to allow the import; {flags} stands for the missing flags.

    Raises:
        ConfigError: with the names; nothing has been imported.
    """
    missing = flags({k: values.get(k) for k in FIELDS if values.get(k) not in given})
    if missing:
        names = " and ".join(missing[1::2])
        raise ConfigError(
            f"{source} names code, {names}, which is not imported unless you allow it, "
            "because importing a module runs it. "
            f"{remedy.format(flags=' '.join(missing))}"
        )
