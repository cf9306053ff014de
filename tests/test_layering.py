"""The direction of imports, and rules that hold for every file."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "jaxq").glob("*.py"))

# What each module may import from jaxq; a module only sees those named before it.
LAYERS = [
    {"fields"},
    {"components"},
    {"config"},
    {"papers"},
    {"plan"},
    {"types", "validation", "spaces", "flags"},
    {"backends"},
    {"threefry", "blocks"},
    {
        "returns",
        "heads",
        "histograms",
        "exploration",
        "catalogue",
        "statistics",
        "exact",
        "provenance",
        "files",
        "signals",
        "hosts",
    },
    {
        "replay",
        "priorities",
        "products",
        "layers",
        "losses",
        "environments",
        "textbook",
        "checkpoint",
    },
    {"networks", "readers", "ensembles", "registry", "snapshot", "comparisons"},
    {
        "stores",
        "fractions",
        "sequences",
        "learner",
        "finite",
        "combinations",
        "tallies",
    },
    {"models"},
    {"build"},
    {"agents"},
    {"rollouts"},
    {"deep"},
    {"tabular"},
    {"algorithms"},
    {"train", "evaluate", "checks"},
    {"programs"},
    {"population", "results", "progress", "memory"},
    {"plots", "curves", "resume", "packing"},
    {"recorder", "sweep"},
    {"sweep_files"},
    {"run", "ranking", "computing"},
    {"charts"},
    {"verdict"},
    {"cli"},
]


def imports(path):
    """Modules of jaxq that a file imports, wherever."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxq":
            found |= {alias.name for alias in node.names if alias.name.islower()}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "jaxq."
        ):
            found.add(node.module.split(".")[1])
    return found


def level(name):
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_point_down(path):
    if path.stem == "__init__":
        assert imports(path) == {"config"}
        return
    for other in imports(path):
        assert level(other) < level(path.stem), f"{path.stem} imports {other}"


def test_the_mathematics_knows_no_environment_and_the_loop_no_algorithm():
    for name in ("agents", "algorithms", "learner", "losses", "networks"):
        assert not {"environments", "registry"} & imports(ROOT / "jaxq" / f"{name}.py")
    text = (ROOT / "jaxq" / "train.py").read_text()
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
