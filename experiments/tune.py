"""Adaptive search: Optuna proposes settings, each is tried on a block of seeds.

Needs the extra `optuna`. A trial's value is the IQM of its seeds. Trials are kept in a
journal; the same command goes on until --trials are finished, and tries again what was
under way when it was stopped. Ranges are those of experiments/sweep.py.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Any, Literal

import sweep as sweeps

from jaxq import cli
from jaxq.config import flags
from jaxq.config.config import Config, ConfigError
from jaxq.config.validate import validate
from jaxq.sweeps import search_space

MAX_REFUSED = 100  # settings in a row that cannot run, until the search gives up


@dataclasses.dataclass(frozen=True)
class Arguments(sweeps.Search):
    """What is searched, and where."""

    trials: int = 50
    """Settings to try, with those that are there already."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How Optuna proposes."""


def main(args: list[str] | None = None) -> None:
    """Search, or go on, and say what was found."""
    with cli.exit_codes("the same command goes on", at_once=args is None):
        words = sys.argv[1:] if args is None else args
        config, arguments = flags.parse(
            sweeps.PRESETS, __doc__ or "", words, Arguments()
        )
        validate(config)
        sweeps.check_search(arguments)
        ranges = [search_space.parse(word) for word in arguments.ranges]
        if not ranges or arguments.trials < 1:
            raise ConfigError("give at least one of --ranges, and --trials above 0.")
        for r in ranges:
            if len(r.values) == 1:
                raise ConfigError(
                    f"{r.field} has one value, {r.values[0]}: give it as a flag of its "
                    "own, and search among others."
                )
        for share in (0.0, 1.0):
            sweeps.check_setting(config, {r.field: r.at(share) for r in ranges})
        try:
            import optuna
        except ImportError as error:
            raise ConfigError(
                "Optuna is not installed: pip install -e '.[optuna]'."
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        cli.set_up_jax(arguments)
        run(config, ranges, arguments)


def suggest(trial: Any, r: search_space.ParameterRange) -> Any:
    """A value that a trial of Optuna's proposes for a range."""
    if r.values:
        return r.values[trial.suggest_categorical(r.field, list(range(len(r.values))))]
    if isinstance(r.at(0.0), int):
        return trial.suggest_int(r.field, r.at(0.0), r.at(1.0), log=r.log)
    value = trial.suggest_float(r.field, r.low, r.high, log=r.log)
    return min(max(float(f"{value:.6g}"), r.low), r.high)


def run(
    config: Config, ranges: list[search_space.ParameterRange], arguments: Arguments
) -> None:
    """Try settings until there are enough."""
    import numpy as np
    import optuna
    from optuna.storages import journal

    from jaxq.runs import files, signals
    from jaxq.sweeps import sweep
    from jaxq.training import blocks

    signals.Stopper.end_process = True
    devices = blocks.workers(arguments.cpu_cores)
    search = [list(arguments.ranges), arguments.score]
    directory = sweep.directory_of(arguments.output, "tune", config, search)
    directory.mkdir(parents=True, exist_ok=True)
    with files.Lock(directory), signals.Stopper():
        backend = journal.JournalFileBackend(str(directory / "study.log"))
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="tune",
            direction="maximize",
            load_if_exists=True,
        )
        # A search that goes on must not draw again what it has drawn.
        words = arguments.sample_seed, len(study.trials)
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        study.sampler = (
            optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            if arguments.sampler == "tpe"
            else optuna.samplers.RandomSampler(seed)
        )
        states = optuna.trial.TrialState
        for trial in study.get_trials(states=(states.RUNNING,)):
            study.tell(trial.number, state=states.FAIL)
            study.enqueue_trial(trial.params)  # stopped while it was under way
        print(f"tune: {directory}")
        while True:
            done = study.get_trials(states=(states.COMPLETE,))
            if len(done) >= arguments.trials:
                break
            asked = min(len(devices), arguments.trials - len(done))
            trials = [ask(study, config, ranges, devices) for _ in range(asked)]
            attempt(study, known(study, trials), config, devices, arguments)
        report(done, config, directory, devices, arguments)


def ask(
    study: Any,
    config: Config,
    ranges: list[search_space.ParameterRange],
    devices: list[Any],
) -> tuple[Any, search_space.Setting]:
    """The next trial whose setting can run, and that setting."""
    import optuna

    from jaxq.sweeps import sweep

    for _ in range(MAX_REFUSED):
        trial = study.ask()
        setting = {r.field: suggest(trial, r) for r in ranges}
        try:
            sweep.make(config, [setting], [], devices)
        except ConfigError as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            print(f"trial {trial.number} cannot run: {error}", flush=True)
        else:
            return trial, setting
    raise ConfigError(
        f"{MAX_REFUSED} settings in a row cannot run; see above. Narrow --ranges."
    )


def known(
    study: Any, trials: list[tuple[Any, search_space.Setting]]
) -> list[tuple[Any, search_space.Setting]]:
    """The trials of new settings; the others get what theirs reached before.

    Every trial has the same seeds, so that it would reach it again.
    """
    import optuna

    from jaxq.sweeps import ranking

    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    before = {json.dumps(old.user_attrs["setting"]): old for old in done}
    new = []
    for trial, setting in trials:
        old = before.get(json.dumps(setting))
        if old is None:
            new.append((trial, setting))
            continue
        for name, value in old.user_attrs.items():
            trial.set_user_attr(name, value)
        study.tell(trial, old.value)
        text = ranking.text_of_all(setting)
        print(f"trial {trial.number}: {old.value:.4g} as trial {old.number} | {text}")
    return new


def attempt(
    study: Any,
    trials: list[tuple[Any, search_space.Setting]],
    config: Config,
    devices: list[Any],
    arguments: Arguments,
) -> None:
    """Train the seeds of some trials side by side, and tell what they reached."""
    from jaxq.stats import intervals
    from jaxq.sweeps import ranking, sweep
    from jaxq.sweeps import workers as sweeps_workers

    if not trials:
        return
    tried = sweep.make(config, [setting for _, setting in trials], [], devices)
    workers = sweeps_workers.Workers(tried, devices)
    curves = sweep.assemble(tried, dict(workers.train(tried.jobs)))
    scores = ranking.scores(curves, arguments.score)
    for trial, setting in trials:
        index = tried.configs.index(search_space.apply(config, setting))
        own, diverged = scores[index], curves[index].arrays["diverged"][:, -1]
        value = float(intervals.iqm(own))
        trial.set_user_attr("setting", setting)
        trial.set_user_attr("scores", [float(score) for score in own])
        trial.set_user_attr("diverged", int(diverged.sum()))
        study.tell(trial, value)
        text = ranking.text_of_all(setting)
        ill = f", {diverged.sum()} seeds diverged" if diverged.any() else ""
        print(f"trial {trial.number}: {value:.4g}{ill} | {text}", flush=True)


def report(
    done: list[Any],
    config: Config,
    directory: pathlib.Path,
    devices: list[Any],
    arguments: Arguments,
) -> None:
    """Rank the trials, and run the best again on fresh seeds."""
    import numpy as np

    from jaxq.sweeps import ranking, sweep
    from jaxq.sweeps import report as sweeps_report

    found: dict[Config, tuple[dict[str, Any], Any]] = {}
    for trial in done:
        setting = search_space.from_json(trial.user_attrs["setting"])
        own = search_space.apply(config, setting)
        found.setdefault(own, (setting, trial))
    settings = [setting for setting, _ in found.values()]
    values = np.array([trial.user_attrs["scores"] for _, trial in found.values()])
    diverged = [trial.user_attrs.get("diverged", 0) for _, trial in found.values()]
    rows = ranking.rank(values, np.array(diverged))
    ranges = [search_space.parse(word) for word in arguments.ranges]
    warnings = ranking.at_edge(settings, rows[0].setting, ranges)
    judged = sweeps_report.Verdict(config.environment, rows, warnings)
    words = list(arguments.ranges)
    tried = sweep.make(config, settings, words, devices, computed=False)
    sweeps_report.write_table(directory, tried, [judged])
    if arguments.plot:
        sweeps_report.draw(directory, tried, judged)
    sweeps.tell(tried, judged, directory, arguments, f" of {len(done)} trials")
    print(f"\nsaved in {directory}")


if __name__ == "__main__":
    main()
