"""The blocks of a sweep, trained round by round on every device and process."""

import io
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jaxq import curves, hosts, packing, sweep
from jaxq import plan as plans
from jaxq.config import Config
from jaxq.population import Measurement, Population
from jaxq.progress import Progress
from jaxq.signals import Stopper
from jaxq.sweep import Job, Sweep


def run(
    tried: Sweep,
    directory: pathlib.Path,
    devices: Sequence[jax.Device],
    share: tuple[int, int],
    bar: Progress,
    stop: Stopper,
) -> int:
    """Compute what is missing of a share of a sweep's blocks.

    A round is a block for every worker of every process. Which blocks those are does
    not change a bit of what is measured.

    Args:
        tried: the sweep.
        directory: where finished blocks are kept; only process 0 uses it.
        devices: of this process's workers.
        share: i, n: every n-th block, from the i-th on.
        bar: where progress is reported, in steps of all members.
        stop: holds signals back while a block is written.

    Returns:
        How many blocks of the share were there already.
    """
    mine, count = share
    jobs = tried.jobs[mine::count]
    done = _finished(directory, tried, bar)
    todo = [job for job in jobs if job.name not in done]
    workers = min(json.loads(text) for text in hosts.gather(b"%d" % len(devices)))
    steps = sum(tried.steps(job) for job in jobs) - sum(map(tried.steps, todo))
    for number in range(len(tried.programs)):
        own = [job for job in todo if job.program == number]
        size = workers * hosts.count()
        for first in range(0, len(own), size):
            now = own[first : first + size]
            _round(tried, now, devices[:workers], directory, bar, stop, steps)
            steps += sum(map(tried.steps, now))
    return len(jobs) - len(todo)


def agree(tried: Sweep, devices: Sequence[jax.Device]) -> Sweep:
    """The sweep as process 0 has packed it."""
    own = [packed.width for packed in tried.packings]
    widths = json.loads(hosts.gather(json.dumps(own).encode())[0])
    if widths == own:
        return tried
    return sweep.make(tried.base, tried.settings, tried.ranges, devices, widths)


def _finished(directory: pathlib.Path, tried: Sweep, bar: Progress) -> set[str]:
    """Names of the finished blocks, as process 0 sees them."""
    names: list[str] = []
    if hosts.index() == 0:
        found, wrong = sweep.finished(directory, tried)
        names = [job.name for job in found]
        for text in wrong:
            bar.say(f"warning: {text}")
    return set(json.loads(hosts.gather(json.dumps(names).encode())[0]))


def _round(
    tried: Sweep,
    jobs: Sequence[Job],
    devices: Sequence[jax.Device],
    directory: pathlib.Path,
    bar: Progress,
    stop: Stopper,
    before: int,
) -> None:
    """Train a block a worker, and keep what was measured."""
    size = len(devices)
    mine = jobs[hosts.index() * size : (hosts.index() + 1) * size]
    measured: list[dict[str, np.ndarray]] = []
    if mine:
        computation = Computation(tried, mine, devices)
        share = sum(map(tried.steps, jobs)) / computation.total_steps
        while computation.advance():
            done = int(share * computation.population.steps)
            bar.update(before + done, curves.latest(computation.points[-1]))
        measured = computation.measured()
    parts = [_unpacked(data) for data in hosts.gather(_packed(measured))]
    if hosts.index() == 0:
        with stop.deferred():
            for job, arrays in zip(jobs, itertools.chain(*parts), strict=True):
                sweep.keep(directory, job, arrays)


def _packed(blocks: Sequence[Mapping[str, np.ndarray]]) -> bytes:
    text = io.BytesIO()
    named = {f"{i}/{k}": v for i, block in enumerate(blocks) for k, v in block.items()}
    np.savez(text, **named)  # type: ignore[arg-type]
    return text.getvalue()


def _unpacked(data: bytes) -> list[dict[str, np.ndarray]]:
    blocks: dict[int, dict[str, np.ndarray]] = {}
    with np.load(io.BytesIO(data)) as arrays:
        for name in arrays.files:
            number, _, field = name.partition("/")
            blocks.setdefault(int(number), {})[field] = arrays[name]
    return [blocks[i] for i in range(len(blocks))]


class Computation:
    """Blocks of one program that are trained side by side."""

    def __init__(
        self, sweep: Sweep, jobs: Sequence[Job], devices: Sequence[jax.Device]
    ):
        """Warm the members up."""
        self._sweep, self._jobs = sweep, jobs
        self._program = sweep.programs[jobs[0].program]
        self._packed = sweep.packings[jobs[0].program]
        found = [
            packing.block(self._program, self._packed, job.block, i, devices[i])
            for i, job in enumerate(jobs)
        ]
        members = self._packed.width * len(jobs)
        config = self._program.config
        self.population = Population(config, self._program.env, found, None, members)
        self.points = [self.population.measure()]
        self.population.forget()

    def advance(self) -> bool:
        """Train to the next point of the curves; False if there is none."""
        loop = plans.plan(self._program.config)
        if len(self.points) > loop.num_points:
            return False
        if self.population.devices[0].platform == "cpu":
            # One program for any number, as a single run uses.
            self.population.advance(loop.chunk_iterations * loop.point_chunks)
        else:
            for _ in range(loop.point_chunks):
                self.population.advance()
        self.points.append(self.population.measure())
        self.population.forget()
        return True

    @property
    def total_steps(self) -> int:
        """Environment steps of a member."""
        return plans.plan(self._program.config).total_steps

    def measured(self) -> list[dict[str, np.ndarray]]:
        """For every block its members' curves; leading axis [members]."""
        return [self._of_block(i, job) for i, job in enumerate(self._jobs)]

    def _of_block(self, index: int, job: Job) -> dict[str, np.ndarray]:
        """The curves of a block's members; a setting has its own epsilon."""
        lanes = self._packed.lanes[job.block]
        first = index * self._packed.width
        setting = lanes // self._program.config.num_seeds
        parts = []
        for number in np.unique(setting):
            rows = first + np.flatnonzero(setting == number)
            config = self._sweep.configs[self._program.settings[number]]
            parts.append(_curves(config, self.points, rows))
        joined = {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
            if name != "steps"
        }
        return {"steps": parts[0]["steps"], **joined}


def _curves(
    config: Config, points: Sequence[Measurement], rows: np.ndarray
) -> dict[str, np.ndarray]:
    own = [jax.tree.map(lambda leaf: leaf[rows], point) for point in points]
    arrays = curves.to_arrays(config, own)
    return arrays.curve._asdict() | {"eval_returns": arrays.eval_returns}
