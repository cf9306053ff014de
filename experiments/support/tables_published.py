"""Generated tables that compare returns with published and with exact ones.

Links are written from the root of the repository; see `experiments.report`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from experiments.support.provenance import ROOT, gallery, hardware, load, page_link
from jaxq.stats import comparisons


def welch_p(row: dict[str, Any], seeds: int = 3) -> float:
    """P-value of Welch's t-test of our seeds against a published mean and std."""
    ours = row["final_train_return_per_seed"]
    # The published std is assumed to be numpy's default, without Bessel's correction.
    theirs = row["published_std"] * (seeds / (seeds - 1)) ** 0.5
    return comparisons.welch_of(
        (np.mean(ours), np.std(ours, ddof=1), len(ours)),
        (row["published_mean"], theirs, seeds),
    )


def cleanrl_rows(algorithm: str = "*") -> dict[str, dict[str, Any]]:
    """Comparisons with CleanRL, by target, of one algorithm or of all."""
    paths = sorted((ROOT / "results" / "tables").glob(f"cleanrl_{algorithm}_*.json"))
    return {path.stem: load("tables", path.name) for path in paths}


def cleanrl(algorithm: str = "*") -> str:
    """Final returns and curves, compared with those published by CleanRL."""
    rows = cleanrl_rows(algorithm)
    lines = [
        "| algorithm | environment | final training return, 10 seeds | "
        "CleanRL, 3 seeds | within its band | Welch's p | made with |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for target, row in rows.items():
        lines.append(
            f"| {target.split('_')[1].upper()} | {row['environment']} "
            f"| {_ours(row)} | {_theirs(row)} "
            f"| {'yes' if row['inside_published_band'] else 'no'} | {welch_p(row):.2f} "
            f"| {hardware(row['manifest'])} |"
        )
    pictures = [
        (f"{target.split('_')[1].upper()} on {row['environment']}",
         f"results/figures/{target}.png")
        for target, row in rows.items()
    ]  # fmt: skip
    return "\n".join([*lines, "", *notes(algorithm), "", gallery(pictures)])


def notes(algorithm: str) -> Iterator[str]:
    """Sentences on the one known crossing, and on how returns are averaged."""
    cartpole = load("tables", "cleanrl_dqn_cartpole.json")
    if algorithm in ("*", "dqn"):
        yield (
            f"DQN on CartPole-v1 reaches {cartpole['level']} after "
            f"{cartpole['steps_at_level'] or float('nan'):,} steps (published: "
            f"{cartpole['published_steps_at_level']:,})."
        )
    yield (
        "These are returns of the exploring agent with CleanRL's settings, not of the "
        "greedy policy with the environment's."
    )
    yield (
        f"Returns are running means over {cartpole['smoothing_steps']:,} steps; the "
        "smoothing of the published curves is not documented."
    )
    if algorithm in ("*", "pqn"):
        yield (
            "As in the publication, PQN's final return is the mean of the last hundred "
            "episodes."
        )


def published() -> str:
    """Final returns compared with CleanRL's, in short."""
    lines = [
        "| algorithm | environment | jaxq, 10 seeds | CleanRL, 3 seeds | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    for target, row in cleanrl_rows().items():
        algorithm = target.split("_")[1]
        band = "within" if row["inside_published_band"] else "outside"
        lines.append(
            f"| {page_link(algorithm)} | {row['environment']} | {_ours(row)} "
            f"| {_theirs(row)} | {band} its band, Welch's p = {welch_p(row):.2f} |"
        )
    return "\n".join(lines)


def _ours(row: dict[str, Any]) -> str:
    mean, std = (
        row[f"final_train_return_{name}"] for name in ("mean", "std_over_seeds")
    )
    return f"{mean:.1f} ± {std:.1f}"


def _theirs(row: dict[str, Any]) -> str:
    return f"{row['published_mean']:.1f} ± {row['published_std']:.1f}"


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
