"""The direction of imports, and rules that hold for every file."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "jaxq").rglob("*.py"))

# What a package may import from jaxq, besides itself. `cli` may import anything.
LEVELS = [
    {"config", "stats"},
    {"types"},
    {"rl", "xla"},
    {"replay", "networks", "envs"},
    {"agents"},
    {"training"},
    {"runs"},
    {"sweeps"},
    {"cli"},
]
STRICTER = {"config": set(), "stats": set(), "types": set(), "rl": {"types"}}


def package(path):
    return path.relative_to(ROOT / "jaxq").parts[0].removesuffix(".py")


def imports(path):
    """Packages of jaxq that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "jaxq":
            names = [f"jaxq.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("jaxq.")}
    return found


def level(name):
    return next(i for i, names in enumerate(LEVELS) if name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(p.parts[-2:]))
def test_imports_point_down(path):
    own = package(path)
    if own == "__init__":
        return
    for other in imports(path) - {own}:
        assert level(other) < level(own), f"{own} imports {other}"
        assert other in STRICTER.get(own, {other}), f"{own} imports {other}"


def test_every_package_has_a_level():
    assert {package(path) for path in FILES} - {"__init__"} == set().union(*LEVELS)


def test_the_loop_names_no_algorithm():
    text = (ROOT / "jaxq" / "training" / "loop.py").read_text()
    assert "dqn" not in text and "tabular" not in text


@pytest.mark.parametrize(
    "path", FILES + sorted((ROOT / "experiments").glob("*.py")), ids=lambda p: p.stem
)
def test_no_file_executes_data(path):
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not names & {"pickle", "cloudpickle", "dill", "joblib", "eval", "exec"}
    assert "allow_pickle=True" not in path.read_text()
    assert "debug.callback" not in path.read_text()


def test_counters_are_integers():
    from jaxq import types

    assert types.counter(2**31 - 2).value + 1 == 2**31 - 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 300
