"""The pages: their links, commands, code, numbers and length."""

import ast
import dataclasses
import functools
import inspect
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import family
import jax
import pytest
from scripts import run_script

import jaxq
from jaxq import cli
from jaxq.agents import algorithms
from jaxq.config import loop_lengths, validate
from jaxq.runs import run as runs
from jaxq.sweeps import planning
from jaxq.sweeps import sweep as sweeps
from jaxq.training import checks, compiled, loop

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

README = ROOT / "README.md"
PAGES = [
    README,
    *(ROOT / name / "README.md" for name in ("jaxq", "experiments", "tests")),
    *sorted((ROOT / "results").glob("*.md")),
    *sorted((ROOT / "results" / "algorithms").glob("*.md")),
]
SMALL = {
    "num_seeds": 2, "total_steps": 400, "num_envs": 2, "buffer_size": 300,
    "batch_size": 8, "warmup_steps": 60, "hidden_sizes": (8,), "eval_points": 1,
    "eval_episodes": 1, "eval_max_steps": 20,
}  # fmt: skip
SMALL_FLAGS = shlex.split(
    "--num-seeds 4 --total-steps 1600 --warmup-steps 1000 --eval-points 1 "
    "--eval-episodes 1 --eval-max-steps 50"
)

LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
# `name`, `name` after a link to a file of Python, or `name` as the text of the link
NAMED = re.compile(r"\]\(([^)\s]+\.py)\): ((?:`\w+`(?:, )?)+)")


def page_name(page):
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


def blocks(page, *languages):
    pattern = rf"^```(?:{'|'.join(languages)})\n(.*?)^```"
    return re.findall(pattern, page.read_text(), flags=re.S | re.M)


def commands(page):
    text = "".join(blocks(page, "bash", "sh")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line]


def prose(page):
    """The text without fenced code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def anchors(page):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    texts = [LINK.sub(r"\1", heading).replace("`", "") for heading in headings]
    slugs = [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts]
    repeats = [slugs[:i].count(slug) for i, slug in enumerate(slugs)]
    return {f"{s}-{n}" if n else s for s, n in zip(slugs, repeats, strict=True)}


@functools.cache
def definitions(path):
    """Names of the functions, classes and constants at the top of a file."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {ast.unparse(target) for target in targets}
    return names


def broken_links(page):
    for _, target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


def missing_names(page):
    """Functions that a page names beside a link to a file that does not have them."""
    text = prose(page)
    pairs = [(path, name) for name, path in LINK.findall(text) if path.endswith(".py")]
    pairs = [(path, name.strip("`")) for path, name in pairs if name.startswith("`")]
    pairs = [(path, name) for path, name in pairs if not name.endswith(".py")]
    for path, names in NAMED.findall(text):
        pairs += [(path, name) for name in re.findall(r"\w+", names)]
    for path, name in pairs:
        file = page.parent / path
        if file.exists() and name.rpartition(".")[2] not in definitions(file):
            yield f"{path}: {name}"


@every_page
def test_links_anchors_and_pictures_resolve(page):
    assert not list(broken_links(page))


@every_page
def test_the_named_functions_exist(page):
    assert not list(missing_names(page))


def test_the_checks_of_links_find_faults(tmp_path):
    (tmp_path / "code.py").write_text("X: int = 1\ndef f(): ...\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two` (three)\n# Again\n# Again\n```text\n[a](not/checked)\n```\n"
        "[a](#one-two-three) [a](#again-1) [a](#again-2) [a](nowhere.md) ![p](p.png)\n"
        "[`f`](code.py) [`g`](code.py) [`code.py`](code.py): `f`, `h`, [`m.X`](code.py)"
    )
    assert list(broken_links(page)) == ["#again-2", "nowhere.md", "p.png"]
    assert list(missing_names(page)) == ["code.py: g", "code.py: h"]


def test_every_guarantee_names_a_test():
    text = (ROOT / "tests" / "README.md").read_text()
    _, _, table = text.partition("| guarantee |")
    rows = [line for line in table.splitlines()[2:] if line.startswith("| ")]
    assert len(rows) > 20 and all("[`test_" in row for row in rows)


def test_the_citation_has_the_version_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {jaxq.__version__}\n" in citation


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200


def test_the_first_two_commands_are_those_of_ci():
    first, second = blocks(README, "bash")[:2]
    assert first.strip().endswith(".venv/bin/python experiments/dqn.py")
    assert second.strip().endswith("pip install -e '.[test]' && .venv/bin/pytest")
    ci = (ROOT / ".ci" / "run").read_text()
    assert "install --quiet -e '.[test]'" in ci and 'bin/pytest"' in ci


def python(command, *flags):
    words = shlex.split(command)
    assert words[0] == ".venv/bin/python"
    return subprocess.run(
        [sys.executable, *words[1:], *flags],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip


def test_a_run_of_the_readme(tmp_path):
    command = commands(README)[2]
    done = python(command, *SMALL_FLAGS, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "done in" in done.stdout and list(tmp_path.rglob("curve.png"))


@pytest.mark.slow
@pytest.mark.conformance
def test_a_sweep_of_the_readme(tmp_path):
    command = next(line for line in commands(README) if "sweep.py" in line)
    grid = "learning_rate=1e-3,1e-2 target_period=20,200"
    command = re.sub(r"--grid .*", f"--grid {grid}", command)
    small = [*SMALL_FLAGS, "--confirm-seeds", "0", "--no-plot"]
    done = python(command, *small, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "saved in" in done.stdout and list(tmp_path.rglob("settings.csv"))


class Accepted(BaseException):
    """A script has accepted its command line."""


# These check their configuration after the flags are read, and then set up jax.
CHECK_FIRST = {
    "dqn", "tabular", "sweep", "tune", "classic", "environments", "hard", "textbook",
    "reproduce",
}  # fmt: skip
COMMANDS = sorted({line for page in PAGES for line in commands(page)})
INSTALLING = "python3 -m venv"  # the two commands of the README; see .ci/run


@pytest.mark.parametrize("command", [c for c in COMMANDS if INSTALLING not in c])
def test_every_command_is_accepted(command, monkeypatch):
    """The flags are known and the configuration is valid, up to the set-up of jax."""
    words = shlex.split(command)
    assert words[0] in (".venv/bin/python", "python")
    name = words[1].removeprefix("experiments/").removesuffix(".py")
    script = ROOT / "experiments" / f"{name}.py"
    assert script.exists()
    if name in ("report", "tour"):  # they have tests of their own
        return
    if {"--list", "--check"} & set(words):  # they read files only
        done = run_script(*words[1:])
        assert done.returncode == 0 and done.stdout, done.stderr
        return

    def accept(*args, **kwargs):
        raise Accepted

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [str(script), *words[2:]])
    monkeypatch.setattr(cli, "set_up_jax", accept)
    if name not in CHECK_FIRST:
        import tyro

        parse = tyro.cli
        monkeypatch.setattr(tyro, "cli", lambda *a, **k: parse(*a, **k) and accept())
    with pytest.raises(Accepted):
        runpy.run_path(str(script), run_name="__main__")


CODE = [(page, code) for page in PAGES for code in blocks(page, "python")]


@pytest.fixture(scope="module")
def result():
    return runs.run(family.TINY)


def trace(config, env):
    """Trace the loop, which finds errors in shapes and types, and compile nothing."""
    lengths, traced = loop_lengths.loop_lengths(config), compiled.traced(config)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda key: loop.start(traced, lengths, env, key), key)
    args = key, state
    jax.eval_shape(lambda *args: loop.iteration(traced, lengths, env, *args), *args)


@pytest.mark.parametrize(("page", "code"), CODE)
def test_the_python_examples_run(page, code, monkeypatch, result):
    """Runs are made small and traced; all examples print the result of one real run.

    The examples of the algorithms' pages differ only in their configuration, which is
    validated.
    """
    configs = []

    def small_run(config, environment=None, **options):
        inspect.signature(run).bind(config, environment, **options)
        validate.validate(config)
        configs.append(config)
        if page.parent.name != "algorithms":
            config = dataclasses.replace(config, **SMALL)
            trace(config, checks.check(config, environment))
        return result

    def planned(config, grid, **options):
        """Settings that can run, with the curves of the one real run."""
        inspect.signature(real_sweep).bind(config, grid, **options)
        plan = planning.plan(config, sweeps.settings_of(grid), [], jax.devices())
        arrays = result.curve._asdict()
        curves = [planning.Curves(arrays.pop("steps"), arrays)] * len(plan.settings)
        return sweeps.SweepResult(*plan[:2], plan.configs, curves, None)

    run, real_sweep = runs.run, sweeps.sweep
    monkeypatch.setattr(runs, "run", small_run)
    monkeypatch.setattr(sweeps, "sweep", planned)
    # An example registers an algorithm, which must not stay for other tests.
    monkeypatch.setattr(algorithms, "ALGORITHMS", dict(algorithms.ALGORITHMS))
    exec(compile(code, page_name(page), "exec"), {})
    assert len(configs) == len(re.findall(r"\brun\(", code))


def test_every_script_is_in_its_table():
    text = (ROOT / "experiments" / "README.md").read_text()
    named = re.findall(r"^\| \[`(\w+\.py)`\]", text, re.M)
    scripts = [path.name for path in (ROOT / "experiments").glob("[!_]*.py")]
    assert sorted(named) == sorted(scripts)


def test_every_script_has_an_example():
    examples = commands(ROOT / "experiments" / "README.md")
    for path in (ROOT / "experiments").glob("[!_]*.py"):
        assert any(f"experiments/{path.name}" in line for line in examples)


def test_every_package_is_in_the_table_and_the_picture():
    text = (ROOT / "jaxq" / "README.md").read_text()
    named = re.findall(r"^\| \[`jaxq/(\w+)`\]", text, re.M)
    packages = [path.parent.name for path in (ROOT / "jaxq").glob("*/__init__.py")]
    assert sorted(named) == sorted(packages)
    picture = (ROOT / "jaxq" / "architecture.svg").read_text()
    assert all(f">{name}<" in picture for name in packages)


def test_every_exit_code_is_explained():
    text = (ROOT / "experiments" / "README.md").read_text()
    codes = (cli.BAD_INPUT, cli.IN_USE, cli.ALL_DIVERGED, cli.CORRUPT, cli.CANNOT_WRITE)
    assert all(f"\n| {code} | " in text for code in codes)
    assert f"\n| {cli.INTERRUPTED}, " in text
