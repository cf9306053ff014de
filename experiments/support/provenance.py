"""Files of results/, and the provenance of their numbers."""

import json
import pathlib
from collections.abc import Iterable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(*parts: str) -> dict[str, Any]:
    """Read a JSON file below results/."""
    return json.loads((ROOT / "results").joinpath(*parts).read_text())


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
    ends = final["confidence_95"]
    return f"{final['iqm']:.1f}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "")
