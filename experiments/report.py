"""Rewrite the generated parts of the README from the files in results/.

No number in the README is typed by hand: this script fills what stands between
`<!-- generated: NAME -->` and `<!-- /generated -->`.
"""

import json
import pathlib
import sys
from typing import Any

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
        "| environment | final training return, 10 seeds | CleanRL, 3 seeds | "
        "inside its band | made with |",
        "| --- | --- | --- | --- | --- |",
    ]
    pictures = []
    for target in ("cleanrl_dqn_cartpole", "cleanrl_dqn_acrobot"):
        row = load("tables", f"{target}.json")
        lines.append(
            f"| {row['environment']} | {row['final_train_return_mean']:.1f} ± "
            f"{row['final_train_return_std_over_seeds']:.1f} | "
            f"{row['published_mean']:.1f} ± {row['published_std']:.1f} | "
            f"{'yes' if row['inside_published_band'] else 'no'} | "
            f"{hardware(row['manifest'])} |"
        )
        pictures.append(f"![{row['environment']}](results/figures/{target}.png)")
    cartpole = load("tables", "cleanrl_dqn_cartpole.json")
    crossing = (
        f"CartPole-v1 crosses {cartpole['level']} at "
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


PARTS = {"main": main_job, "cleanrl": cleanrl, "tabular": tabular}


def main() -> None:
    """Fill the README."""
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
