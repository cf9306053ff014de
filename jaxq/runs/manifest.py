"""Provenance of a result: command, commit, versions and devices."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax

SCHEMA = "jaxq-run/1"
ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the repository
PACKAGES = (
    "jaxq",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "chex",
    "gymnax",
    "numpy",
    "scipy",
)


def collect(
    environment: str, devices: list[jax.Device], seed_block: int
) -> dict[str, Any]:
    """The content of manifest.json for a run that starts now.

    Args:
        environment: name of the environment.
        devices: one per worker.
        seed_block: seeds per vectorised block.
    """
    return {
        "schema": SCHEMA,
        "command": shlex.join(["python", _script(), *sys.argv[1:]]),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git(*_CHANGES)),
        "versions": {package: _version(package) for package in PACKAGES},
        "python": sys.version.split()[0],
        "environment": environment,
        "platform": devices[0].platform,
        "devices": [device.device_kind for device in devices],
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "xla_cpu_threads": os.environ.get("NPROC", ""),
        "seed_block": seed_block,
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "status": "running",
    }


def _script() -> str:
    """Path of the running script relative to the repository, or its name."""
    path = pathlib.Path(sys.argv[0]).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _cpu() -> str:
    """Model name of the processor, for which programs are compiled."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# Changes of tracked files, but for those to which measurements are added.
_CHANGES = (
    "status", "--porcelain", "--untracked-files=no", "--", ":(top,exclude)results",
)  # fmt: skip


def _git(*args: str) -> str | None:
    """Output of a git command on the source tree, or None outside a repository."""
    if not (ROOT / ".git").exists():
        return None
    try:
        process = subprocess.run(
            ["git", *args], cwd=ROOT, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 else None
