"""Rewrite the generated parts of the pages, from results/ and from the code.

No number in a page is typed by hand: this script fills the text between
`<!-- generated: NAME -->` and `<!-- /generated -->`.
"""

import sys

import algorithm_table
from support import (
    provenance,
    readme_architecture,
    readme_learning,
    readme_speed,
)

PAGES = {
    "README.md": {
        "main": readme_learning.main_job,
        "algorithms": algorithm_table.make,
        "cleanrl": readme_learning.cleanrl,
        "tabular": readme_learning.tabular,
        "textbook": readme_learning.textbook,
        "hard": readme_learning.hard,
        "classic": readme_learning.classic,
        "sweep": readme_learning.sweep,
        "arlbench": readme_learning.arlbench,
        "beside": readme_speed.beside_rejax,
        "scaling": readme_speed.scaling_table,
        "growth": readme_speed.growth,
        "speed": readme_speed.speed,
    },
    "jaxq/README.md": {
        "compatibility": readme_architecture.compatibility_rules,
        "fields": readme_architecture.field_readers,
    },
}


def main() -> None:
    """Rewrite the generated parts of every page."""
    for page, parts in PAGES.items():
        path = provenance.ROOT / page
        text = path.read_text(encoding="utf-8")
        for name, make in parts.items():
            begin, end = f"<!-- generated: {name} -->\n", "<!-- /generated -->"
            before, marker, rest = text.partition(begin)
            if not marker:
                sys.exit(f"error: {page} has no marker {begin.strip()!r}")
            text = f"{before}{begin}{make()}\n{end}{rest.partition(end)[2]}"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
