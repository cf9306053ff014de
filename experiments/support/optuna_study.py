"""An Optuna study over the settings of a sweep, kept in a journal."""

import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxq.config import user_code
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.sweeps.search_space import ParameterRange, Setting

if TYPE_CHECKING:
    import jax

MAX_REFUSED = 100  # invalid settings in a row before the search gives up


class Trial(NamedTuple):
    """An Optuna trial and its setting."""

    trial: Any  # optuna.trial.Trial
    setting: Setting


def open_study(directory: pathlib.Path, sampler: str, sample_seed: int) -> Any:
    """The study of a directory; interrupted trials are queued again."""
    import numpy as np
    import optuna
    from optuna.storages import journal

    backend = journal.JournalFileBackend(str(directory / "study.log"))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="tune",
        direction="maximize",
        load_if_exists=True,
    )
    # A resumed search must not repeat the samples of the first command.
    entropy = sample_seed, len(study.trials)
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    study.sampler = (
        optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        if sampler == "tpe"
        else optuna.samplers.RandomSampler(seed)
    )
    states = optuna.trial.TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):
        study.tell(trial.number, state=states.FAIL)
        study.enqueue_trial(trial.params)
    return study


def check_permitted(
    study: Any, source: str, config: Config, ranges: list[ParameterRange]
) -> None:
    """Raise if a journal names code that the command does not; nothing is imported.

    Raises:
        ConfigError: with the names.
    """
    given = {config.environment, config.algorithm}
    given |= {value for r in ranges for value in r.values}
    for trial in study.get_trials(deepcopy=False):
        setting = trial.user_attrs.get("setting", {})
        user_code.check_permitted(setting, source, given, "Choose another --output.")


def suggest(trial: Any, r: ParameterRange) -> Any:
    """The value that an Optuna trial proposes for a range."""
    if r.values:
        return r.values[trial.suggest_categorical(r.field, list(range(len(r.values))))]
    if isinstance(r.at(0.0), int):
        return trial.suggest_int(r.field, r.at(0.0), r.at(1.0), log=r.log)
    value = trial.suggest_float(r.field, r.low, r.high, log=r.log)
    return min(max(float(f"{value:.6g}"), r.low), r.high)


def propose(
    study: Any,
    config: Config,
    ranges: list[ParameterRange],
    devices: "list[jax.Device]",
) -> Trial:
    """The next trial with a valid setting.

    Raises:
        ConfigError: after `MAX_REFUSED` invalid settings in a row.
    """
    import optuna

    from jaxq.sweeps import planning

    for _ in range(MAX_REFUSED):
        trial = study.ask()
        setting = {r.field: suggest(trial, r) for r in ranges}
        try:
            planning.plan(config, [setting], [], devices)
        except ConfigError as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            print(f"trial {trial.number} cannot run: {error}", flush=True)
        else:
            return Trial(trial, setting)
    raise ConfigError(
        f"{MAX_REFUSED} settings in a row cannot run; see above. Narrow --ranges."
    )


def reuse_results(study: Any, config: Config, trials: list[Trial]) -> list[Trial]:
    """Give settings of equal effect their earlier results; return the new trials.

    All trials use the same seeds, so training again would give the same result.
    """
    import optuna

    from jaxq.sweeps import effects, ranking, search_space

    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    settings = [search_space.from_json(old.user_attrs["setting"]) for old in done]
    found = [effects.effect(config, setting) for setting in settings]
    results = dict(zip(found, done, strict=True))
    new = []
    for trial, setting in trials:
        old = results.get(effects.effect(config, setting))
        if old is None:
            new.append(Trial(trial, setting))
            continue
        for name, value in (old.user_attrs | {"setting": setting}).items():
            trial.set_user_attr(name, value)
        study.tell(trial, old.value)
        text = ranking.format_setting(setting)
        print(f"trial {trial.number}: {old.value:.4g} as trial {old.number} | {text}")
    return new
