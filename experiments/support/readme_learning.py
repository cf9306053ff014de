"""Generated README parts on returns and learned values."""

from typing import Any

import numpy as np

from jaxq.config.algorithm_table import ALGORITHMS
from jaxq.stats import comparisons
from support.provenance import ROOT, hardware, interval, load, made_with


def main_job() -> str:
    """Curve and final return of the README's first experiment."""
    summary = load("main", "summary.json")
    final = interval(summary["final_eval_return"])
    manifest = load("main", "manifest.json")
    return (
        "![DQN on CartPole-v1](results/main/curve.png)\n\n"
        f"Final greedy return after {summary['steps_per_seed']:,} steps per seed: "
        f"{final}, the IQM over {summary['num_seeds']} seeds with its 95 % confidence "
        f"interval, in {summary['seconds']:.0f} s ({hardware(manifest)})."
    )


def welch_p(row: dict[str, Any], seeds: int = 3) -> float:
    """P-value of Welch's t-test of our seeds against a published mean and std."""
    ours = row["final_train_return_per_seed"]
    # The published std is assumed to be numpy's default, without Bessel's correction.
    theirs = row["published_std"] * (seeds / (seeds - 1)) ** 0.5
    return comparisons.welch_of(
        (np.mean(ours), np.std(ours, ddof=1), len(ours)),
        (row["published_mean"], theirs, seeds),
    )


def cleanrl() -> str:
    """Final returns, compared with those published by CleanRL."""
    lines = [
        "| algorithm | environment | final training return, 10 seeds | "
        "CleanRL, 3 seeds | within its band | Welch's p | made with |",
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
            f"{'yes' if row['inside_published_band'] else 'no'} | {welch_p(row):.2f} | "
            f"{hardware(row['manifest'])} |"
        )
        pictures.append(f"![{target}](results/figures/{target}.png)")
    cartpole = load("tables", "cleanrl_dqn_cartpole.json")
    crossing = (
        f"DQN on CartPole-v1 reaches {cartpole['level']} after "
        f"{cartpole['steps_at_level'] or float('nan'):,} steps (published: "
        f"{cartpole['published_steps_at_level']:,}). Returns are running means over "
        f"{cartpole['smoothing_steps']:,} steps; the smoothing of the published curves "
        "is not documented. As in the publication, PQN's final return is the mean of "
        "the last hundred episodes."
    )
    return "\n".join([*lines, "", crossing, "", *pictures])


def tabular() -> str:
    """Learned tables compared with Q*."""
    lines = [
        "| environment | greedy return | return of Q* | greedy episode length | "
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
    """Maximisation bias and cliff walking, compared with independent simulations."""
    table = load("tables", "textbook.json")
    published = load("published", "sutton_barto_tabular.json")
    picture = "![Maximisation bias and cliff walking](results/figures/textbook.png)"
    bias = bias_sentence(table["maximization_bias"], hardware(table["manifest"]))
    rows = cliff_table(table["cliff"], published["cliff_interim"]["mean_and_se"])
    exact = published["cliff_exact"]
    end = (
        "The end is episodes 1,001 to 1,500. The exact return of the epsilon-greedy "
        "policy with respect to Q* is "
        f"{exact['eps0.1_around_Qstar_uniform_ties_expected_return']:.1f}, that of the "
        f"best epsilon-soft policy {exact['best_eps0.1_soft_policy_return']:.1f}."
    )
    return "\n".join([picture, "", bias, "", *rows, "", end])


def bias_sentence(bias: dict[str, Any], made: str) -> str:
    """Share of left actions of both methods, and the deviation from simulations."""
    return (
        f"Left actions in episode 300 over {bias['runs']:,} runs: Q-learning "
        f"{100 * bias['q']['left'][-1]:.1f} %, Double Q-learning "
        f"{100 * bias['double_q']['left'][-1]:.1f} % (the minimum is 5 %). At every "
        "tenth episode both are within "
        f"{max(bias[k]['largest_score_every_tenth'] for k in ('q', 'double_q')):.1f} "
        "standard errors of an independent simulation. The runs took "
        f"{bias['q']['seconds']:.0f} s and {bias['double_q']['seconds']:.0f} s "
        f"({made})."
    )


def cliff_table(walk: dict[str, Any], simulated: dict[str, Any]) -> list[str]:
    """Lines of the cliff-walking table."""
    lines = [
        "| cliff walking | first 100 episodes, step size 0.5 "
        "| independent simulation "
        "| largest \\|z\\| over ten step sizes | end, step size 0.5 |",
        "| --- | --- | --- | --- | --- |",
    ]
    names = {"q": "Q-learning", "sarsa": "SARSA", "expsarsa": "Expected SARSA"}
    for key, name in names.items():
        interim, end = walk[key]["interim"], walk[key]["end"]
        mean, error = simulated[f"{key}/0.5"]
        lines.append(
            f"| {name} | {interim['mean'][4]:.1f} ± {interim['se'][4]:.1f} | "
            f"{mean:.1f} ± {error:.1f} | {interim['largest_score']:.1f} | "
            f"{end['mean'][4]:.1f} ± {end['se'][4]:.1f} |"
        )
    return lines


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
    """Final returns and curves of every deep algorithm on three environments."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted((ROOT / "results" / "classic").glob("*.json")):
        row = load("classic", path.name)
        rows[row["algorithm"], row["environment"]] = row
    environments = list(dict.fromkeys(environment for _, environment in rows))
    steps = {name: rows["dqn", name]["steps_per_seed"] for name in environments}
    headings = [f"{name}, {steps[name]:,} steps" for name in environments]
    lines = ["| " + " | ".join(["algorithm", *headings]) + " |"]
    lines.append("| --- |" + " --- |" * len(headings))
    for algorithm in ALGORITHMS:
        cells = [
            classic_cell(rows.get((algorithm, name)), steps[name])
            for name in environments
        ]
        if any(cells):
            lines.append(f"| `{algorithm}` | " + " | ".join(cells) + " |")
    sources = made_with(row["manifest"] for row in rows.values())
    lines += ["", f"{sources}.", ""]
    for name in environments:
        picture = f"results/figures/classic_{name}.png"
        if (ROOT / picture).exists():
            lines.append(f"![all algorithms on {name}]({picture})")
    return "\n".join(lines)


def classic_cell(row: dict[str, Any] | None, usual_steps: int) -> str:
    """Final return, and the number of steps if it is larger than the usual one."""
    if row is None:
        return ""
    steps = row["steps_per_seed"]
    suffix = f" in {steps:,}" if steps > 1.05 * usual_steps else ""
    return interval(row["final"]) + suffix


def sweep() -> str:
    """A sweep over learning rates, and its best setting rerun on held-out seeds."""
    summary, manifest = load("sweep", "summary.json"), load("sweep", "manifest.json")
    rows = summary["environments"][0]["ranked"]
    confirmed = load("sweep", "confirmed.json")
    best = rows[0]
    ends = None if best["low"] is None else [best["low"], best["high"]]
    return (
        "![Sensitivity](results/sweep/sensitivity-learning_rate.png)\n\n"
        f"{len(rows)} learning rates x {summary['num_seeds']} seeds, "
        f"{summary['programs']} compiled program. The best, "
        f"{best['fields']['learning_rate']:.3g}, has an IQM of "
        f"{interval(best | {'confidence_95': ends})} on the selection seeds and "
        f"{interval(confirmed['final_eval_return'])} on "
        f"{confirmed['num_seeds']} held-out seeds ({hardware(manifest)})."
    )


def arlbench() -> str:
    """Returns of ARLBench's settings, compared with the published ones."""
    lines = [
        "| environment | settings x seeds | compiled programs | rank correlation "
        "(Spearman, Kendall) | Welch's p below 0.05 | after Holm's correction "
        "| made with |",
        "| --- |" + " --- |" * 6,
    ]
    for path in sorted((ROOT / "results" / "arlbench").glob("*.json")):
        result = load("arlbench", path.name)
        rows = result["settings"]
        raw = sum(row["welch_p"] < 0.05 for row in rows)
        holm = sum(row["holm_p"] < 0.05 for row in rows)
        lines.append(
            f"| {result['environment']} | {len(rows)} x {result['num_seeds']} "
            f"| {result['programs']} "
            f"| {result['spearman']:.2f}, {result['kendall']:.2f} "
            f"| {raw} of {len(rows)} | {holm} of {len(rows)} "
            f"| {hardware(result['manifest'])} |"
        )
    return "\n".join([*lines, "", "![ARLBench](results/figures/arlbench.png)"])
