"""Docstrings, messages and comments avoid constructions that read as translated."""

import ast
import io
import itertools
import re
import tokenize

from test_layering import every_file

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
    assert not awkward_prose(path)
