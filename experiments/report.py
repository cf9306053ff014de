"""Rewrite the generated parts of the README from the files in results/.

No number in the README is typed by hand: this script fills the text between
`<!-- generated: NAME -->` and `<!-- /generated -->`.
"""

import sys

import algorithm_table
from support import provenance, readme_learning, readme_speed

PARTS = {
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
}


def main() -> None:
    """Rewrite the generated parts of README.md."""
    path = provenance.ROOT / "README.md"
    text = path.read_text()
    for name, make in PARTS.items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- /generated -->"
        before, marker, rest = text.partition(begin)
        if not marker:
            sys.exit(f"error: README.md has no marker {begin.strip()!r}")
        text = f"{before}{begin}{make()}\n{end}{rest.partition(end)[2]}"
    path.write_text(text)


if __name__ == "__main__":
    main()
