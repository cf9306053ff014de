"""Small sweeps for tests, trained in this process or by the command line."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import jax
from family import TINY

from jaxq.runs import manifest, signals
from jaxq.runs.progress import Progress
from jaxq.sweeps import planning, storage, workers

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASE = dataclasses.replace(TINY, seed_block=0, chunk_iterations=0)
RATES = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
FLAGS = [
    "--preset",
    "default",
    "--num-seeds",
    "4",
    "--total-steps",
    "600",
    "--num-envs",
    "2",
    "--buffer-size",
    "400",
    "--batch-size",
    "16",
    "--warmup-steps",
    "100",
    "--update-steps",
    "2",
    "--hidden-sizes",
    "16",
    "--eval-points",
    "2",
    "--eval-episodes",
    "3",
]


def train(directory, sweep, devices, shard=(0, 1)):
    """Train the missing blocks of a sweep; return how many were already finished."""
    record = manifest.collect("", devices, 0)
    sweep = storage.start_or_resume(sweep, directory, record, devices)
    with Progress(1, 1, False) as bar, signals.Stopper() as stop:
        return workers.train(sweep, directory, devices, shard, bar, stop)


def train_curves(directory, base, settings, devices=None, shard=(0, 1)):
    """A sweep, and its curves after training."""
    devices = devices or jax.devices()[:1]
    sweep = planning.plan(base, settings, [], devices)
    train(directory, sweep, devices, shard)
    return sweep, storage.load_curves(directory, sweep)


def files_of_blocks(directory):
    """Name -> bytes of the files of all blocks."""
    return {path.name: path.read_bytes() for path in (directory / "blocks").iterdir()}


def start(output, *words, cores=1):
    """Start a process of sweep.py."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [
            sys.executable, ROOT / "experiments" / "sweep.py", *FLAGS,
            "--grid", "learning_rate=log:1e-4:1e-2:3", "target_period=5,50", *words,
            "--output", output, "--cpu-cores", str(cores), "--no-plot",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def finish(process, code=0):
    """Wait for a process, check its exit code, and return stdout and stderr."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err[-2000:]
    return out, err


def script(name, *words, code=0):
    """Run a script of experiments/; return its stdout, or its stderr on failure."""
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / f"{name}.py", *words],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stderr[-2000:]
    return done.stdout if code == 0 else done.stderr
