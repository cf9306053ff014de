"""Rewrite the generated parts of the README from the files in results/.

No number in the README is typed by hand: this script fills what stands between
`<!-- generated: NAME -->` and `<!-- /generated -->`. `--tests` runs the tests of all
algorithms first, for the last column of their table.
"""

import ast
import inspect
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
from typing import Any
from xml.etree import ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent


def load(*parts: str) -> dict[str, Any]:
    """A JSON file below results/."""
    return json.loads((ROOT / "results").joinpath(*parts).read_text())


def hardware(manifest: dict[str, Any]) -> str:
    """Where and with what a number was made."""
    versions = manifest["versions"]
    return (
        f"{len(manifest['devices'])} x {manifest['devices'][0]}, jax "
        f"{versions['jax']}, gymnax {versions['gymnax']}, commit "
        f"{(manifest['commit'] or 'none')[:7]}"
    )


def interval(final: dict[str, Any]) -> str:
    """IQM with its interval."""
    low, high = final["confidence_95"]
    return f"{final['iqm']:.1f} [{low:.1f}, {high:.1f}]"


def main_job() -> str:
    """The curve of the main job and its figures."""
    summary = load("main", "summary.json")
    final = interval(summary["final_eval_return"])
    manifest = load("main", "manifest.json")
    return (
        "![DQN on CartPole-v1](results/main/curve.png)\n\n"
        f"Final greedy return, IQM over {summary['num_seeds']} seeds with 95 % "
        f"interval: {final}, after "
        f"{summary['steps_per_seed']:,} steps each, in {summary['seconds']:.0f} s "
        f"({hardware(manifest)})."
    )


def cleanrl() -> str:
    """Ours against CleanRL's published finals."""
    lines = [
        "| algorithm | environment | final training return, 10 seeds | "
        "CleanRL, 3 seeds | inside its band | made with |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    pictures = []
    for path in sorted((ROOT / "results" / "tables").glob("cleanrl_*.json")):
        target = path.stem
        row = load("tables", path.name)
        lines.append(
            f"| {target.split('_')[1].upper()} | {row['environment']} | "
            f"{row['final_train_return_mean']:.1f} ± "
            f"{row['final_train_return_std_over_seeds']:.1f} | "
            f"{row['published_mean']:.1f} ± {row['published_std']:.1f} | "
            f"{'yes' if row['inside_published_band'] else 'no'} | "
            f"{hardware(row['manifest'])} |"
        )
        pictures.append(f"![{target}](results/figures/{target}.png)")
    cartpole = load("tables", "cleanrl_dqn_cartpole.json")
    crossing = (
        f"DQN on CartPole-v1 crosses {cartpole['level']} at "
        f"{cartpole['steps_at_level'] or float('nan'):,} steps (published: "
        f"{cartpole['published_steps_at_level']:,}). Returns are "
        f"running means over {cartpole['smoothing_steps']:,} steps; how the published "
        "curves were smoothed is not recorded."
    )
    return "\n".join([*lines, "", crossing, "", *pictures])


def tabular() -> str:
    """Learned tables against Q*."""
    lines = [
        "| environment | return of the greedy policy | of Q* | its length | "
        "max \\|Q - Q*\\|, first and final | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted((ROOT / "results" / "tabular").iterdir()):
        row = load("tabular", path.name, "summary.json")
        extra = row["extra"]
        exact, length, error = (
            extra[name] for name in ("exact_return", "exact_length", "q_error")
        )
        lines.append(
            f"| {path.name} | {exact['final']:.4f} ± {exact['final_std']:.4f} | "
            f"{row['levels']['policy of Q*']:.4f} | {length['final']:.2f} | "
            f"{error['first']:.3f}, {error['final']:.4f} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def algorithms() -> str:
    """Every algorithm: where it is from, what it is made of, how long, how tested."""
    from jaxq import algorithms as registry
    from jaxq import papers

    path = ROOT / "results" / "tables" / "tests.json"
    tested = json.loads(path.read_text())["passed"] if path.exists() else {}
    lines = [
        "| name | from | composition | own lines | tests passed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, paper in papers.PAPERS.items():
        algorithm = registry.ALGORITHMS[name]
        parts = [
            f"`{field}`" if value is True else f"`{field}={value}`"
            for field, value in paper.components.items()
            if field not in papers.TABLE
        ]
        if "network" in paper.components:
            parts.insert(0, "table")
        lines.append(
            f"| `{name}` | {paper.reference} | {', '.join(parts) or 'the trunk'} | "
            f"{own_lines(algorithm)} | {tested.get(name, 'not run')} |"
        )
    return "\n".join(lines)


def own_lines(function: Any) -> int:
    """Lines of a function's body, without its docstring."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def textbook() -> str:
    """Maximisation bias and cliff walking against the book's."""
    table = load("tables", "textbook.json")
    bias, walk = table["maximization_bias"], table["cliff"]
    lines = [
        "![Maximisation bias and cliff walking](results/figures/textbook.png)",
        "",
        f"Left actions at episode 300, {bias['runs']:,} runs: Q-learning "
        f"{100 * bias['q']['left'][-1]:.1f} %, Double Q-learning "
        f"{100 * bias['double_q']['left'][-1]:.1f} % (floor 5 %); at every tenth "
        "episode within "
        f"{max(bias[k]['largest_score_every_tenth'] for k in ('q', 'double_q')):.1f} "
        "standard errors of an independent simulation, in "
        f"{bias['q']['seconds']:.0f} s and {bias['double_q']['seconds']:.0f} s "
        f"({hardware(table['manifest'])}).",
        "",
        "| cliff walking | first 100 episodes, step size 0.5 | simulated elsewhere | "
        "largest \\|z\\| over ten step sizes | end, step size 0.5 |",
        "| --- | --- | --- | --- | --- |",
    ]
    published = load("published", "sutton_barto_tabular.json")["cliff_interim"]
    names = {"q": "Q-learning", "sarsa": "SARSA", "expsarsa": "Expected SARSA"}
    for key, name in names.items():
        interim, end = walk[key]["interim"], walk[key]["end"]
        mean, error = published["mean_and_se"][f"{key}/0.5"]
        lines.append(
            f"| {name} | {interim['mean'][4]:.1f} ± {interim['se'][4]:.1f} | "
            f"{mean:.1f} ± {error:.1f} | {interim['largest_score']:.1f} | "
            f"{end['mean'][4]:.1f} ± {end['se'][4]:.1f} |"
        )
    exact = load("published", "sutton_barto_tabular.json")["cliff_exact"]
    lines += [
        "",
        "The end: episodes 1,001 to 1,500. Exact: epsilon-greedy around Q* "
        f"{exact['eps0.1_around_Qstar_uniform_ties_expected_return']:.1f}; the best "
        "policy that is epsilon-soft "
        f"{exact['best_eps0.1_soft_policy_return']:.1f}.",
    ]
    return "\n".join(lines)


def hard() -> str:
    """Deep exploration and memory: solved seeds with and without the component."""
    lines = [
        "| problem | algorithm | seeds that solve it | final greedy return, IQM [95 %] "
        "| steps per seed | made with |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted((ROOT / "results" / "hard").glob("*.json")):
        row = load("hard", path.name)
        problem = f"{row['environment']} {' '.join(row['environment_args'])}"
        lines.append(
            f"| {problem} | `{row['algorithm']}` | {row['solved_seeds']} of "
            f"{row['num_seeds']} | {interval(row['final'])} | "
            f"{row['steps_per_seed']:,} | {hardware(row['manifest'])} |"
        )
    return "\n".join(lines)


def run_tests() -> None:
    """Run the tests of the family, and count them for each algorithm."""
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/test_family.py"]
        subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, check=False)
        count_tests(report)


def count_tests(report: pathlib.Path) -> None:
    """Write how many tests of each algorithm passed, from a JUnit report."""
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
    path = ROOT / "results" / "tables" / "tests.json"
    path.write_text(json.dumps({"passed": passed, "failed": failed}, indent=1))


PARTS = {
    "main": main_job,
    "algorithms": algorithms,
    "cleanrl": cleanrl,
    "tabular": tabular,
    "textbook": textbook,
    "hard": hard,
}


def main() -> None:
    """Fill the README; with --tests, run the tests that it reports first."""
    if "--tests" in sys.argv[1:]:
        run_tests()
    path = ROOT / "README.md"
    text = path.read_text()
    for name, make in PARTS.items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- /generated -->"
        before, found, rest = text.partition(begin)
        if not found:
            sys.exit(f"README.md has no place for {name}")
        text = f"{before}{begin}{make()}\n{end}{rest.partition(end)[2]}"
    path.write_text(text)


if __name__ == "__main__":
    main()
