"""Message printed at the end of a run."""

import numpy as np

from jaxq.config.config import Config
from jaxq.runs import progress, results
from jaxq.stats import intervals


def text(result: results.Result) -> str:
    """Final return, warnings and file names, for the terminal."""
    lines = [_headline(result)]
    unfinished = result.curve.eval_unfinished[:, -1].mean()
    if unfinished > 0:
        lines.append(
            f"{unfinished:.0%} of the last evaluation's episodes were cut off before "
            "they ended; increase --eval-max-steps, or truncate episodes with "
            "--time-limit"
        )
    diverged = result.summary["diverged_seeds"]
    if len(diverged):
        lines.append(
            f"diverged and frozen: seeds {', '.join(map(str, diverged))}; statistics "
            "include them with their last finite parameters. "
            f"{_divergence_hint(result.config)}"
        )
    if result.directory:
        names = sorted(path.name for path in result.directory.glob("[!.]*"))
        lines.append(f"saved {', '.join(names)}")
    return "\n".join(lines)


def _headline(result: results.Result) -> str:
    final = np.asarray(result.summary["final_eval_return"]["per_seed"], float)
    num_seeds = result.config.num_seeds
    finite = num_seeds - len(result.summary["diverged_seeds"])
    return (
        f"done in {progress.duration(result.summary['seconds'])} | "
        f"final return {intervals.describe(final, label=', 95 % CI ')} | "
        f"{finite} of {num_seeds} seeds finite"
    )


def _divergence_hint(config: Config) -> str:
    if config.loss_reduction == "sum":
        return (
            "Losses are summed over the minibatch, so a transition sampled k times "
            "counts k times: try a lower learning_rate or a smaller minibatch."
        )
    return "Try a lower learning_rate."


def all_diverged(result: results.Result) -> bool:
    """Whether every seed has diverged by the end of the run."""
    return bool(result.curve.diverged[:, -1].all())
