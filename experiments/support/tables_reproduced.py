"""Generated tables and the page of the published results that were reproduced.

Links are written from the root of the repository; see `experiments.report`.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping

from experiments.reproductions import records, registry
from experiments.reproductions.records import Record
from experiments.reproductions.target import VERDICTS, Target
from experiments.support.provenance import made_with, page_link
from jaxq.config.algorithm_table import ALGORITHMS

PAGE = "results/reproduced/README.md"


@functools.cache
def record(name: str) -> Record | None:
    """The committed record of a target, if it was run."""
    if not records.paths(name)[0].exists():
        return None
    return records.read(name, registry.TARGETS[name])


def algorithms(target: Target) -> tuple[str, ...]:
    """The algorithms that a target is about."""
    ran = (config.algorithm for config in target.runs.values())
    named = (*target.algorithms, *(name for name in ran if name in ALGORITHMS))
    return tuple(dict.fromkeys(named))


def verdict_of(name: str) -> str:
    """The verdict on a target, or "not run"."""
    return records.verdict_of(name, registry.TARGETS[name])


def summary() -> str:
    """Verdicts by source, in short."""
    lines = [
        "| source | targets | reproduced | not reproduced | differs by protocol |",
        "| --- | --- | --- | --- | --- |",
    ]
    for group, targets in registry.GROUPS.items():
        counts = Counter(verdict_of(name) for name in targets if record(name))
        if counts:
            cells = " | ".join(str(counts[word]) for word in VERDICTS)
            lines.append(f"| {group} | {counts.total()} | {cells} |")
    return "\n".join(lines)


def table(algorithm: str | None = None) -> str:
    """Every target that was run, or those of one algorithm, with its verdict."""
    lines = [
        "| target | algorithms | verdict | ours and published | test |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, target in registry.TARGETS.items():
        found, about = record(name), algorithms(target)
        if found is None or (algorithm is not None and algorithm not in about):
            continue
        links = ", ".join(map(page_link, about))
        lines.append(
            f"| [{target.title}]({PAGE}#{name}) | {links} | {verdict_of(name)} "
            f"| {target.criterion.judge(found.values).sentence} "
            f"| {target.criterion.describe()} |"
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def figures(algorithm: str) -> list[tuple[str, str]]:
    """Title and path of the figure of every target of an algorithm that was run."""
    return [
        (target.title, figure(name))
        for name, target in registry.TARGETS.items()
        if algorithm in algorithms(target) and record(name) is not None
    ]


def figure(name: str) -> str:
    """Path of the figure of a target."""
    return f"results/figures/reproduced/{name}.png"


def page() -> str:
    """The page of all targets."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Reproductions of published results\n"
    yield (
        "`.venv/bin/python experiments/reproduce.py --target NAME` runs a target and "
        "judges it; `--check` judges every record again, from the curves in this "
        "directory. A result counts as reproduced if it passes its test. If it fails, "
        "the page says why, as far as known; if the protocol is the reason, so does "
        "the verdict.\n"
    )
    yield (
        "`mean ± std (n = seeds)` has the sample standard deviation over seeds; a "
        "`difference [low, high]` is ours minus published, with Welch's 90 % interval. "
        "Results are equivalent if that interval lies within the margin, which is two "
        "one-sided tests at 5 %. The trust in a published number is from A (exact, or "
        "returns per seed) through B (a table or figure of few seeds) to C (read from "
        "a plot, settings incomplete).\n"
    )
    waiting: list[str] = []
    for group, targets in registry.GROUPS.items():
        found = {name: record(name) for name in targets}
        waiting += [name for name, known in found.items() if known is None]
        if not any(found.values()):
            continue
        yield f"## {group}\n"
        for name, known in found.items():
            if known is not None:
                yield from section(name, targets[name], known)
    if waiting:
        listed = ", ".join(f"`{name}`" for name in waiting)
        yield f"## Not run yet\n\n{listed}."


def section(name: str, target: Target, found: Record) -> Iterator[str]:
    """The section of a target."""
    yield f"### {name}\n"
    word = verdict_of(name)
    sentence = target.criterion.judge(found.values).sentence
    yield f"{target.title}: **{word}**.\n\n{sentence}.\n"
    if word != VERDICTS[0]:
        yield f"{target.reason}.\n"
    yield f"![{target.title}]({figure(name)})\n"
    yield from _bullets(
        {
            "Test": target.criterion.describe(),
            "Source": target.source,
            "Trust": target.trust,
            "Differs in": "; ".join(target.deviations),
            "Cost": _cost(target),
        }
    )
    yield f"{made_with(found.manifests)}.\n"


def _bullets(items: Mapping[str, str]) -> Iterator[str]:
    for title, text in items.items():
        if text:
            yield f"* {title}: {text}."
    yield ""


def _cost(target: Target) -> str:
    unit = "minute" if target.cost.cpu == 1 else "minutes"
    minutes = f"about {target.cost.cpu:g} {unit} on two cores"
    if target.cost.h100 is None:
        return minutes
    return f"{minutes}, an estimated {target.cost.h100:g} on an H100"
