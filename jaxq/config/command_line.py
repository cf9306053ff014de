"""Reading of a command line with tyro: the same for every script."""

import contextlib
import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, TypeVar

import tyro

from jaxq.config.fields import whole_number

_T = TypeVar("_T")
_REGISTRY = tyro.constructors.ConstructorRegistry()


@_REGISTRY.primitive_rule
def _integers(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """Let integers be written as 1e6."""
    if info.type is not int:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


def read(arguments: type[_T], description: str | None = "", **options: Any) -> _T:
    """Read the flags of a dataclass; exits with a message if they are malformed.

    Args:
        arguments: a dataclass with one field per flag.
        description: shown by `--help`.
        options: of `tyro.cli`: `default` values, and `args` for those of the process.
    """
    with until_closed():
        return tyro.cli(
            arguments,
            description=wrap(description or "", " "),
            prog=" ".join(program()),
            registry=_REGISTRY,
            **options,
        )


@contextlib.contextmanager
def until_closed() -> Iterator[None]:
    """End the process quietly once nobody reads its output, as in `--help | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def program() -> list[str]:
    """Words that start the running script: its path, or -m and its module."""
    spec = sys.modules["__main__"].__spec__
    if spec is not None and spec.origin == sys.argv[0]:
        return ["-m", spec.name]
    return [sys.argv[0]]


def wrap(text: str, indent: str = "") -> str:
    """Paragraphs wrapped to the terminal.

    tyro does not wrap them, and joins lines unless there is an `indent`.
    """
    width = min(shutil.get_terminal_size().columns, 88)
    return "\n\n".join(
        paragraph
        if paragraph.startswith(" ")
        else textwrap.fill(" ".join(paragraph.split()), width, subsequent_indent=indent)
        for paragraph in inspect.cleandoc(text).split("\n\n")
    )
