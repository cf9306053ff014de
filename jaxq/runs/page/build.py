"""report.html: one file from a template, with its data as JSON.

The page is made of sections, dictionaries that `curves`, `tables` and a parallel plot
make; its scripts draw them. It loads nothing and executes none of its data.
"""

import base64
import html
import json
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxq.runs import files

FILES = pathlib.Path(__file__).parent
SCRIPTS = "basics.js", "tables.js", "curves.js", "parallel.js", "page.js"
MAX_BYTES = 300_000  # of a page
TABLE_BYTES = 60_000  # of all tables of a page
MAX_TEXT = 160  # characters of a text in a table

Section = dict[str, Any]


class Page(NamedTuple):
    """The contents of a page."""

    title: str
    headline: str
    warnings: Sequence[str]
    facts: Mapping[str, str]  # name -> text
    sections: Sequence[Section]


def write(path: pathlib.Path, page: Page) -> None:
    """Write a page, atomically."""
    files.write_text(path, text(page))


def text(page: Page) -> str:
    """The HTML of a page."""
    data = json.dumps(page._asdict(), allow_nan=False, separators=(",", ":"))
    parts = {
        "title": html.escape(page.title),
        "style": _read("report.css"),
        # No text of the data can end the element that holds it.
        "data": data.replace("<", r"\u003c"),
        "script": "".join(map(_read, SCRIPTS)),
    }
    template = _read("report.html")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _read(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")


def encode(values: np.ndarray) -> str:
    """Numbers as base64 of little-endian floats, with all their bits.

    "f4:" precedes single precision, which is used if it holds the numbers exactly, and
    "f8:" double precision.
    """
    name = "f4" if is_single(values) else "f8"
    content = np.asarray(values, f"<{name}").tobytes()
    return f"{name}:{base64.b64encode(content).decode()}"


def is_single(values: np.ndarray) -> bool:
    """Whether single precision holds numbers exactly."""
    with np.errstate(over="ignore"):
        single = np.asarray(values, np.float32)
    return np.array_equal(single, values, equal_nan=True)


def decode(text: str) -> np.ndarray:
    """The numbers of `encode`."""
    name, _, content = text.partition(":")
    return np.frombuffer(base64.b64decode(content), f"<{name}")


def table(
    heading: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    notes: Sequence[str] = (),
    elsewhere: str = "",
    max_bytes: int = TABLE_BYTES,
    folded: bool = False,
) -> Section:
    """A table that can be sorted by any column.

    Args:
        heading: above the table.
        columns: names of the columns.
        rows: numbers, texts and None.
        notes: below the table.
        elsewhere: file with the rows that do not fit, for the note on them.
        max_bytes: size of the rows; those beyond it are left out, with a note.
        folded: whether the table is hidden until it is opened.
    """
    cells = [[cell(value) for value in row] for row in rows]
    sizes = np.cumsum([len(json.dumps(row)) for row in cells])
    fitting = max(1, int(np.searchsorted(sizes, max_bytes, side="right")))
    notes = list(notes)
    if fitting < len(cells):
        where = f"; {elsewhere} has all of them" if elsewhere else ""
        notes.append(f"The first {fitting} of {len(cells)} rows are shown{where}.")
    return {
        "kind": "table",
        "heading": heading,
        "columns": list(columns),
        "rows": cells[:fitting],
        "notes": notes,
        "folded": folded,
    }


def cell(value: Any) -> float | int | str | None:
    """A value in a table: a number, a text, or None for an empty cell.

    Numbers that are not finite, booleans and sequences become text.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "none"
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value)) or "none"
    value = str(value)
    return value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
