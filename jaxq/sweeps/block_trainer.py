"""Training of one block of a sweep, with checkpoints if it takes long."""

import pathlib
import time

import jax
import numpy as np

from jaxq.config.config import Config
from jaxq.config.fields import CheckpointError
from jaxq.runs import checkpoint, curves, resume
from jaxq.sweeps import block_files, packing, planning
from jaxq.sweeps.planning import Job, Sweep
from jaxq.training.block_pool import CompileOnce
from jaxq.training.metrics import Measurement
from jaxq.training.population import Population

CHECKPOINT_SECONDS = 60.0  # minimum between checkpoints of a block
CHECKPOINT_COST = 20  # minimum interval, in durations of the last write


class BlockTrainer:
    """Trains one block from start to end, one point of the curves at a time."""

    def __init__(
        self,
        sweep: Sweep,
        job: Job,
        device: jax.Device,
        once: CompileOnce,
        path: pathlib.Path | None = None,
    ):
        """Warm up the members, or restore them.

        Args:
            sweep: the sweep.
            job: the block to train.
            device: where it is trained.
            once: compiles the block's program once for all threads.
            path: of the block's checkpoint; None keeps none.
        """
        self._sweep, self._path = sweep, path
        self._program = sweep.programs[job.program]
        packed = sweep.packings[job.program]
        self._lanes = packed.lanes[job.block]
        block = packing.block(self._program, packed, job.block, 0, device)
        config, env = self._program.config, self._program.env
        arrays, self.points = _load(path) if path else (None, [])

        def population(arrays: dict[str, np.ndarray] | None) -> Population:
            return Population(
                config,
                env,
                self._program.lengths,
                [block],
                arrays,
                self._lanes.size,
                once,
            )

        try:
            self._population = population(arrays)
        except CheckpointError:  # valid, but the states are those of another program
            self.points = []
            self._population = population(None)
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        if not self.points:
            self._measure()

    def _measure(self) -> None:
        self.points.append(self._population.measure())
        self._population.reset_metrics()

    def train_to_next_point(self) -> bool:
        """Train to the next point of the curves; False if there is none left."""
        lengths = self._program.lengths
        if len(self.points) > lengths.num_points:
            return False
        # A CPU's program takes any number of iterations: one call trains to the point.
        on_cpu = self._population.devices[0].platform == "cpu"
        point, chunk = lengths.point_iterations, lengths.chunk_iterations
        length = point if on_cpu else chunk
        for done in range(0, point, length):
            self._population.train(min(length, point - done))
        self._measure()
        self._save_if_due()
        return True

    def _save_if_due(self) -> None:
        now = time.monotonic()
        interval = max(CHECKPOINT_SECONDS, CHECKPOINT_COST * self._save_seconds)
        if self._path and now - self._saved_at >= interval:
            arrays = self._population.arrays() | resume.pack(self.points)
            block_files.save_partial(self._path, arrays)
            self._saved_at = time.monotonic()
            self._save_seconds = self._saved_at - now

    @property
    def steps(self) -> int:
        """Environment steps of all members so far."""
        return self._population.steps * self._lanes.size

    def result(self) -> dict[str, np.ndarray]:
        """The curves of the block's members: steps [P], and arrays [member, P].

        They are computed per setting, as settings may differ in their epsilon.
        """
        setting = self._lanes // self._program.config.num_seeds
        parts = []
        for number in np.unique(setting):
            rows = np.flatnonzero(setting == number)
            config = self._sweep.configs[self._program.settings[number]]
            parts.append(self._curves(config, rows))
        steps, arrays = planning.concatenate(parts)
        return {"steps": steps, **arrays}

    def _curves(self, config: Config, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The curves of some members of the block."""
        points = [jax.tree.map(lambda leaf: leaf[rows], point) for point in self.points]
        arrays = curves.to_arrays(config, self._program.lengths, points)
        returns = {"eval_returns": arrays.eval_returns}
        return arrays.curve._asdict() | returns | arrays.extra


def _load(
    path: pathlib.Path,
) -> tuple[dict[str, np.ndarray] | None, list[Measurement]]:
    """States and measurements of an interrupted block, if its checkpoint is valid."""
    try:
        arrays = checkpoint.load(path)[1]
        prefix = "points/extra/"
        extra = [n.removeprefix(prefix) for n in sorted(arrays) if n.startswith(prefix)]
        points = resume.unpack(arrays, extra)
    except (CheckpointError, FileNotFoundError):
        return None, []
    return arrays, points
