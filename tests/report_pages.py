"""Pages with fabricated measurements, and the data that a page embeds."""

import json
import pathlib
import re
import sys

import jax
import numpy as np

from jaxq import Config
from jaxq.config import loop_lengths
from jaxq.runs import results
from jaxq.runs.page import build
from jaxq.runs.page import run as run_page
from jaxq.sweeps import page as sweep_page
from jaxq.sweeps import planning, report

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from experiments.support import comparison, comparison_page

MANIFEST = {
    "versions": {"jaxq": "0.1.0", "jax": None}, "commit": "abc", "command": "python x",
    "uncommitted_changes": True, "started": "now", "devices": ["cpu", "cpu"],
}  # fmt: skip
LEVELS = {"random policy": 1.5, "optimum": np.nan}


def curve(num_seeds, num_points, seed=0):
    """Measurements whose numbers need all their digits."""
    rng = np.random.default_rng(seed)
    values = {
        name: rng.normal(100, 30, (num_seeds, num_points)).cumsum(1).astype(np.float32)
        for name in results.Curve._fields
    }
    values["loss"][:, 0] = np.nan
    values["td_error"] = rng.normal(0, 1, (num_seeds, num_points))  # double precision
    values["epsilon"] = np.tile(np.linspace(1, 0.05, num_points), (num_seeds, 1))
    values["train_episodes"] = np.full((num_seeds, num_points), 7, np.int32)
    values["diverged"] = np.zeros((num_seeds, num_points), bool)
    values["steps"] = 1000 * np.arange(1, num_points + 1)
    return results.Curve(**values)


def of_run(measured, config=None, extra=None, manifest=MANIFEST):
    num_seeds, num_points = measured.loss.shape
    config = config or Config(num_seeds=num_seeds, total_steps=1000 * num_points)
    returns = measured.eval_return[..., None]
    return run_page.page(
        "dqn on CartPole-v1",
        config,
        loop_lengths.loop_lengths(config),
        manifest,
        results.Arrays(measured, returns, extra or {}),
        LEVELS,
    )


def of_sweep(settings, num_seeds=3, num_points=5, **fields):
    config = Config(num_seeds=num_seeds, **fields)
    sweep = planning.plan(config, settings, [], jax.devices()[:1], computed=False)
    curves = []
    for number in range(len(settings)):
        measured = curve(num_seeds, num_points, number)._asdict()
        curves.append(planning.Curves(measured.pop("steps"), measured))
    rankings = report.rank_settings(sweep, curves, "final")
    return sweep_page.page(sweep, rankings, "final", curves, MANIFEST), rankings


def of_comparison():
    runs = [
        comparison.Run(
            label,
            task,
            measured.steps,
            measured.eval_return,
            {"random policy": 0.0, "optimum": None},
            0,
            f"runs/{label}/{task}",
            {"algorithm": label, "environment": task, "discount": 0.99},
        )
        for label in ("dqn", "c51", "a label that is rather long")
        for task in ("CartPole-v1", "Acrobot-v1")
        for measured in [curve(6, 9, len(label + task))]
    ]
    scores = comparison.make_scores(runs, "final")
    result = comparison.compare(runs, scores, "final", 50)
    return comparison_page.page(runs, scores, result, "eval_return")


def embedded(text):
    """The data of a page."""
    pattern = r'<script type="application/json" id="data">(.*?)</script>'
    (data,) = re.findall(pattern, text, re.S)
    return json.loads(data)


def section(data, kind):
    return next(part for part in data["sections"] if part["kind"] == kind)


def chart(data, name):
    charts = section(data, "curves")["charts"]
    return next(entry for entry in charts if entry["name"] == name)


def numbers(line, name="y"):
    return build.decode(line[name])
