"""Flags in groups, with their descriptions, as `--help` shows them."""

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union


class Flag(NamedTuple):
    """A flag, its type annotation, its default and its description."""

    name: str
    hint: Any
    default: Any
    text: str

    @property
    def type(self) -> Any:
        """The type of a value, or of the items of a tuple."""
        hint = self.hint
        while typing.get_origin(hint) in (Annotated, tuple, Union, types.UnionType):
            hint = typing.get_args(hint)[0]
        return hint

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a choice; empty for other types."""
        is_choice = typing.get_origin(self.type) is Literal
        return typing.get_args(self.type) if is_choice else ()


class Group(NamedTuple):
    """Flags under a title."""

    title: str
    description: str
    flags: list[Flag]


def declared(part: Any, values: Any) -> list[Flag]:
    """The flags that a dataclass itself declares, with their defaults in `values`."""
    hints = typing.get_type_hints(part, include_extras=True)
    texts = _docstrings(part.__module__).get(part.__name__, {})
    own = inspect.get_annotations(part)
    names = [f.name for f in dataclasses.fields(part) if f.name in own]
    return [Flag(n, hints[n], getattr(values, n), texts.get(n, "")) for n in names]


def of_options(options: Any) -> Iterator[Group]:
    """A group for each class of a dataclass that declares some of its fields."""
    parts: tuple[Any, ...] = type(options).__mro__[:-1]
    for part in parts:
        yield Group(part.title, part.__doc__, declared(part, options))


@functools.cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Class -> field -> the docstring that follows it, from the source of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:  # there is no source
        return {}
    return {
        node.name: {
            field.target.id: " ".join(ast.literal_eval(text.value).split())
            for field, text in itertools.pairwise(node.body)
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
        }
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
