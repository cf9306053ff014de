"""Rewrite the generated pages, from results/ and from the code.

No number in a page is typed by hand: this script fills the text between
`<!-- generated: NAME -->` and `<!-- /generated -->`, and writes every page of
results/algorithms and results/reproduced.
"""

import dataclasses
import posixpath
import re
import sys
from collections.abc import Callable

from experiments.support import (
    algorithm_pages,
    provenance,
    tables_library,
    tables_published,
    tables_reproduced,
    tables_returns,
    tables_showcases,
    tables_speed,
)
from jaxq.config import command_line

ALGORITHM_PAGES = "results/algorithms"
_PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {
        "main": tables_returns.main_job,
        "algorithms": tables_library.algorithm_groups,
        "published": tables_reproduced.summary,
        "speed_small": tables_speed.speed_small,
    },
    "jaxq/README.md": {
        "compatibility": tables_library.compatibility_rules,
        "fields": tables_library.field_readers,
    },
    "results/README.md": {
        "main": tables_returns.main_job,
        "classic": tables_returns.classic,
        "environments": tables_returns.environments,
        "suites": tables_returns.suites,
        "reproduced": tables_reproduced.table,
        "tabular": tables_published.tabular,
        "textbook": tables_published.textbook,
        "hard": tables_returns.hard,
        "showcases": tables_showcases.showcases,
        "sweep": tables_returns.sweep,
        "arlbench": tables_published.arlbench,
        "beside": tables_speed.beside_rejax,
        "speed": tables_speed.speed,
        "growth": tables_speed.growth,
        "scaling": tables_speed.scaling_table,
    },
    "results/performance.md": {
        "kernels": tables_speed.kernels,
    },
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    check: bool = False
    """Write nothing; list the pages that are out of date, and exit with 1 if any is."""
    figures: bool = False
    """Also redraw the figures of the algorithms' pages."""


def relative_links(text: str, page: str) -> str:
    """Make links that are written from the root relative to the directory of a page."""

    def relative(match: re.Match[str]) -> str:
        path, anchor = match.group(1), match.group(2) or ""
        return f"]({posixpath.relpath(path, posixpath.dirname(page) or '.')}{anchor})"

    return re.sub(r"\]\((?!\w+:|#)([^)#]+)(#[^)]*)?\)", relative, text)


def _for_page(page: str, make: Callable[[], str]) -> Callable[[], str]:
    return lambda: relative_links(make(), page)


# The functions that make the generated parts of every page.
PAGES = {
    page: {name: _for_page(page, make) for name, make in parts.items()}
    for page, parts in _PARTS.items()
}


def filled(page: str) -> str:
    """The text of a page with its generated parts renewed."""
    text = (provenance.ROOT / page).read_text(encoding="utf-8")
    for name, make in PAGES[page].items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- /generated -->"
        before, marker, rest = text.partition(begin)
        _, closing, after = rest.partition(end)
        if not marker or not closing:
            sys.exit(f"error: {page} has no part {begin.strip()} ... {end}")
        text = f"{before}{begin}{make()}\n{end}{after}"
    return text


def texts() -> dict[str, str]:
    """The text that every page should have, by its path."""
    whole = {
        page: relative_links(text, page)
        for page, text in {
            **algorithm_pages.pages(),
            tables_reproduced.PAGE: tables_reproduced.page(),
        }.items()
    }
    return {page: filled(page) for page in PAGES} | whole


def stale(pages: dict[str, str]) -> list[str]:
    """Pages whose file differs from their text, and pages of unknown algorithms."""
    root = provenance.ROOT
    changed = [
        page
        for page, text in pages.items()
        if not (root / page).exists()
        or (root / page).read_text(encoding="utf-8") != text
    ]
    present = (root / ALGORITHM_PAGES).glob("*.md")
    unknown = {path.relative_to(root).as_posix() for path in present} - set(pages)
    return changed + sorted(unknown)


def main() -> None:
    """Rewrite every page that is out of date, or list them."""
    arguments = command_line.read(Arguments, __doc__)
    pages = texts()
    out_of_date = stale(pages)
    if arguments.check:
        for page in out_of_date:
            print(f"{page} is out of date: run experiments/report.py")
        sys.exit(bool(out_of_date))
    if arguments.figures:
        from experiments.support import algorithm_figures

        algorithm_figures.draw_all()
    for page in out_of_date:
        path = provenance.ROOT / page
        if page in pages:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages[page], encoding="utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    main()
