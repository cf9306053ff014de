"""Generated tables of the showcases.

Links are written from the root of the repository; see `experiments.report`.
"""

from typing import Any

import numpy as np

from experiments.showcases import SHOWCASES
from experiments.support.provenance import ROOT, interval, load, made_with


def records() -> dict[str, Any]:
    """The committed records, by name."""
    paths = sorted((ROOT / "results" / "showcases").glob("*.json"))
    return {path.stem: load("showcases", path.name) for path in paths}


def title(name: str) -> str:
    """Heading of a showcase."""
    return name.replace("_", " ").capitalize()


def showcases() -> str:
    """A table of each showcase: final returns and diagnostics."""
    parts = [_section(name, record) for name, record in records().items()]
    return "\n\n".join(parts) or "None yet."


def _section(name: str, record: dict[str, Any]) -> str:
    rows = record["runs"]
    measures = list(rows[0]["measures"])
    headings = ["run", "final greedy return, IQM [95 %]"]
    headings += [f"{measure.replace('_', ' ')}, median" for measure in measures]
    lines = [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    for row in rows:
        cells = [row["label"], interval(row["final"])]
        cells += [f"{np.median(row['measures'][m]):.3g}" for m in measures]
        lines.append(f"| {' | '.join(cells)} |")
    steps, seeds = rows[0]["steps_per_seed"], rows[0]["num_seeds"]
    return "\n".join(
        [
            f"### {title(name)}",
            "",
            f"**Claim.** {record['claim']} ({record['source']}.)",
            "",
            *lines,
            "",
            f"**Found.** {SHOWCASES[name].found}",
            "",
            f"{rows[0]['environment']}, {seeds} seeds, {steps:,} steps per seed, by "
            f"`python experiments/showcases.py --showcases {name}`. "
            f"{made_with(row['manifest'] for row in rows)}.",
        ]
    )
