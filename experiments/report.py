"""Rewrite the generated parts of the pages, from results/ and from the code.

No number in a page is typed by hand: this script fills the text between
`<!-- generated: NAME -->` and `<!-- /generated -->`.
"""

import dataclasses
import sys

from experiments import algorithm_table
from experiments.support import (
    provenance,
    readme_architecture,
    readme_learning,
    readme_speed,
)
from jaxq.config import command_line

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


@dataclasses.dataclass(frozen=True)
class Arguments:
    """There are none, besides `--help`."""


def main() -> None:
    """Rewrite the generated parts of every page."""
    for page, parts in PAGES.items():
        path = provenance.ROOT / page
        text = path.read_text()
        for name, make in parts.items():
            begin, end = f"<!-- generated: {name} -->\n", "<!-- /generated -->"
            before, marker, rest = text.partition(begin)
            if not marker:
                sys.exit(f"error: {page} has no marker {begin.strip()!r}")
            text = f"{before}{begin}{make()}\n{end}{rest.partition(end)[2]}"
        path.write_text(text)


if __name__ == "__main__":
    command_line.read(Arguments, __doc__)
    main()
