"""Generated tables of the returns of runs.

Links are written from the root of the repository; see `experiments.report`.
"""

import math
from typing import Any

from experiments.support.provenance import (
    ROOT,
    hardware,
    interval,
    load,
    made_with,
    page_link,
    rounded,
)
from jaxq.config.algorithm_table import ALGORITHMS


def main_job() -> str:
    """Curve and final return of the README's first experiment."""
    summary = load("main", "summary.json")
    final = interval(summary["final_eval_return"])
    manifest = load("main", "manifest.json")
    return (
        "![DQN on CartPole-v1](results/main/curve.png)\n\n"
        f"Final greedy return after {summary['steps_per_seed']:,} steps per seed: "
        f"{final}, the IQM over {summary['num_seeds']} seeds with its 95 % confidence "
        f"interval, in {summary['seconds']:.0f} s ({hardware(manifest)})."
    )


def hard_rows() -> list[dict[str, Any]]:
    """Records of `experiments/hard.py`."""
    paths = sorted((ROOT / "results" / "hard").glob("*.json"))
    return [load("hard", path.name) for path in paths]


def hard(rows: list[dict[str, Any]] | None = None) -> str:
    """Deep exploration and memory: solved seeds with and without the component."""
    rows = hard_rows() if rows is None else rows
    lines = [
        "| problem | algorithm | seeds that solve it | final greedy return, IQM [95 %] "
        "| steps per seed | made with |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        problem = f"{row['environment']} {' '.join(row['environment_args'])}"
        lines.append(
            f"| {problem} | {page_link(row['algorithm'])} | {row['solved_seeds']} of "
            f"{row['num_seeds']} | {interval(row['final'])} | "
            f"{row['steps_per_seed']:,} | {hardware(row['manifest'])} |"
        )
    return "\n".join(lines)


def classic_rows() -> dict[tuple[str, str], dict[str, Any]]:
    """Records of `experiments/classic.py`, by algorithm and environment."""
    rows = [
        load("classic", path.name)
        for path in sorted((ROOT / "results" / "classic").glob("*.json"))
    ]
    return {(row["algorithm"], row["environment"]): row for row in rows}


def classic() -> str:
    """Final returns and curves of every deep algorithm on three environments."""
    rows = classic_rows()
    environments = list(dict.fromkeys(environment for _, environment in rows))
    steps = {name: rows["dqn", name]["steps_per_seed"] for name in environments}
    headings = [f"{name}, {steps[name]:,} steps" for name in environments]
    lines = ["| " + " | ".join(["algorithm", *headings]) + " |"]
    lines.append("| --- |" + " --- |" * len(headings))
    for algorithm in ALGORITHMS:
        cells = [
            classic_cell(rows.get((algorithm, name)), steps[name])
            for name in environments
        ]
        if any(cells):
            lines.append(f"| {page_link(algorithm)} | " + " | ".join(cells) + " |")
    sources = made_with(row["manifest"] for row in rows.values())
    lines += ["", f"{sources}.", ""]
    for name in environments:
        picture = f"results/figures/classic_{name}.png"
        if (ROOT / picture).exists():
            lines.append(f"![all algorithms on {name}]({picture})")
    return "\n".join(lines)


def classic_cell(row: dict[str, Any] | None, usual_steps: int) -> str:
    """Final return, and the number of steps if it is larger than the usual one."""
    if row is None:
        return ""
    steps = row["steps_per_seed"]
    suffix = f" in {steps:,}" if steps > 1.05 * usual_steps else ""
    return interval(row["final"]) + suffix


def environment_rows() -> list[dict[str, Any]]:
    """Records of every environment and algorithm in results/environments."""
    paths = sorted((ROOT / "results" / "environments").glob("*.json"))
    return [load("environments", path.name) for path in paths]


def environments() -> str:
    """Final returns on every environment: a row per environment, and all algorithms."""
    rows = environment_rows()
    if not rows:
        return "None yet."
    by_pair = {(row["environment"], row["algorithm"]): row for row in rows}
    used = {algorithm for _, algorithm in by_pair}
    columns = ["dqn", *(name for name in ALGORITHMS if name in used - {"dqn"})]
    links = [page_link(name) for name in columns]
    lines = [
        f"| environment | random policy | optimum | {' | '.join(links)} |",
        "| --- |" + " --- |" * (2 + len(columns)),
    ]
    for name in dict.fromkeys(environment for environment, _ in by_pair):
        found = [by_pair.get((name, algorithm)) for algorithm in columns]
        levels = next(row["levels"] for row in found if row is not None)
        cells = [level(levels["random policy"]), level(levels.get("optimum"))]
        cells += [environment_cell(row) for row in found]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{made_with(row['manifest'] for row in rows)}."])


def environment_cell(row: dict[str, Any] | None) -> str:
    """Final return, and the steps per seed in thousands."""
    if row is None:
        return ""
    return f"{interval(row['final'])} in {row['steps_per_seed'] / 1000:,.0f}k"


def environments_of(rows: list[dict[str, Any]]) -> str:
    """Final returns of one algorithm on every environment."""
    lines = [
        "| environment | algorithm | final greedy return, IQM [95 %] | random policy "
        "| optimum | steps per seed | made with |",
        "| --- |" + " --- |" * 6,
    ]
    for row in rows:
        levels = row["levels"]
        lines.append(
            f"| {row['environment']} | {page_link(row['algorithm'])} "
            f"| {interval(row['final'])} | {level(levels['random policy'])} "
            f"| {level(levels.get('optimum'))} | {row['steps_per_seed']:,} "
            f"| {hardware(row['manifest'])} |"
        )
    return "\n".join(lines)


def suites() -> str:
    """Final returns on environments of other suites, beside a reference."""
    paths = sorted((ROOT / "results" / "suites").glob("*.json"))
    rows = [load("suites", path.name) for path in paths]
    if not rows:
        return "None yet."
    lines = [
        "| environment | package | algorithm | seeds | random policy | final greedy "
        "return, IQM [95 %] | reference | steps per seed |",
        "| --- |" + " --- |" * 7,
    ]
    for row in rows:
        name = " ".join([f"`{row['environment']}`", *row["environment_args"]])
        value, source = row["reference"], row["source"]
        reference = source if value is None else f"{value:g}: {source}"
        lines.append(
            f"| {name} | {row['suite']} | {page_link(row['algorithm'])} "
            f"| {row['num_seeds']} | {level(row['levels']['random policy'])} "
            f"| {interval(row['final'])} | {reference} "
            f"| {row['steps_per_seed']:,} |"
        )
    return "\n".join([*lines, "", f"{made_with(row['manifest'] for row in rows)}."])


def level(value: float | None) -> str:
    """Return of a reference policy; `unknown` for None and nan."""
    if value is None or not math.isfinite(value):
        return "unknown"
    return rounded(value)


def sweep() -> str:
    """A sweep over learning rates, and its best setting rerun on held-out seeds."""
    summary, manifest = load("sweep", "summary.json"), load("sweep", "manifest.json")
    rows = summary["environments"][0]["ranked"]
    confirmed = load("sweep", "confirmed.json")
    best = rows[0]
    ends = None if best["low"] is None else (best["low"], best["high"])
    return (
        "![Sensitivity](results/sweep/sensitivity-learning_rate.png)\n\n"
        f"{len(rows)} learning rates x {summary['num_seeds']} seeds, "
        f"{summary['programs']} compiled program. The best, "
        f"{best['fields']['learning_rate']:.3g}, has an IQM of "
        f"{interval(best | {'confidence_95': ends})} on the selection seeds and "
        f"{interval(confirmed['final_eval_return'])} on "
        f"{confirmed['num_seeds']} held-out seeds ({hardware(manifest)})."
    )
