"""A published result, the runs that should reproduce it, and the test that decides."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.reproductions.criteria import Criterion
from jaxq import Config


class Run(NamedTuple):
    """The curves of a finished run; [S, P]."""

    config: Config
    steps: np.ndarray  # [P] environment steps per seed
    train_return: np.ndarray  # mean over episodes since the last point, or nan
    train_episodes: np.ndarray  # number of these episodes
    eval_return: np.ndarray


Measure = Callable[[Run], np.ndarray]  # one number per seed, [S]


class Cost(NamedTuple):
    """Minutes that a target takes."""

    cpu: float  # on two cores
    h100: float | None = None  # None: not worth one


class Quantity(NamedTuple):
    """A number per seed that is compared with the source."""

    run: str  # label of the run
    measure: Measure


@dataclasses.dataclass(frozen=True)
class Target:
    """The declaration of a published result."""

    title: str
    source: str  # where the number was published
    trust: str  # how much it can be relied on, and why
    criterion: Criterion
    cost: Cost
    runs: Mapping[str, Config] = dataclasses.field(default_factory=dict)  # by label
    # What the criterion judges, by label.
    quantities: Mapping[str, Quantity] = dataclasses.field(default_factory=dict)
    # In place of runs: the quantities themselves, by label, [S].
    simulate: Callable[[], Mapping[str, np.ndarray]] | None = None
    algorithms: tuple[str, ...] = ()  # of a simulation
    deviations: tuple[str, ...] = ()  # from the protocol of the source
    # Why the test fails; needed if it does.
    reason: str = ""
    # The protocol, not the program, is why.
    protocol_differs: bool = False
    curve: str = ""  # name of the published curves in results/published
    metric: str = "training return"  # drawn: training return, or evaluation return


VERDICTS = "reproduced", "not reproduced", "differs by protocol"


def verdict(target: Target, passed: bool) -> str:
    """The verdict on a target whose test was or was not passed.

    Raises:
        ValueError: if it was not, and the target has no reason.
    """
    if passed:
        return VERDICTS[0]
    if not target.reason:
        raise ValueError(f"{target.title} is not reproduced, and no reason is stated.")
    return VERDICTS[2 if target.protocol_differs else 1]


def training_return(points: int, until: float | None = None) -> Measure:
    """Mean return of the training episodes of several points of the curve.

    Args:
        points: number of points.
        until: environment steps at the last of them; None for the end.
    """

    def measure(run: Run) -> np.ndarray:
        end = run.steps.size
        if until is not None:
            end = int(np.searchsorted(run.steps, until, side="right"))
        window = slice(max(end - points, 0), end)
        return _weighted(run.train_return[:, window], run.train_episodes[:, window])

    return measure


def last_episodes(count: int) -> Measure:
    """Mean training return over the last points that together have `count` episodes."""

    def measure(run: Run) -> np.ndarray:
        episodes = run.train_episodes.astype(float)
        later = np.cumsum(episodes[:, ::-1], axis=1)[:, ::-1] - episodes
        return _weighted(run.train_return, np.where(later < count, episodes, 0.0))

    return measure


def evaluation_return(points: int = 1) -> Measure:
    """Mean evaluation return over the last points."""
    return lambda run: run.eval_return[:, -points:].mean(axis=1)


def _weighted(returns: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    """Mean return over episodes, per seed; nan without any."""
    total = np.sum(np.nan_to_num(returns) * episodes, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / episodes.sum(axis=1)
