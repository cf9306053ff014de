"""What a result depends on besides its configuration."""

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


def manifest(
    environment: str, devices: list[jax.Device], seed_block: int
) -> dict[str, Any]:
    """Command, commit, versions and devices of a run that begins."""
    names = ("jax", "jaxlib", "flax", "optax", "chex", "gymnax", "numpy", "scipy")
    root = pathlib.Path(__file__).resolve().parent.parent
    return {
        "schema": SCHEMA,
        "command": shlex.join(["python", _script(root), *sys.argv[1:]]),
        "commit": _git(root, "rev-parse", "HEAD"),
        "uncommitted_changes": bool(
            _git(root, "status", "--porcelain", "--untracked-files=no")
        ),
        "versions": {"jaxq": _version("jaxq")} | {n: _version(n) for n in names},
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


def _script(root: pathlib.Path) -> str:
    """The running script: its path below the source, or its name."""
    path = pathlib.Path(sys.argv[0]).resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def _cpu() -> str:
    """The processor's name: programs are compiled for it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(root: pathlib.Path, *args: str) -> str | None:
    """Output of a git command about the source, or None outside a repository."""
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *args], cwd=root, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
