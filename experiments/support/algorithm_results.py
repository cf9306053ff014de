"""Results on an algorithm's page: final returns, curves and published numbers."""

from collections.abc import Iterable
from typing import Any

from experiments.support import (
    tables_published,
    tables_reproduced,
    tables_returns,
    tables_showcases,
)
from experiments.support.provenance import (
    ROOT,
    gallery,
    hardware,
    interval,
    load,
    made_with,
    page_link,
)

TEXTBOOK = "![Maximisation bias and cliff walking](results/figures/textbook.png)"
CLIFF = {"tabular_q": "q", "sarsa": "sarsa", "expected_sarsa": "expsarsa"}
BIAS = ("tabular_q", "double_q_learning")


def results(name: str) -> str:
    """All results of an algorithm in results/; empty if there are none."""
    parts = [classic(name), hard(name), environments(name)]
    if name == "tabular_q":
        parts.append(exact())
    if name != "dqn":  # the baseline of most showcases
        parts.append(showcases(name))
    return "\n\n".join(part for part in parts if part)


def showcases(name: str) -> str:
    """Final returns in small ablations."""
    lines = []
    for showcase, record in tables_showcases.records().items():
        anchor = showcase.replace("_", "-")
        link = f"[{tables_showcases.title(showcase)}](results/README.md#{anchor})"
        for row in record["runs"]:
            if row["algorithm"] == name:
                cells = link, row["label"], row["environment"], interval(row["final"])
                lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return ""
    heading = "| showcase | run | environment | final return |"
    return "\n".join([heading, "|" + " --- |" * 4, *lines])


def classic(name: str) -> str:
    """Curves and final returns on classic control, beside DQN's."""
    rows = tables_returns.classic_rows()
    mine = {env: row for (algorithm, env), row in rows.items() if algorithm == name}
    if not mine:
        return ""
    beside = name != "dqn"
    heading = ["environment", f"`{name}`", "steps per seed"]
    heading += [page_link("dqn"), "steps per seed"] if beside else []
    lines = ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading)]
    for environment, row in mine.items():
        shown = [row, rows["dqn", environment]] if beside else [row]
        cells = [f"{interval(r['final'])} | {r['steps_per_seed']:,}" for r in shown]
        lines.append(f"| {environment} | " + " | ".join(cells) + " |")
    return "\n".join(
        [
            _picture(name, beside),
            "",
            *lines,
            "",
            "Final return of the greedy policy: IQM over ten seeds with its 95 % "
            f"interval, by `python experiments/classic.py --algorithms {name}`. One "
            "set of settings serves all algorithms of an environment, except PQN's. "
            f"{made_with(row['manifest'] for row in mine.values())}.",
        ]
    )


def _picture(name: str, beside: bool) -> str:
    text = f"{name} on classic control" + (", DQN in grey" if beside else "")
    return f"![{text}](results/figures/algorithms/{name}.png)"


def hard(name: str) -> str:
    """Problems that need exploration or memory, with all algorithms tried there."""
    rows = tables_returns.hard_rows()
    problems = {_problem(row) for row in rows if row["algorithm"] == name}
    rows = [row for row in rows if _problem(row) in problems]
    if not rows:
        return ""
    title = "[Hard problems](results/README.md#hard-problems), `experiments/hard.py`:"
    return f"{title}\n\n{tables_returns.hard(rows)}"


def _problem(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["environment"], *row["environment_args"])


def environments(name: str) -> str:
    """Final returns on other environments."""
    rows = [r for r in tables_returns.environment_rows() if r["algorithm"] == name]
    if not rows:
        return ""
    title = "[Other environments](results/README.md#environments):"
    return f"{title}\n\n{tables_returns.environments_of(rows)}"


def exact() -> str:
    """Learned tables compared with exact ones."""
    names = sorted(path.name for path in (ROOT / "results" / "tabular").iterdir())
    pictures = [(name, f"results/tabular/{name}/curve.png") for name in names]
    title = (
        "Compared with [exact dynamic programming]"
        "(results/README.md#tabular-and-textbook), `experiments/tabular.py`:"
    )
    return f"{title}\n\n{tables_published.tabular()}\n\n{gallery(pictures)}"


def published(name: str) -> str:
    """All comparisons with published or independent numbers; empty without any."""
    parts: list[str] = []
    if rows := tables_reproduced.table(name):
        title = "[Published results](results/reproduced/README.md), reproduced:"
        pictures = gallery(tables_reproduced.figures(name))
        parts.append(f"{title}\n\n{rows}\n\n{pictures}")
    if name in CLIFF or name in BIAS:
        parts += textbook(name)
    if name in ("dqn", "prioritized_dqn"):
        parts.append(arlbench(prioritized=name == "prioritized_dqn"))
    return "\n\n".join(parts)


def textbook(name: str) -> Iterable[str]:
    """The textbook's figure, and the comparison of one method with simulations."""
    table = load("tables", "textbook.json")
    simulated = load("published", "sutton_barto_tabular.json")
    yield f"The textbook's figures (`experiments/textbook.py`):\n\n{TEXTBOOK}"
    if name in CLIFF:
        means = simulated["cliff_interim"]["mean_and_se"]
        lines = tables_published.cliff_table(table["cliff"], means, [CLIFF[name]])
        yield "\n".join([*lines, "", f"{made_with([table['manifest']])}."])
    if name in BIAS:
        bias = table["maximization_bias"]
        yield tables_published.bias_sentence(bias, hardware(table["manifest"]))


def arlbench(prioritized: bool) -> str:
    """ARLBench's settings with or without prioritised replay."""
    kind = "prioritised" if prioritized else "uniform"
    lines = [
        f"| environment | settings with {kind} replay | Welch's p below 0.05 "
        "| after Holm's correction | made with |",
        "| --- |" + " --- |" * 4,
    ]
    for path in sorted((ROOT / "results" / "arlbench").glob("*.json")):
        result = load("arlbench", path.name)
        rows = [r for r in result["settings"] if r["prioritized"] == prioritized]
        raw, holm = (sum(row[p] < 0.05 for row in rows) for p in ("welch_p", "holm_p"))
        lines.append(
            f"| {result['environment']} | {len(rows)} | {raw} | {holm} "
            f"| {hardware(result['manifest'])} |"
        )
    title = (
        "ARLBench's settings, compared with its [published returns]"
        "(results/README.md#arlbench):"
    )
    return f"{title}\n\n" + "\n".join(lines)
