"""Workers that train the blocks of a sweep: threads in each of several processes."""

import collections
import concurrent.futures
import io
import json
import pathlib
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from jaxq.runs import curves
from jaxq.runs.progress import Progress
from jaxq.runs.signals import Stopper
from jaxq.sweeps import block_files, hosts, planning
from jaxq.sweeps.block_trainer import BlockTrainer
from jaxq.sweeps.planning import Job, Sweep
from jaxq.training.block_pool import CompileOnce

Arrays = dict[str, np.ndarray]


def train(
    sweep: Sweep,
    directory: pathlib.Path,
    devices: Sequence[jax.Device],
    shard: tuple[int, int],
    bar: Progress,
    stop: Stopper,
) -> int:
    """Train the missing blocks of one shard of a sweep.

    Each worker takes one block after another. The results do not depend on which worker
    or device trains a block.

    Args:
        sweep: the sweep.
        directory: of finished blocks; only process 0 uses it.
        devices: of this process's workers.
        shard: i, n: every n-th block, starting with the i-th.
        bar: reports progress, in steps summed over members.
        stop: defers signals while a block is written.

    Returns:
        Number of blocks of the shard that were finished before.
    """
    index, count = shard
    jobs = sweep.jobs[index::count]
    done = _finished(directory, sweep, bar)
    missing = [job for job in jobs if job.name not in done]
    steps = sum(sweep.steps(job) for job in jobs if job.name in done)
    progress = BlockProgress(bar, steps)
    if hosts.count() == 1:
        workers = Workers(sweep, devices, progress, directory)
        _train_alone(workers, missing, sweep, directory, stop)
    else:
        workers = Workers(sweep, devices, progress)
        _train_together(workers, missing, sweep, directory, len(devices))
    return len(jobs) - len(missing)


def _train_alone(
    workers: "Workers",
    jobs: Sequence[Job],
    sweep: Sweep,
    directory: pathlib.Path,
    stop: Stopper,
) -> None:
    for job, arrays in workers.train(jobs):
        with stop.deferred():
            block_files.save_block(directory, job, sweep.members(job), arrays)
            block_files.partial_path(directory, job).unlink(missing_ok=True)


def _train_together(
    workers: "Workers",
    jobs: Sequence[Job],
    sweep: Sweep,
    directory: pathlib.Path,
    num_workers: int,
) -> None:
    """Train in rounds of one block per worker; process 0 writes them after each."""
    counts = [json.loads(data) for data in hosts.gather(b"%d" % num_workers)]
    for start in range(0, len(jobs), sum(counts)):
        first = start + sum(counts[: hosts.index()])
        result = dict(workers.train(jobs[first : first + num_workers]))
        for data in hosts.gather(_to_bytes(result)):
            if hosts.index() == 0:
                for job, arrays in _from_bytes(data).items():
                    block_files.save_block(directory, job, sweep.members(job), arrays)


def share_packing(sweep: Sweep, devices: Sequence[jax.Device]) -> Sweep:
    """The sweep as process 0 has packed it."""
    widths = json.loads(hosts.gather(json.dumps(sweep.widths).encode())[0])
    if widths == sweep.widths:
        return sweep
    return planning.plan(sweep.base, sweep.settings, sweep.ranges, devices, widths)


def _finished(directory: pathlib.Path, sweep: Sweep, bar: Progress) -> set[str]:
    """Names of the finished blocks, as seen by process 0."""
    names: list[str] = []
    if hosts.index() == 0:
        jobs, messages = block_files.finished(directory, sweep)
        names = [job.name for job in jobs]
        for message in messages:
            bar.print(f"warning: {message}")
    return set(json.loads(hosts.gather(json.dumps(names).encode())[0]))


def _to_bytes(blocks: Mapping[Job, Mapping[str, np.ndarray]]) -> bytes:
    buffer = io.BytesIO()
    named = {
        f"{job.program}/{job.block}/{name}": values
        for job, arrays in blocks.items()
        for name, values in arrays.items()
    }
    np.savez(buffer, **named)  # type: ignore[arg-type]
    return buffer.getvalue()


def _from_bytes(data: bytes) -> dict[Job, Arrays]:
    blocks: dict[Job, Arrays] = {}
    with np.load(io.BytesIO(data)) as arrays:
        for key in arrays.files:
            program, block, name = key.split("/")
            job = Job(int(program), int(block))
            blocks.setdefault(job, {})[name] = arrays[key]
    return blocks


class BlockProgress:
    """Sums the steps of blocks that are trained side by side, for the progress bar."""

    def __init__(self, bar: Progress, steps: int):
        """Count from the steps of the blocks that were finished before."""
        self._bar, self._finished = bar, steps
        self._steps: collections.Counter[Job] = collections.Counter()
        self._lock = threading.Lock()

    def update(self, job: Job, steps: int, text: str) -> None:
        """Report the steps of one block so far."""
        with self._lock:
            self._steps[job] = steps
            total = self._finished + self._steps.total()
            self._bar.update(total, f"latest block: {text}")


class Workers:
    """Threads that train blocks, each on its own device."""

    def __init__(
        self,
        sweep: Sweep,
        devices: Sequence[jax.Device],
        progress: BlockProgress | None = None,
        directory: pathlib.Path | None = None,
    ):
        """Create the workers; threads start with `train`.

        Args:
            sweep: the sweep.
            devices: one per thread.
            progress: where progress is reported, if anywhere.
            directory: for checkpoints of long blocks; None keeps none.
        """
        self._sweep, self._progress, self._directory = sweep, progress, directory
        self._devices: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
        for device in devices:
            self._devices.put(device)
        self._pool = concurrent.futures.ThreadPoolExecutor(len(devices))
        self._once = [CompileOnce() for _ in sweep.programs]
        self._stopping = threading.Event()

    def train(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Arrays]]:
        """Yield each block and its measurements as it finishes."""
        futures = {self._pool.submit(self._train, job): job for job in jobs}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except BaseException as error:
            self._stopping.set()
            for future in futures:
                future.cancel()
            if isinstance(error, Exception):  # otherwise the process is about to exit
                concurrent.futures.wait(futures)
            raise

    def _train(self, job: Job) -> Arrays:
        device = self._devices.get()
        directory = self._directory
        path = block_files.partial_path(directory, job) if directory else None
        try:
            once = self._once[job.program]
            trainer = BlockTrainer(self._sweep, job, device, once, path)
            while trainer.train_to_next_point():
                if self._stopping.is_set():
                    raise concurrent.futures.CancelledError
                if self._progress:
                    text = curves.latest(trainer.points[-1], interval=False)
                    self._progress.update(job, trainer.steps, text)
            return trainer.result()
        finally:
            self._devices.put(device)
