"""Generated tables that compare returns with published and with exact ones.

Links are written from the root of the repository; see `experiments.report`.
"""

from collections.abc import Sequence
from typing import Any

from experiments.support.provenance import ROOT, hardware, load


def tabular() -> str:
    """Learned tables compared with Q*."""
    lines = [
        "| environment | greedy return | return of the policy of Q* "
        "| greedy episode length | max \\|Q - Q*\\|, first and final | seconds |",
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
        "The column `end` is over episodes 1,001 to 1,500. The exact return of the "
        "epsilon-greedy policy with respect to Q* is "
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


def cliff_table(
    walk: dict[str, Any],
    simulated: dict[str, Any],
    methods: Sequence[str] = ("q", "sarsa", "expsarsa"),
) -> list[str]:
    """Lines of the cliff-walking table."""
    lines = [
        "| cliff walking | first 100 episodes, step size 0.5 "
        "| independent simulation "
        "| largest \\|z\\| over ten step sizes | end, step size 0.5 |",
        "| --- | --- | --- | --- | --- |",
    ]
    names = {"q": "Q-learning", "sarsa": "SARSA", "expsarsa": "Expected SARSA"}
    for key in methods:
        interim, end = walk[key]["interim"], walk[key]["end"]
        mean, error = simulated[f"{key}/0.5"]
        lines.append(
            f"| {names[key]} | {interim['mean'][4]:.1f} ± {interim['se'][4]:.1f} | "
            f"{mean:.1f} ± {error:.1f} | {interim['largest_score']:.1f} | "
            f"{end['mean'][4]:.1f} ± {end['se'][4]:.1f} |"
        )
    return lines


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
