"""Options, checks and the report that sweep.py and tune.py share."""

import contextlib
import dataclasses
import json
import pathlib
import shlex
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from experiments import dqn
from experiments.support import arlbench_settings
from jaxq import cli
from jaxq.config import flags
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.runs import matplotlib_check
from jaxq.sweeps import search_space

if TYPE_CHECKING:
    from jaxq.sweeps.planning import Sweep
    from jaxq.sweeps.ranking import Ranking

PRESETS = dqn.PRESETS | arlbench_settings.PRESETS


@dataclasses.dataclass(frozen=True)
class Options(flags.Machine):
    """Search space, ranking, and confirmation of the best setting."""

    title: ClassVar[str] = "search"

    ranges: tuple[str, ...] = ()
    """Ranges that settings are sampled from."""
    sample_seed: int = 0
    """Seed of the samples."""
    score: Literal["final", "area"] = "final"
    """Score to rank by: the final greedy return, or its mean over the steps."""
    confirm_seeds: int | None = None
    """Held-out seeds on which the best setting is trained again; None uses as many as
    it was selected on, 0 skips this."""
    top: int = 10
    """Number of settings to print."""


def check_options(options: Options) -> None:
    """Check the numbers, and that plots can be drawn.

    Raises:
        ConfigError: for a number out of range, or if matplotlib cannot be imported.
    """
    for name, minimum in (("top", 1), ("confirm_seeds", 0), ("sample_seed", 0)):
        value = getattr(options, name)
        if value is not None and value < minimum:
            raise ConfigError(f"{name} = {value} is less than {minimum}.")
    matplotlib_check.check_figures(options.plot, options.figure_format)


def check_effects(
    config: Config, settings: list[search_space.Setting], words: list[str]
) -> tuple[list[search_space.Setting], str]:
    """Check that every swept field has an effect, and note flags without one.

    Args:
        config: the configuration that settings change.
        settings: of the search, or a sample of them.
        words: of the command line.

    Returns:
        The settings of which no two have the same effect, and a note on the others.

    Raises:
        ConfigError: for a field that is swept, but that no setting reads.
    """
    from jaxq.config import field_usage
    from jaxq.sweeps import effects

    found = [effects.effect(config, setting) for setting in settings]
    effects.check_swept(settings, found)
    for name in effects.unread(flags.fields_of(words), found):
        print(f"note: {name} has no effect: {field_usage.reason(name)}")
    return effects.distinct(settings, found)


def print_ranking(
    sweep: "Sweep", ranking: "Ranking", options: Options, source: str = ""
) -> None:
    """Print the table of an environment, and its warnings.

    Args:
        sweep: the sweep.
        ranking: its ranked settings.
        options: the score, and how many settings to print.
        source: of the settings, appended to the title.
    """
    from jaxq.sweeps import report

    print(f"\n{ranking.environment}, {options.score} return{source}:")
    print(report.table(sweep, ranking, options.top))
    for text in ranking.warnings:
        print(f"warning: {text}")
    if ranking.rows[0].diverged:
        print(f"warning: {ranking.rows[0].diverged} seeds of the best setting diverged")


def confirm(
    sweep: "Sweep", ranking: "Ranking", directory: pathlib.Path, options: Options
) -> None:
    """Train the best setting again on held-out seeds, and print its score."""
    from jaxq.sweeps import report

    config = sweep.configs[ranking.best]
    print(f"the best as a single run: {_command(sweep, ranking.best)}")
    seeds = options.confirm_seeds
    seeds = config.num_seeds if seeds is None else seeds
    if not seeds:
        return
    held_out = report.confirmation(config, seeds)
    print(f"training the best on {seeds} held-out seeds ...", flush=True)
    summary = _train_or_load(held_out, directory / "confirmed", options)
    score = _describe(summary, options.score)
    if diverged := len(summary["diverged_seeds"]):
        print(f"warning: {diverged} held-out seeds diverged")
    print(
        f"on {seeds} held-out seeds: {options.score} return {score} "
        f"({ranking.rows[0].iqm:.4g} on the selection seeds)"
    )


def _command(sweep: "Sweep", setting: int) -> str:
    """The command that reproduces a setting, bit for bit, as a single run."""
    program = next(i for i, p in enumerate(sweep.programs) if setting in p.settings)
    config = dataclasses.replace(
        sweep.configs[setting], seed_block=sweep.packings[program].width
    )
    words = [*cli.command("dqn"), *flags.flags(config)]
    return shlex.join(words)


def _train_or_load(
    config: Config, root: pathlib.Path, options: Options
) -> dict[str, Any]:
    """Summary of a run below `root`: a finished one, or one that is run or resumed."""
    from jaxq.runs import run
    from jaxq.training import blocks

    for path in _runs_of(config, root):
        if (path / "summary.json").exists():
            return json.loads((path / "summary.json").read_text(encoding="utf-8"))
    return run.run(
        config,
        output=root,
        resume=unfinished(config, root),
        force_resume=options.force_resume,
        plot=options.plot,
        figure_format=options.figure_format,
        devices=blocks.workers(options.cpu_cores),
    ).summary


def _runs_of(config: Config, root: pathlib.Path) -> list[pathlib.Path]:
    """Directories below `root` of runs of a configuration.

    Runs of other versions, whose configuration cannot be read, are left out.
    """
    found = []
    for path in root.rglob("config.json"):
        with contextlib.suppress(ConfigError):
            if flags.read_config(path.parent) == config:
                found.append(path.parent)
    return found


def unfinished(config: Config, root: pathlib.Path) -> pathlib.Path | None:
    """Directory below `root` of an interrupted run of a configuration, if any."""
    from jaxq.runs import checkpoint

    for path in _runs_of(config, root):
        if checkpoint.paths(path) and not (path / "summary.json").exists():
            return path
    return None


def latest(config: Config, root: pathlib.Path) -> pathlib.Path | None:
    """Directory below `root` of a run of a configuration, finished or not, if any."""
    from jaxq.runs import checkpoint

    found = [path for path in _runs_of(config, root) if checkpoint.paths(path)]
    return max(found, default=None)


def _describe(summary: dict[str, Any], score: str) -> str:
    """IQM over the seeds of a run, and its 95 % interval, in words."""
    import numpy as np

    from jaxq.stats import intervals

    per_seed = {
        "final": summary["final_eval_return"]["per_seed"],
        "area": summary["mean_eval_return_over_steps"],
    }
    return intervals.describe(np.array(per_seed[score], float), label=", 95 % CI ")
