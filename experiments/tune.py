"""Adaptive search: Optuna proposes settings, and each is trained with many seeds.

Needs the extra `optuna`. The value of a trial is the IQM over its seeds. Trials are
kept in a journal: the same command resumes the search until --trials are finished, and
repeats those that were interrupted. Ranges are written as for experiments/sweep.py.
"""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from experiments.support import optuna_study, search, unused_flags
from jaxq import cli
from jaxq.config import flags
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.validate import validate
from jaxq.sweeps import sampling, search_space
from jaxq.sweeps.search_space import ParameterRange

if TYPE_CHECKING:
    import jax


SAMPLES = 256  # settings of which at least one must read each field of --ranges


@dataclasses.dataclass(frozen=True)
class Arguments(search.Options):
    """Search space and length of the search."""

    title: ClassVar[str] = "tune"

    trials: int = 50
    """Total number of trials, including those of earlier commands."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Optuna's sampler."""


def main(args: list[str] | None = None) -> None:
    """Run or resume a search from the command line, and report."""
    with cli.exit_codes("run the same command to resume", at_once=args is None):
        words = sys.argv[1:] if args is None else args
        config, arguments = flags.parse(
            search.PRESETS, __doc__ or "", words, Arguments()
        )
        validate(config)
        search.check_options(arguments)
        ranges = [search_space.parse(text) for text in arguments.ranges]
        unused_flags.refuse_swept(words, config, [r.field for r in ranges])
        check_ranges(config, ranges, arguments)
        try:
            import optuna
        except ImportError as error:
            raise ConfigError(
                "Optuna is not installed: pip install -e '.[optuna]'."
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        cli.set_up_jax(arguments)
        search.check_effects(config, sampling.sample(ranges, SAMPLES), words)
        run(config, ranges, arguments)


def check_ranges(
    config: Config, ranges: list[ParameterRange], arguments: Arguments
) -> None:
    """Check the search space.

    Raises:
        ConfigError: if there is nothing to search, or the ends of a range are invalid.
    """
    if not ranges or arguments.trials < 1:
        raise ConfigError("give at least one of --ranges, and --trials above 0.")
    for r in ranges:
        if len(r.values) == 1:
            raise ConfigError(
                f"{r.field} has one value, {r.values[0]}: set it with its own flag, "
                "and search over other fields."
            )
    for share in (0.0, 1.0):
        search_space.check_setting(config, {r.field: r.at(share) for r in ranges})


def run(config: Config, ranges: list[ParameterRange], arguments: Arguments) -> None:
    """Train settings until there are enough trials, and report."""
    import optuna

    from jaxq.runs import files, signals
    from jaxq.sweeps import planning
    from jaxq.training import blocks

    signals.Stopper.end_process = True
    devices = blocks.workers(arguments.cpu_cores)
    key = [list(arguments.ranges), arguments.score]
    directory = planning.directory(arguments.output, "tune", config, key)
    directory.mkdir(parents=True, exist_ok=True)
    with files.Lock(directory), signals.Stopper():
        study = optuna_study.open_study(
            directory, arguments.sampler, arguments.sample_seed
        )
        source = f"{directory}/study.log"
        optuna_study.check_permitted(study, source, config, ranges)
        print(f"tune: {directory}")
        while True:
            done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
            if len(done) >= arguments.trials:
                break
            count = min(len(devices), arguments.trials - len(done))
            trials = [
                optuna_study.propose(study, config, ranges, devices)
                for _ in range(count)
            ]
            new = optuna_study.reuse_results(study, config, trials)
            if new:
                train(study, new, config, devices, arguments)
        report(done, config, directory, devices, arguments)


def train(
    study: Any,
    trials: list[optuna_study.Trial],
    config: Config,
    devices: "list[jax.Device]",
    arguments: Arguments,
) -> None:
    """Train the seeds of some trials side by side, and record their results."""
    import numpy as np

    from jaxq.stats import intervals
    from jaxq.sweeps import planning, ranking
    from jaxq.sweeps.workers import Workers

    sweep = planning.plan(config, [t.setting for t in trials], [], devices)
    curves = planning.assemble(sweep, dict(Workers(sweep, devices).train(sweep.jobs)))
    scores = ranking.scores(curves, arguments.score)
    for trial, setting in trials:
        index = sweep.configs.index(planning.resolved(config, setting))
        diverged = int(curves[index].arrays["diverged"][:, -1].sum())
        missing = int(np.isnan(scores[index]).sum())
        value = -np.inf if missing else float(intervals.iqm(scores[index]))
        trial.set_user_attr("setting", setting)
        trial.set_user_attr("scores", [float(score) for score in scores[index]])
        trial.set_user_attr("diverged", diverged)
        study.tell(trial, value)
        note = f", {diverged} seeds diverged" if diverged else ""
        note += f", {missing} scores are nan" if missing else ""
        text = ranking.format_setting(setting)
        print(f"trial {trial.number}: {value:.4g}{note} | {text}", flush=True)


def report(
    done: list[Any],
    config: Config,
    directory: pathlib.Path,
    devices: "list[jax.Device]",
    arguments: Arguments,
) -> None:
    """Rank the trials, and confirm the best setting on held-out seeds."""
    import numpy as np

    from jaxq.sweeps import effects, planning, ranking
    from jaxq.sweeps.ranking import Ranking
    from jaxq.sweeps.report import draw, write_table

    trials: dict[effects.Effect, optuna_study.Trial] = {}  # the first of each effect
    for trial in done:
        setting = search_space.from_json(trial.user_attrs["setting"])
        trials.setdefault(
            effects.effect(config, setting), optuna_study.Trial(trial, setting)
        )
    settings = [setting for _, setting in trials.values()]
    attributes = [trial.user_attrs for trial, _ in trials.values()]
    values = np.array([attrs["scores"] for attrs in attributes])
    diverged = np.array([attrs.get("diverged", 0) for attrs in attributes])
    rows = ranking.rank(values, diverged)
    texts = list(arguments.ranges)
    ranges = [search_space.parse(text) for text in texts]
    warnings = ranking.edge_warnings(settings, rows[0].setting, ranges)
    warnings += ranking.nan_warnings(rows)
    ranked = Ranking(config.environment, rows, warnings)
    sweep = planning.plan(config, settings, texts, devices, computed=False)
    write_table(directory, sweep, [ranked])
    if arguments.plot:
        draw(directory, sweep, (), [ranked], arguments.score, arguments.figure_format)
    search.print_ranking(sweep, ranked, arguments, f" of {len(done)} trials")
    search.confirm(sweep, ranked, directory, arguments)
    print(f"\nsaved in {directory}")


if __name__ == "__main__":
    main()
