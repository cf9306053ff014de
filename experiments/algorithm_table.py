"""The README's table of algorithms, with the number of tests that each passes.

As a script, this counts the passed tests of each algorithm and writes the counts to
results/tables/tests.json, from which `report.py` writes the table. The counts come from
the JUnit report given as argument (`pytest --junitxml`); without one, the tests are run
first, slow ones included.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
from xml.etree import ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "results" / "tables" / "tests.json"


def make() -> str:
    """Table of all algorithms: paper, components and tests passed."""
    from jaxq.config.algorithm_table import ALGORITHMS
    from jaxq.config.tabular_algorithms import TABLE

    passed = (
        json.loads(TESTS.read_text(encoding="utf-8"))["passed"]
        if TESTS.exists()
        else {}
    )
    lines = [
        "| name | paper | components | tests passed |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in ALGORITHMS.items():
        parts = [
            f"`{field}`" if value is True else f"`{field}={value}`"
            for field, value in row.components.items()
            if field not in TABLE
        ]
        if "network" in row.components:
            parts.insert(0, "table")
        lines.append(
            f"| `{name}` | {row.paper} | {', '.join(parts) or 'none'} | "
            f"{passed.get(name, 'not run')} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Count the passed tests of each algorithm."""
    if sys.argv[1:]:
        count_tests(pathlib.Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory) / "report.xml"
        pytest = [sys.executable, "-m", "pytest", f"--junitxml={report}"]
        tests = ["tests/agents/test_family.py", "-m", ""]  # "-m ''" selects slow ones
        subprocess.run([*pytest, *tests], cwd=ROOT, check=False)
        count_tests(report)


def count_tests(report: pathlib.Path) -> None:
    """Write the number of passed tests of each algorithm, from a JUnit report."""
    passed: dict[str, int] = {}
    failed: list[str] = []
    for case in ElementTree.parse(report).iter("testcase"):
        if not case.attrib["classname"].endswith("test_family"):
            continue
        _, bracket, rest = case.attrib["name"].partition("[")
        name = re.sub(r"-\d+$", "", rest.rstrip("]"))
        if bracket and len(case) == 0:
            passed[name] = passed.get(name, 0) + 1
        elif len(case):
            failed.append(case.attrib["name"])
    content = json.dumps({"passed": passed, "failed": failed}, indent=1) + "\n"
    TESTS.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
