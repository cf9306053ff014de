"""Options, checks and the report that sweep.py and tune.py share."""

import dataclasses
import json
import pathlib
import shlex
from typing import TYPE_CHECKING, Any, Literal

import dqn

from jaxq import cli
from jaxq.config import flags
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.validate import validate
from jaxq.runs import plotting
from jaxq.sweeps import search_space
from support import arlbench_settings

if TYPE_CHECKING:
    from jaxq.sweeps.planning import Sweep
    from jaxq.sweeps.report import Ranking

PRESETS = dqn.PRESETS | arlbench_settings.PRESETS


@dataclasses.dataclass(frozen=True)
class Options(flags.Machine):
    """Search space, ranking, and confirmation of the best setting."""

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
    if options.plot:
        plotting.check_matplotlib()


def check_setting(config: Config, setting: search_space.Setting) -> None:
    """Check that a setting can run.

    Raises:
        ConfigError: if it cannot; the message names the setting.
    """
    try:
        validate(search_space.apply(config, setting))
    except ConfigError as error:
        raise ConfigError(f"setting {setting}: {error}") from error


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
    summary = _train_or_load(held_out, directory / "confirmed", options)
    iqm, low, high = _score(summary, options.score)
    if diverged := len(summary["diverged_seeds"]):
        print(f"warning: {diverged} held-out seeds diverged")
    print(
        f"on {seeds} held-out seeds: {options.score} return IQM {iqm:.4g}, 95 % CI "
        f"[{low:.4g}, {high:.4g}] ({ranking.rows[0].iqm:.4g} on the selection seeds)"
    )


def _command(sweep: "Sweep", setting: int) -> str:
    """The command that reproduces a setting, bit for bit, as a single run."""
    program = next(i for i, p in enumerate(sweep.programs) if setting in p.settings)
    config = dataclasses.replace(
        sweep.configs[setting], seed_block=sweep.packings[program].width
    )
    script = [cli.python(), "experiments/dqn.py"]
    return shlex.join(script + flags.flags(config))


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
        devices=blocks.workers(options.cpu_cores),
    ).summary


def _runs_of(config: Config, root: pathlib.Path) -> list[pathlib.Path]:
    """Directories below `root` of runs of a configuration."""
    directories = [path.parent for path in root.rglob("config.json")]
    return [path for path in directories if flags.read_config(path) == config]


def unfinished(config: Config, root: pathlib.Path) -> pathlib.Path | None:
    """Directory below `root` of an interrupted run of a configuration, if any."""
    from jaxq.runs import checkpoint

    for path in _runs_of(config, root):
        if checkpoint.paths(path) and not (path / "summary.json").exists():
            return path
    return None


def _score(summary: dict[str, Any], score: str) -> tuple[float, float, float]:
    """IQM over the seeds of a run, and its 95 % interval."""
    import numpy as np

    from jaxq.stats import intervals

    per_seed = {
        "final": summary["final_eval_return"]["per_seed"],
        "area": summary["mean_eval_return_over_steps"],
    }
    estimate = intervals.bootstrap_iqm(np.array(per_seed[score])[:, None])
    iqm, low, high = (float(part[0]) for part in estimate)
    return iqm, low, high
