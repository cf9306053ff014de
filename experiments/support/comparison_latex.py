"""A LaTeX table of a comparison of runs."""

import math
import re
from typing import Any

from experiments.support.comparison import Scores

SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def table(scores: Scores, result: dict[str, Any]) -> str:
    """A table with a row per task and a column per algorithm; the best is bold.

    Args:
        scores: labels and tasks.
        result: of `comparison.compare`.
    """
    labels, tasks = scores.labels, result["tasks"]
    lines = [
        rf"% IQM of the {result['score']} return over seeds, and 95 % interval; needs "
        r"\usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * len(labels)}}}",
        r"\toprule",
        _row(["", *map(escape, labels)]),
        r"\midrule",
        *(_estimates(task, [tasks[task][label] for label in labels]) for task in tasks),
    ]
    if len(tasks) > 1:
        aggregates = [result["aggregates"][label]["IQM"] for label in labels]
        lines += [r"\midrule", _estimates("IQM over tasks, normalised", aggregates)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(SPECIAL.get(character, character) for character in text)


def number(value: float) -> str:
    """A number with four significant digits, for math mode."""
    text = f"{value:.4g}"
    return re.sub(r"e([+-])0*(\d+)", _power, text)


def _power(match: re.Match[str]) -> str:
    return rf" \times 10^{{{match[1].replace('+', '')}{match[2]}}}"


def _estimates(name: str, estimates: list[list[float]]) -> str:
    """A row of estimates with their intervals, the highest in bold."""
    best = max(value for value, _, _ in estimates)
    cells = []
    for value, low, high in estimates:
        text = number(value)
        text = rf"$\mathbf{{{text}}}$" if value == best else f"${text}$"
        if not math.isnan(low):
            text += rf" {{\scriptsize $[{number(low)}, {number(high)}]$}}"
        cells.append(text)
    return _row([escape(name), *cells])


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
