"""Rules for the whole source: import direction, size and the compiler seam."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "jaxq").rglob("*.py"))

# A package may import from packages of lower levels, and `cli` from any.
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
STRICTER = {
    "__init__": {"config", "agents", "envs", "runs", "sweeps"},
    "config": set(),
    "stats": set(),
    "types": set(),
    "rl": {"types"},
    "agents": {"config", "types", "rl", "xla", "replay", "networks"},
}

MAX_FILE_LINES = 250
MAX_BODY_LINES = 60

# Equations are readable without a compiler in mind: only jaxq.xla deals with one.
MATHEMATICS = ("rl/", "networks/", "replay/", "agents/", "training/loop.py")
COMPILER = re.compile(
    r"\b(cpu|gpu|tpu|xla|platform_dependent|optimization_barrier)\b", re.IGNORECASE
)
SEAM = re.compile(r"from jaxq(\.xla)? import .*|import jaxq\.xla.*|\bxla\.(?=\w)")


def name(path):
    return path.relative_to(ROOT / "jaxq").as_posix()


def package(path):
    return name(path).split("/")[0].removesuffix(".py")


def imports(path):
    """Packages of jaxq that a file imports, at the top or inside functions."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "jaxq":
            modules |= {f"jaxq.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return {module.split(".")[1] for module in modules if module.startswith("jaxq.")}


def level(package_name):
    return next(i for i, names in enumerate(LEVELS) if package_name in names)


def long_parts(path):
    """Length of a file and of each of its function bodies that exceeds the limit."""
    text = path.read_text()
    lengths = [("file", len(text.splitlines()), MAX_FILE_LINES)]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            lengths.append((node.name, lines, MAX_BODY_LINES))
    return [f"{part}: {lines} lines" for part, lines, limit in lengths if lines > limit]


def compiler_names(path):
    """Lines that name a compiler or a device, apart from uses of jaxq.xla."""
    lines = path.read_text().splitlines()
    return [line for line in lines if COMPILER.search(SEAM.sub("", line))]


every_file = pytest.mark.parametrize("path", FILES, ids=name)


@every_file
def test_imports_point_down(path):
    importer = package(path)
    for imported in imports(path) - {importer}:
        if importer != "__init__":
            assert level(imported) < level(importer), f"{importer} imports {imported}"
        allowed = STRICTER.get(importer, {imported})
        assert imported in allowed, f"{importer} imports {imported}"


def test_every_package_has_a_level():
    assert {package(path) for path in FILES} - {"__init__"} == set().union(*LEVELS)


def test_the_loop_names_no_algorithm():
    text = (ROOT / "jaxq" / "training" / "loop.py").read_text()
    assert "dqn" not in text and "tabular" not in text


@pytest.mark.parametrize(
    "path",
    FILES + sorted((ROOT / "experiments").rglob("*.py")),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
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


OPENS = re.compile(r"(^|\.)(open|read_text|write_text)$")
SPECIFIED = re.compile(
    r"""encoding=|["'][rwa]b["']|^(os\.open|(files\.)?write_text)\("""
)


def unspecified_encodings(path):
    """Calls that open a text file with the encoding of the locale."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    opened = [ast.unparse(c) for c in calls if OPENS.search(ast.unparse(c.func))]
    return [call for call in opened if not SPECIFIED.search(call)]


@pytest.mark.parametrize(
    "path",
    FILES + sorted((ROOT / "experiments").rglob("*.py")),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_text_files_are_utf_8_in_every_locale(path):
    assert not unspecified_encodings(path)


def test_counters_are_integers():
    from jaxq import types

    assert types.counter(2**31 - 2).value + 1 == 2**31 - 1


@every_file
def test_files_and_functions_are_short(path):
    assert not long_parts(path)


@pytest.mark.parametrize(
    "path", [path for path in FILES if name(path).startswith(MATHEMATICS)], ids=name
)
def test_only_the_seam_names_compilers_and_devices(path):
    assert not compiler_names(path)
