"""Rewrite the generated parts of the README from the files in results/.

No number in the README is typed by hand: this script fills what stands between
`<!-- generated: NAME -->` and `<!-- /generated -->`.
"""

import json
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

import algorithm_table
import numpy as np
import scaling
import side_by_side
import throughput

from jaxq.config.algorithm_table import ALGORITHMS
from jaxq.stats import comparisons

ROOT = pathlib.Path(__file__).resolve().parent.parent


def load(*parts: str) -> dict[str, Any]:
    """A JSON file below results/."""
    return json.loads((ROOT / "results").joinpath(*parts).read_text())


def hardware(manifest: dict[str, Any]) -> str:
    """Where and with what a number was made."""
    versions = manifest["versions"]
    return (
        f"{len(manifest['devices'])} x {manifest['devices'][0]}, jax "
        f"{versions['jax']}, gymnax {versions['gymnax']}, commit {commit(manifest)}"
    )


def commit(manifest: dict[str, Any]) -> str:
    """What a number was made by."""
    return (manifest["commit"] or "none")[:7]


def made_with(manifests: Iterable[dict[str, Any]]) -> str:
    """Where and with what the numbers of a table were made."""
    return f"Made with {'; '.join(sorted(set(map(hardware, manifests))))}"


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


def welch(row: dict[str, Any], seeds: int = 3) -> float:
    """P of Welch's t-test between our seeds and a published mean and spread."""
    ours = row["final_train_return_per_seed"]
    # The published spread is taken for numpy's default, without Bessel's correction.
    theirs = row["published_std"] * (seeds / (seeds - 1)) ** 0.5
    return comparisons.welch_of(
        (np.mean(ours), np.std(ours, ddof=1), len(ours)),
        (row["published_mean"], theirs, seeds),
    )


def cleanrl() -> str:
    """Ours against CleanRL's published finals."""
    lines = [
        "| algorithm | environment | final training return, 10 seeds | "
        "CleanRL, 3 seeds | inside its band | Welch's p | made with |",
        "| --- | --- | --- | --- | --- | --- | --- |",
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
            f"{'yes' if row['inside_published_band'] else 'no'} | {welch(row):.2f} | "
            f"{hardware(row['manifest'])} |"
        )
        pictures.append(f"![{target}](results/figures/{target}.png)")
    cartpole = load("tables", "cleanrl_dqn_cartpole.json")
    crossing = (
        f"DQN on CartPole-v1 crosses {cartpole['level']} at "
        f"{cartpole['steps_at_level'] or float('nan'):,} steps (published: "
        f"{cartpole['published_steps_at_level']:,}). Returns are "
        f"running means over {cartpole['smoothing_steps']:,} steps; how the published "
        "curves were smoothed is not recorded. PQN's final returns are "
        "those of the last hundred episodes, as published."
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


def classic() -> str:
    """Every deep algorithm on three environments: the table and the curves."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted((ROOT / "results" / "classic").glob("*.json")):
        row = load("classic", path.name)
        rows[row["algorithm"], row["environment"]] = row
    environments = list(dict.fromkeys(environment for _, environment in rows))
    heads = [
        f"{environment}, {rows['dqn', environment]['steps_per_seed']:,} steps"
        for environment in environments
    ]
    lines = ["| " + " | ".join(["algorithm", *heads]) + " |"]
    lines.append("| --- |" + " --- |" * len(heads))

    def cell(name: str, environment: str) -> str:
        row = rows.get((name, environment))
        if row is None:
            return ""
        steps = row["steps_per_seed"]
        longer = steps > 1.05 * rows["dqn", environment]["steps_per_seed"]
        return interval(row["final"]) + (f" in {steps:,}" if longer else "")

    for name in ALGORITHMS:
        cells = [cell(name, environment) for environment in environments]
        if any(cells):
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    made = made_with(row["manifest"] for row in rows.values())
    lines += ["", f"{made}.", ""]
    for environment in environments:
        picture = f"results/figures/classic_{environment}.png"
        if (ROOT / picture).exists():
            lines.append(f"![all algorithms on {environment}]({picture})")
    return "\n".join(lines)


def throughput_lines(name: str, *order: str) -> list[dict[str, Any]]:
    """The measurements of a file, in the order of some of their fields."""
    text = (ROOT / "results" / "throughput" / f"{name}.jsonl").read_text()
    lines = map(json.loads, text.splitlines())
    return sorted(lines, key=lambda line: [line[field] for field in order])


def speed() -> str:
    """Rates on an accelerator."""
    lines = throughput_lines("h100", "workload", "seeds")
    table = [
        "| workload | seeds | environment steps/s | updates/s | spread | device memory "
        "| to the first chunk |",
        "| --- |" + " --- |" * 6,
    ]
    for line in lines:
        table.append(
            f"| `{line['workload']}` | {line['seeds']:,} "
            f"| {line['steps_per_second']:,.0f} | {line['updates_per_second']:,.0f} "
            f"| {throughput.spread(line)} "
            f"| {line['peak_device_bytes'] / 1e9:.2f} GB "
            f"| {line['seconds_to_first_chunk']:.0f} s |"
        )
    made = made_with(line["manifest"] for line in lines)
    return "\n".join([*table, "", f"{made}."])


def beside() -> str:
    """Rates beside a peer's, in turns."""
    lines = throughput_lines("side_by_side")
    order = {name: i for i, name in enumerate(side_by_side.PEER_CHUNK)}
    lines.sort(key=lambda line: (order[line["workload"]], line["seeds"]))
    table = [
        "| workload | seeds | jaxq, steps/s | Rejax, steps/s | ratio of medians "
        "| spread | to the first chunk | commit |",
        "| --- |" + " --- |" * 7,
    ]
    for line in lines:
        table.append(f"{side_by_side.row(line)} {commit(line['about']['jaxq'])} |")
    ours = made_with(line["about"]["jaxq"] for line in lines)
    theirs = lines[0]["about"]["rejax"]["versions"]
    turns = sorted({len(line["steps_per_second"]["jaxq"]) for line in lines})
    made = (
        f"Medians of {' or '.join(map(str, turns))} alternations; the spread is the "
        f"range over the median. {ours}; Rejax {theirs['rejax']} "
        f"with jax {theirs['jax']}, gymnax {theirs['gymnax']}."
    )
    return "\n".join([*table, "", made])


def growth() -> str:
    """Rates on a CPU, by the number of seeds and the size of the buffer."""
    lines = throughput_lines("cpu", "workload", "buffer_size", "seeds")
    table = [
        "| workload | buffer | seeds | steps/s | spread | memory |",
        "| --- |" + " --- |" * 5,
    ]
    for line in lines:
        table.append(
            f"| `{line['workload']}` | {line['buffer_size']:,} | {line['seeds']:,} "
            f"| {line['steps_per_second']:,.0f} "
            f"| {throughput.spread(line)} "
            f"| {line['peak_host_bytes'] / 1e9:.2f} GB |"
        )
    made = made_with(line["manifest"] for line in lines)
    return "\n".join([*table, "", f"{made}."])


def swept() -> str:
    """A sweep over learning rates, and its best on fresh seeds."""
    summary, manifest = load("sweep", "summary.json"), load("sweep", "manifest.json")
    rows = summary["environments"][0]["ranked"]
    again = load("sweep", "confirmed.json")
    best = rows[0]
    return (
        "![Sensitivity](results/sweep/sensitivity-learning_rate.png)\n\n"
        f"{len(rows)} learning rates x {summary['num_seeds']} seeds, "
        f"{summary['programs']} compiled program. The best, "
        f"{best['fields']['learning_rate']:.3g}, had an IQM of {best['iqm']:.1f} "
        f"[{best['low']:.1f}, {best['high']:.1f}] on the seeds that chose it, and "
        f"{interval(again['final_eval_return'])} on {again['num_seeds']} fresh ones "
        f"({hardware(manifest)})."
    )


def arlbench() -> str:
    """ARLBench's settings: ours beside what was published."""
    lines = [
        "| environment | settings x seeds | compiled programs | rank correlation "
        "(Spearman, Kendall) | Welch's p below 0.05 | after Holm's correction "
        "| made with |",
        "| --- |" + " --- |" * 6,
    ]
    for path in sorted((ROOT / "results" / "arlbench").glob("*.json")):
        found = load("arlbench", path.name)
        rows = found["settings"]
        raw = sum(row["welch_p"] < 0.05 for row in rows)
        holm = sum(row["holm_p"] < 0.05 for row in rows)
        lines.append(
            f"| {found['environment']} | {len(rows)} x {found['num_seeds']} "
            f"| {found['programs']} | {found['spearman']:.2f}, {found['kendall']:.2f} "
            f"| {raw} of {len(rows)} | {holm} of {len(rows)} "
            f"| {hardware(found['manifest'])} |"
        )
    return "\n".join([*lines, "", "![ARLBench](results/figures/arlbench.png)"])


def scaled() -> str:
    """Members of a sweep beside plain seeds, and devices."""
    found = load("throughput", "scaling.json")
    return f"{scaling.table(found)}\n\n{made_with([found['manifest']])}."


PARTS = {
    "main": main_job,
    "algorithms": algorithm_table.make,
    "cleanrl": cleanrl,
    "tabular": tabular,
    "textbook": textbook,
    "hard": hard,
    "classic": classic,
    "sweep": swept,
    "arlbench": arlbench,
    "beside": beside,
    "scaling": scaled,
    "growth": growth,
    "speed": speed,
}


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
