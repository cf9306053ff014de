"""Files of results/, and the provenance of their numbers."""

import functools
import json
import pathlib
from collections.abc import Iterable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(*parts: str) -> dict[str, Any]:
    """Read a JSON file below results/; the same object for every caller."""
    return _read((ROOT / "results").joinpath(*parts))


@functools.cache
def _read(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def hardware(manifest: dict[str, Any]) -> str:
    """Devices, versions and commit behind a number."""
    versions = manifest["versions"]
    return (
        f"{len(manifest['devices'])} x {manifest['devices'][0]}, jax "
        f"{versions['jax']}, gymnax {versions['gymnax']}, commit {commit(manifest)}"
    )


def commit(manifest: dict[str, Any]) -> str:
    """Short hash of the commit behind a number."""
    return (manifest["commit"] or "none")[:7]


def made_with(manifests: Iterable[dict[str, Any]]) -> str:
    """Sentence that lists the hardware, versions and commits behind a table."""
    return f"Made with {'; '.join(sorted(set(map(hardware, manifests))))}"


def interval(final: dict[str, Any]) -> str:
    """IQM with its confidence interval, if it has one."""
    iqm, *ends = map(rounded, (final["iqm"], *(final["confidence_95"] or ())))
    return f"{iqm} [{', '.join(ends)}]" if ends else iqm


def rounded(score: float) -> str:
    """A return with one decimal, or two if it is small."""
    decimals = 1 if abs(score) >= 10 else 2
    return f"{round(score, decimals) + 0.0:.{decimals}f}"  # never -0.0


def page_link(algorithm: str) -> str:
    """Link to the page of an algorithm, from the root of the repository."""
    return f"[`{algorithm}`](results/algorithms/{algorithm}.md)"


def gallery(pictures: list[tuple[str, str]], columns: int = 2) -> str:
    """Pictures in the cells of a table.

    Args:
        pictures: text and path, from the root of the repository.
        columns: pictures in a row.
    """
    cells = [f"![{text}]({path})" for text, path in pictures]
    columns = min(columns, len(cells))
    rows = [
        "| " + " | ".join(cells[i : i + columns]) + " |"
        for i in range(0, len(cells), columns)
    ]
    return "\n".join([rows[0], "|" + " --- |" * columns, *rows[1:]])
