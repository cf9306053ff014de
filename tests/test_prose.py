"""Docstrings, messages and comments avoid constructions that read as translated.

PROSE_EXCEPTIONS names files that do not follow the rule yet. It can only shrink: a file
that follows the rule must be removed from the set.
"""

import ast
import io
import itertools
import re
import tokenize

from test_layering import FILES, check_rule, every_file, name

OPENINGS = ("What", "Everything", "Where", "How", "Which")
PHRASES = re.compile(
    r"""
    (?<!\bthere)\ is\ no\ (?!longer\b)     # "is not a"
    | \b(go|goes|going|gone|went)\ on\b    # "resumes", "continues"
    | \b(told|said|asked\ back)\b          # "reported", "printed"
    | \b(go|goes)\ with\b                  # "is compatible with"
    | \ba\ seed[).]                        # "per seed"
    | \b(bytes|steps|updates|transitions|iterations|seconds|episodes|rows|lines)
      \ an?\ (seed|update|iteration|member|setting|chunk|environment|device|block)\b
    """,
    re.VERBOSE,
)
PROSE_EXCEPTIONS: set[str] = {
    "agents/compatibility.py",
    "agents/factory.py",
    "agents/learner.py",
    "agents/tabular.py",
    "cli.py",
    "config/components.py",
    "config/config.py",
    "config/fields.py",
    "config/flags.py",
    "config/loop_lengths.py",
    "config/presets.py",
    "config/validate.py",
    "envs/adapter.py",
    "envs/gymnax_facts.py",
    "envs/gymnax_mdps.py",
    "envs/mdp.py",
    "envs/sutton_barto.py",
    "networks/ensemble.py",
    "networks/layers.py",
    "replay/dyna.py",
    "replay/ring.py",
    "replay/stores.py",
    "replay/transition_readers.py",
    "rl/heads.py",
    "runs/checkpoint.py",
    "runs/manifest.py",
    "runs/progress.py",
    "runs/results.py",
    "runs/resume.py",
    "runs/run.py",
    "runs/run_writer.py",
    "sweeps/hosts.py",
    "sweeps/packing.py",
    "sweeps/plots.py",
    "sweeps/ranking.py",
    "sweeps/report.py",
    "sweeps/search_space.py",
    "sweeps/storage.py",
    "sweeps/sweep.py",
    "sweeps/workers.py",
    "training/blocks.py",
    "training/checks.py",
    "training/compiled.py",
    "training/loop.py",
    "training/memory.py",
    "training/metrics.py",
    "training/population.py",
    "types.py",
    "xla/matmul.py",
    "xla/primitives.py",
}


def comments(text):
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def documented(tree):
    """Docstrings, each with the return type or field type that it documents."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            returns = getattr(node, "returns", None)
            yield ast.get_docstring(node) or "", ast.unparse(returns) if returns else ""
        body = getattr(node, "body", [])
        if isinstance(node, ast.ClassDef):
            for field, text in itertools.pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    yield ast.literal_eval(text.value), ast.unparse(field.annotation)


def awkward_prose(path):
    """Docstring openings and phrases of docstrings, messages and comments to reword."""
    text = path.read_text()
    tree = ast.parse(text)
    violations = []
    for docstring, type_name in documented(tree):
        opening = docstring.partition(" ")[0]
        predicate = "bool" in type_name or "Array" in type_name
        if opening in OPENINGS or (opening == "Whether" and not predicate):
            violations.append(docstring.splitlines()[0])
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for prose in [*strings, *comments(text)]:
        prose = " ".join(prose.split())
        violations += [match.group() for match in PHRASES.finditer(prose)]
    return violations


@every_file
def test_prose_is_plain_english(path):
    check_rule(awkward_prose(path), path, PROSE_EXCEPTIONS)


def test_every_exception_is_a_file():
    assert {name(path) for path in FILES} >= PROSE_EXCEPTIONS
