"""Nothing outside `jaxq.xla` is written for a compiler."""

import pathlib
import re

import pytest

import jaxq

ROOT = pathlib.Path(jaxq.__file__).parent
PACKAGES = ("networks", "replay", "agents")
FILES = [path for name in PACKAGES for path in sorted((ROOT / name).glob("*.py"))]
FILES.append(ROOT / "training" / "loop.py")

COMPILER = re.compile(
    r"(?<!jaxq\.)\bxla\b|platform_dependent|optimization_barrier|\b[cgt]pu\b", re.I
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_compiler_and_no_platform_is_named(path):
    assert not COMPILER.findall(path.read_text())
