"""The blocks of a sweep, trained one after another by the workers of every process."""

import collections
import concurrent.futures
import io
import json
import pathlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import CheckpointError
from jaxq.runs import checkpoint, curves, resume
from jaxq.runs.progress import Progress
from jaxq.runs.signals import Stopper
from jaxq.sweeps import hosts, packing, storage, sweep
from jaxq.sweeps.sweep import Job, Sweep
from jaxq.training.population import (
    CompileOnce,
    Measurement,
    Population,
)


def run(
    tried: Sweep,
    directory: pathlib.Path,
    devices: Sequence[jax.Device],
    share: tuple[int, int],
    bar: Progress,
    stop: Stopper,
) -> int:
    """Compute what is missing of a share of a sweep's blocks.

    Every worker takes one block after another. Which of them takes a block, on which
    device, changes no bit of what is measured.

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
    told = BlockProgress(bar, sum(tried.steps(job) for job in jobs if job.name in done))
    alone = hosts.count() == 1
    workers = Workers(tried, devices, told, directory if alone else None)
    if alone:
        for job, arrays in workers.train(todo):
            with stop.deferred():
                storage.keep(directory, job, tried.members(job), arrays)
                storage.part_of(directory, job).unlink(missing_ok=True)
        return len(jobs) - len(todo)
    # What a round has measured is gathered by all processes, and written by one.
    sizes = [json.loads(text) for text in hosts.gather(b"%d" % len(devices))]
    for first in range(0, len(todo), sum(sizes)):
        own = first + sum(sizes[: hosts.index()])
        found = dict(workers.train(todo[own : own + sizes[hosts.index()]]))
        for data in hosts.gather(_packed(found)):
            if hosts.index() == 0:
                for job, arrays in _unpacked(data).items():
                    storage.keep(directory, job, tried.members(job), arrays)
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
        found, wrong = storage.finished(directory, tried)
        names = [job.name for job in found]
        for text in wrong:
            bar.print(f"warning: {text}")
    return set(json.loads(hosts.gather(json.dumps(names).encode())[0]))


def _packed(blocks: Mapping[Job, Mapping[str, np.ndarray]]) -> bytes:
    text = io.BytesIO()
    named = {
        f"{job.program}/{job.block}/{name}": values
        for job, arrays in blocks.items()
        for name, values in arrays.items()
    }
    np.savez(text, **named)  # type: ignore[arg-type]
    return text.getvalue()


def _unpacked(data: bytes) -> dict[Job, dict[str, np.ndarray]]:
    blocks: dict[Job, dict[str, np.ndarray]] = {}
    with np.load(io.BytesIO(data)) as arrays:
        for text in arrays.files:
            program, block, name = text.split("/")
            own = blocks.setdefault(Job(int(program), int(block)), {})
            own[name] = arrays[text]
    return blocks


class BlockProgress:
    """Sums the steps of blocks that are trained side by side, for the bar."""

    def __init__(self, bar: Progress, steps: int):
        self._bar, self._before = bar, steps
        self._now: collections.Counter[Job] = collections.Counter()
        self._lock = threading.Lock()

    def update(self, job: Job, steps: int, text: str) -> None:
        """Report that a block has done a number of steps."""
        with self._lock:
            self._now[job] = steps
            self._bar.update(self._before + self._now.total(), f"a block's {text}")


class Workers:
    """Threads that train blocks, each on a device of its own."""

    def __init__(
        self,
        tried: Sweep,
        devices: Sequence[jax.Device],
        told: BlockProgress | None = None,
        directory: pathlib.Path | None = None,
    ):
        """Start no thread yet.

        Args:
            tried: the sweep.
            devices: one for each thread.
            told: where progress is reported, if anywhere.
            directory: where blocks that take long are kept now and then, to go on from;
                None keeps none.
        """
        self._tried, self._told, self._directory = tried, told, directory
        self._free: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
        for device in devices:
            self._free.put(device)
        self._pool = concurrent.futures.ThreadPoolExecutor(len(devices))
        self._once = [CompileOnce() for _ in tried.programs]
        self._stopping = threading.Event()

    def train(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, np.ndarray]]]:
        """Blocks and what was measured of them, as they are finished."""
        waiting = {self._pool.submit(self._train, job): job for job in jobs}
        try:
            for future in concurrent.futures.as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException as error:
            self._stopping.set()
            for future in waiting:
                future.cancel()
            if isinstance(error, Exception):  # else the process is to end
                concurrent.futures.wait(waiting)
            raise

    def _train(self, job: Job) -> dict[str, np.ndarray]:
        device = self._free.get()
        part = storage.part_of(self._directory, job) if self._directory else None
        try:
            computation = BlockTrainer(
                self._tried, job, device, self._once[job.program], part
            )
            while computation.advance():
                if self._stopping.is_set():
                    raise concurrent.futures.CancelledError
                if self._told:
                    text = curves.latest(computation.points[-1])
                    self._told.update(job, computation.steps, text)
            return computation.measured()
        finally:
            self._free.put(device)


class BlockTrainer:
    """A block that is trained from its start to its end."""

    def __init__(
        self,
        tried: Sweep,
        job: Job,
        device: jax.Device,
        once: CompileOnce,
        part: pathlib.Path | None = None,
    ):
        """Warm the members up, or go on with what `part` holds of them."""
        self._tried, self._part = tried, part
        self._program = tried.programs[job.program]
        self._packed = tried.packings[job.program]
        self._lanes = self._packed.lanes[job.block]
        self._loop = loop_lengths.loop_lengths(self._program.config)
        block = packing.block(self._program, self._packed, job.block, 0, device)
        config, members = self._program.config, self._lanes.size
        arrays, self.points = _read(part) if part else (None, [])

        def population(arrays: dict[str, np.ndarray] | None) -> Population:
            env = self._program.env
            return Population(config, env, [block], arrays, members, once)

        try:
            self._population = population(arrays)
        except CheckpointError:  # whole, but of a program that has other states
            self.points = []
            self._population = population(None)
        self._saved, self._took = time.monotonic(), 0.0
        if not self.points:
            self._measure()

    def _measure(self) -> None:
        self.points.append(self._population.measure())
        self._population.reset_metrics()

    def advance(self) -> bool:
        """Train to the next point of the curves; False if there is none."""
        lengths = self._loop
        if len(self.points) > lengths.num_points:
            return False
        if self._population.devices[0].platform == "cpu":
            # The program takes any number; a single run has the same one.
            self._population.advance(lengths.chunk_iterations * lengths.point_chunks)
        else:
            for _ in range(lengths.point_chunks):
                self._population.advance()
        self._measure()
        now = time.monotonic()
        if self._part and now - self._saved >= max(PART_SECONDS, 20 * self._took):
            arrays = self._population.arrays() | resume.pack(self.points)
            storage.keep_part(self._part, arrays)
            self._saved = time.monotonic()
            self._took = self._saved - now
        return True

    @property
    def steps(self) -> int:
        """Environment steps that all members have done."""
        return self._population.steps * self._lanes.size

    def measured(self) -> dict[str, np.ndarray]:
        """The curves of the block's members; a setting has an epsilon of its own."""
        setting = self._lanes // self._program.config.num_seeds
        parts = []
        for number in np.unique(setting):
            rows = np.flatnonzero(setting == number)
            config = self._tried.configs[self._program.settings[number]]
            parts.append(_curves(config, self.points, rows))
        joined = {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
            if name != "steps"
        }
        return {"steps": parts[0]["steps"], **joined}


PART_SECONDS = 60.0  # between checkpoints of a block that is under way


def _read(
    part: pathlib.Path,
) -> tuple[dict[str, np.ndarray] | None, list[Measurement]]:
    """States and measurements of a block that was stopped, if they are whole."""
    try:
        arrays = checkpoint.load(part)[1]
        points = resume.unpack(arrays, ())
    except (CheckpointError, FileNotFoundError):
        return None, []
    return arrays, points


def _curves(
    config: Config, points: Sequence[Measurement], rows: np.ndarray
) -> dict[str, np.ndarray]:
    own = [jax.tree.map(lambda leaf: leaf[rows], point) for point in points]
    arrays = curves.to_arrays(config, loop_lengths.loop_lengths(config), own)
    return arrays.curve._asdict() | {"eval_returns": arrays.eval_returns}
