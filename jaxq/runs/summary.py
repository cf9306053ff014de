"""Statistics of a run."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxq.config.config import Config
from jaxq.runs import manifest, results
from jaxq.stats import intervals


def summarize(
    config: Config,
    arrays: results.Arrays,
    levels: Mapping[str, float],
    timing: Mapping[str, Any],
) -> dict[str, Any]:
    """Statistics of a run, the content of summary.json.

    Diverged seeds are included, with the policy at which they were frozen.

    Args:
        config: gives the numbers of the seeds.
        arrays: the measurements.
        levels: reference returns, such as the random policy's.
        timing: seconds and steps per second.
    """
    curve = arrays.curve
    seeds = results.seeds(config)
    return {
        "schema": manifest.SCHEMA,
        "steps_per_seed": int(curve.steps[-1]),
        "final_eval_return": _final_eval_return(curve.eval_return[:, -1]),
        "final_eval_length": {"mean": float(curve.eval_length[:, -1].mean())},
        "final_train_return": _final_train_return(curve.train_return[:, -1]),
        "mean_eval_return_over_steps": intervals.area_under_curve(
            curve.steps, curve.eval_return
        ),
        "levels": dict(levels),
        "num_seeds": config.num_seeds,
        "diverged_seeds": seeds[curve.diverged[:, -1]],
        "extra": {
            name: {
                "first": values[:, 0].mean(),
                "final": values[:, -1].mean(),
                "final_std": values[:, -1].std(),
            }
            for name, values in arrays.extra.items()
        },
        **timing,
    }


def _final_eval_return(returns: np.ndarray) -> dict[str, Any]:
    """Statistics of the last evaluation; returns: [S].

    The interval is None for a single seed, and for returns that are nan.
    """
    missing = int(np.isnan(returns).sum())
    final = intervals.NONE if missing else intervals.bootstrap_iqm(returns)
    value, low, high = (float(part) for part in final)
    return {
        "iqm": value,
        "confidence_95": None if math.isnan(low) else [low, high],
        "nan_seeds": missing,
        "mean": float(returns.mean()),
        "median": float(np.median(returns)),
        "std_over_seeds": float(returns.std()),
        "per_seed": returns,
    }


def _final_train_return(returns: np.ndarray) -> dict[str, Any]:
    """Statistics of the last training returns, [S], which are nan without episodes."""
    finite = returns[np.isfinite(returns)]
    iqm = float(intervals.iqm(finite)) if finite.size else float("nan")
    return {"iqm": iqm, "seeds": finite.size, "per_seed": returns}
