"""Pages of results/algorithms, one per algorithm, and their index.

Links are written from the root of the repository; see `experiments.report`.
"""

import ast
import inspect
import re

from experiments.support import (
    algorithm_results,
    combined_texts,
    ensemble_texts,
    histogram_texts,
    offline_texts,
    quantile_texts,
    stream_texts,
    tables_library,
    tabular_texts,
    value_texts,
)
from experiments.support.algorithm_text import AlgorithmText
from experiments.support.provenance import ROOT, page_link
from jaxq.config import algorithm_table
from jaxq.config.algorithm_entry import Algorithm
from jaxq.config.algorithm_table import ALGORITHMS
from jaxq.config.tabular_algorithms import TABULAR

NOTE = "<!-- Written by experiments/report.py. -->"
NONE = "None yet."
TEXTS: dict[str, AlgorithmText] = (
    tabular_texts.TEXTS
    | value_texts.TEXTS
    | histogram_texts.TEXTS
    | quantile_texts.TEXTS
    | stream_texts.TEXTS
    | ensemble_texts.TEXTS
    | combined_texts.TEXTS
    | offline_texts.TEXTS
)


def pages() -> dict[str, str]:
    """The text of every page, by its path from the root of the repository."""
    texts = {f"results/algorithms/{name}.md": page(name) for name in ALGORITHMS}
    return texts | {"results/algorithms/README.md": index()}


def index() -> str:
    """List of all algorithms."""
    lines = [NOTE, "# Algorithms", ""]
    for heading, table in algorithm_table.GROUPS.items():
        lines += [f"## {heading}", "", "| algorithm | summary |", "| --- | --- |"]
        lines += [
            f"| {page_link(name)} | {row.summary} |" for name, row in table.items()
        ]
        lines.append("")
    lines += ["## Papers, flags and code", "", OWN_LINES, "", details(), ""]
    lines.append("[All tables and figures](results/README.md)")
    return "\n".join(lines) + "\n"


OWN_LINES = (
    "Own lines count the functions listed on an algorithm's page, without docstrings, "
    "except those of DQN and of the algorithms above it; everything else is shared."
)


def details() -> str:
    """All algorithms: paper, the flags that each one sets, and its own lines."""
    lines = [
        "| algorithm | paper | flags it sets | own lines |",
        "| --- | --- | --- | --- |",
    ]
    own: dict[str, int] = {}
    counted: set[str] = set()
    for name in ("dqn", *ALGORITHMS):
        agent = ALGORITHMS[name].agent
        places = {f"jaxq/agents/algorithms.py:{agent}", *TEXTS[name].code}
        own.setdefault(name, sum(map(function_lines, sorted(places - counted))))
        counted |= places
    for name, row in ALGORITHMS.items():
        flags = tables_library.components(row.components)
        lines.append(f"| {page_link(name)} | {row.paper} | {flags} | {own[name]} |")
    return "\n".join(lines)


def function_lines(place: str) -> int:
    """Lines of a function or a class, written file:name, without its docstrings."""
    path, _, name = place.partition(":")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    (node,) = (
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name
    )
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part):
            text = part.body[0]
            assert text.end_lineno is not None
            lines -= text.end_lineno - text.lineno + 1
    return lines


def page(name: str) -> str:
    """The page of one algorithm."""
    row, text = ALGORITHMS[name], TEXTS[name]
    results, published = (
        algorithm_results.results(name),
        algorithm_results.published(name),
    )
    elsewhere = "See the comparison below." if published else NONE
    sections = {
        "Equation": equation(text),
        "Differences from the paper": row.differs or "None known.",
        "Run it": commands(name),
        "Settings": settings(name, row),
        "Code": code(row, text),
        "Results": results or elsewhere,
        "Published comparison": published or NONE,
        "When to choose it": text.choose,
        "See also": ", ".join(map(page_link, text.see_also))
        + "; [all algorithms](results/algorithms/README.md).",
    }
    lines = [NOTE, f"# {text.title}", "", f"`{name}`: {row.summary}", ""]
    lines += [f"Paper: {linked(row.paper)}.", ""]
    for heading, body in sections.items():
        lines += [f"## {heading}", "", body, ""]
    return "\n".join(lines).rstrip() + "\n"


def linked(paper: str) -> str:
    """A reference with links to arXiv and to the publisher."""
    paper = re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)
    return re.sub(r"doi:([^\s,;]+)", r"[doi:\1](https://doi.org/\1)", paper)


def equation(text: AlgorithmText) -> str:
    """The equation in a block of mathematics, and its symbols."""
    block = f"```math\n{inspect.cleandoc(text.equation)}\n```"
    symbols = "; ".join(f"$`{symbol}`$: {meaning}" for symbol, meaning in text.symbols)
    return f"{block}\n\n{symbols}."


def commands(name: str) -> str:
    """The commands that run an algorithm, and the same from Python."""
    exact = name in TABULAR and name != "differential_q"  # values that are not relative
    script = "experiments/tabular.py" if exact else "experiments/dqn.py"
    fields, flags = f'algorithm="{name}"', ""
    if exact:
        fields += ', environment="FrozenLake-misc"'
    elif name in TABULAR:
        fields += ', environment="AccessControl"'
        flags = " --environment AccessControl"
    if name == "pqn_rnn":  # its four minibatches consist of whole environments
        fields += ", num_envs=4"
    return (
        f"```bash\n.venv/bin/python {script} --algorithm {name}{flags}\n```\n\n"
        f"From Python, after `from jaxq import Config, run`: "
        f"`result = run(Config({fields}))`."
    )


def settings(name: str, row: Algorithm) -> str:
    """The components of an algorithm, and the settings of its paper."""
    parts = tables_library.components(row.components)
    sentence = f"`--algorithm {name}` sets {parts}." if parts else ""
    if not parts:
        sentence = f"`{name}` is the algorithm to which components are added."
    if not row.settings:
        return f"{sentence} The paper gives no settings for its `--preset` to add."
    flags = (tables_library.flag(field, value) for field, value in row.settings.items())
    listed = ", ".join(f"`{flag}`" for flag in flags)
    added = f"`--preset {name}` adds the settings of the paper: {listed}."
    if "total_steps" in row.settings and "environment" not in row.settings:
        added += (
            " The environment remains CartPole-v1 unless `--environment` is given, and "
            "`--total-steps` shortens the run."
        )
    return f"{sentence}\n\n{added}"


def code(row: Algorithm, text: AlgorithmText) -> str:
    """Links to the functions that make up an algorithm."""
    lines = ["| function | file |", "| --- | --- |"]
    for place in (f"jaxq/agents/algorithms.py:{row.agent}", *text.code):
        path, _, function = place.partition(":")
        lines.append(f"| `{function}` | [`{path}`]({path}) |")
    return "\n".join(lines)
