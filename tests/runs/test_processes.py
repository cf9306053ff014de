"""Runs as processes: signals, kill -9, full disks, locks, and no side effects."""

import json
import os
import pathlib
import random
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_resume import KINDS, config, digest

from jaxq.config.fields import Locked
from jaxq.runs import checkpoint, files, results

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = """
--environment Catch-bsuite --num-seeds 2 --num-envs 2 --buffer-size 400 --batch-size 16
--warmup-steps 100 --update-steps 4 --hidden-sizes 8 --target-period 7
--epsilon-steps 3000 --eval-points 5 --eval-episodes 2 --checkpoint-seconds 0 --no-plot
--platform cpu
"""
WORDS = TINY.split()


def flags(changes):
    """Command-line flags for fields of the configuration."""
    words = []
    for name, value in changes.items():
        flag = name.replace("_", "-")
        if value is True:
            words.append(f"--{flag}")
        else:
            words += [f"--{flag}", str(value)]
    return words


def start(words, script="dqn.py"):
    """Start a process of an experiment."""
    return subprocess.Popen(
        [sys.executable, f"experiments/{script}", *map(str, words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def end(process, code=0):
    """Wait for a process, check its exit code, and return its output."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def wait_for(process, directory, pattern="*/*/*/*.jaxq"):
    """Wait until a process has saved something, and return its directory."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        paths = sorted(directory.glob(pattern))
        if paths:
            return paths[0].parent
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    raise AssertionError("nothing was saved")


def uninterrupted(tmp_path, words, script="dqn.py"):
    """The directory of an uninterrupted run."""
    end(start([*words, "--output", tmp_path / "whole"], script))
    (directory,) = (tmp_path / "whole").glob("*/*/*")
    return directory


LONG = [*WORDS, "--total-steps", 60_000]


@pytest.mark.slow
@pytest.mark.conformance
def test_a_run_stopped_by_signals_resumes_bit_for_bit(tmp_path):
    finished = uninterrupted(tmp_path, LONG)
    process = start([*LONG, "--output", tmp_path / "runs"])
    for number, code in {signal.SIGINT: 130, signal.SIGTERM: 143}.items():
        directory = wait_for(process, tmp_path / "runs")
        with pytest.raises(Locked, match=f"in use by process {process.pid}, st"):
            files.Lock(directory)
        process.send_signal(number)
        output = end(process, code)
        command = re.search("resume with: (.*)", output)[1]
        assert shlex.split(command)[1:] == [
            "experiments/dqn.py", "--resume", str(directory), "--platform", "cpu",
        ]  # fmt: skip
        assert "Traceback" not in output
        process = start([*shlex.split(command)[2:], "--checkpoint-seconds", 0])
        while "resuming at" not in process.stdout.readline():
            assert process.poll() is None
    assert "final return IQM" in end(process)
    assert digest(directory) == digest(finished)


LIMITED = """
import resource, runpy, sys
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start_limited(size, words):
    """Start a process whose files cannot exceed a size, as on a full disk."""
    script = ROOT / "experiments" / "dqn.py"
    return subprocess.Popen(
        [sys.executable, "-c", LIMITED, str(size), script, *map(str, words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.conformance
def test_a_full_disk_ends_the_run_and_the_saved_state_resumes(tmp_path):
    words = [*WORDS, "--total-steps", 4_000, "--no-compilation-cache"]
    expected = uninterrupted(tmp_path, words)
    size = checkpoint.paths(expected)[0].stat().st_size
    limited = start_limited(size // 2, [*words, "--output", tmp_path / "runs"])
    output = end(limited, 7)
    assert "File too large" in output and "resume with" not in output
    assert "Traceback" not in output
    (directory,) = (tmp_path / "runs").glob("*/*/*")
    assert not list(directory.glob("*.jaxq")) and not list(directory.glob(".*.tmp"))
    # A run that has saved a checkpoint before.
    process = start([*words[:-3], "--total-steps", 60_000, "--output", tmp_path / "b"])
    directory = wait_for(process, tmp_path / "b")
    process.kill()
    process.communicate()
    kept = checkpoint.newest(directory)[0]["iterations"]
    resumed = ["--resume", directory, "--checkpoint-seconds", 0]
    output = end(start_limited(size // 2, [*resumed, "--no-compilation-cache"]), 7)
    assert "experiments/dqn.py" in output and f"--resume {directory}" in output
    assert checkpoint.newest(directory)[0]["iterations"] >= kept


def test_an_unwritable_output_raises():
    output = end(start([*WORDS, "--total-steps", 400, "--output", "/proc/x"]), 7)
    assert "error: " in output and "Traceback" not in output
    assert "compil" not in output


@pytest.mark.slow
@pytest.mark.conformance
def test_a_directory_that_vanishes_ends_the_run(tmp_path):
    process = start([*WORDS, "--total-steps", 200_000, "--output", tmp_path / "runs"])
    directory = wait_for(process, tmp_path / "runs")
    directory.rename(tmp_path / "elsewhere")
    output = end(process, 7)
    assert "No such file or directory" in output and "Traceback" not in output
    checkpoint.newest(tmp_path / "elsewhere")


def test_two_corrupt_checkpoints_have_their_own_exit_code(tmp_path):
    results.write_config(tmp_path, config())
    for iterations in (25, 50):
        checkpoint.path_of(tmp_path, iterations).write_bytes(b"cut off")
    output = end(start(["--resume", tmp_path]), 6)
    assert "checkpoint-0000000025" in output and "checkpoint-0000000050" in output
    assert "Start a new run" in output and "Traceback" not in output


WATCH = """
import sys
connected, written = [], []
def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        connected.append(repr(arguments[1:]))
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = arguments
        if isinstance(path, bytes):
            path = path.decode()
        if (mode and set(mode) & set("wax+")) or (mode is None and flags & 3):
            written.append(path)
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.symlink", "os.link"):
        written.append(str(arguments[0]))
    elif event in ("pickle.find_class",):
        connected.append("pickle")
sys.addaudithook(hook)
sys.argv = sys.argv[1:]
import runpy, json
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("SEEN", json.dumps([connected, written]))
"""


@pytest.mark.slow
@pytest.mark.conformance
def test_a_run_connects_to_nothing_and_writes_nowhere_else(tmp_path):
    out, cache = tmp_path / "runs", tmp_path / "cache"
    cache.mkdir()
    words = [w for w in WORDS if w != "--no-plot"] + ["--total-steps", "400"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMP")}
    done = subprocess.run(
        [sys.executable, "-c", WATCH, "experiments/dqn.py", *words, "--output", out],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=kept | {"XDG_CACHE_HOME": str(cache), "MPLCONFIGDIR": str(cache / "mpl"),
                    "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = next(x for x in done.stdout.splitlines() if x.startswith("SEEN "))
    connected, written = json.loads(line[5:])
    assert not connected
    allowed = (str(out), str(cache), "/dev/", "/proc/self")
    assert not [path for path in written if not path.startswith(allowed)]
    assert any(path.startswith(str(out)) for path in written)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_kills_at_random_moments_change_nothing(kind, tmp_path):
    """SIGKILL during import, compilation, training and saving, until a run finishes."""
    script = "tabular.py" if kind == "tabular" else "dqn.py"
    changes = {k: v for k, v in KINDS[kind].items() if k != "chunk_iterations"}
    words = [*WORDS, *flags(changes), "--total-steps", 60_000]
    expected = digest(uninterrupted(tmp_path, words, script))
    generator = random.Random(kind)
    kills = finished = number = 0
    while kills < 20 or not finished:
        number += 1
        root, directory = tmp_path / str(number), None
        while True:
            checkpoints = sorted(root.glob("*/*/*/checkpoint-*"))
            directory = checkpoints[0].parent if checkpoints else None
            more = ["--resume", directory] if directory else ["--output", root]
            base = ["--checkpoint-seconds", 0, "--no-plot"] if directory else words
            process = start([*base, *more], script)
            try:
                # After the last kill, one run is left to finish.
                process.wait(None if kills >= 20 else generator.uniform(1.0, 12.0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                continue
            end(process)
            break
        (directory,) = {path.parent for path in root.glob("*/*/*/summary.json")}
        assert digest(directory) == expected
        finished += 1
    print(f"{kind}: {kills} kills, {finished} runs")


@pytest.mark.slow
def test_memory_and_speed_are_constant_over_a_hundred_million_steps(tmp_path):
    code = """
import dataclasses, json, pathlib, sys, time
from jaxq import cli
from jaxq.config import flags
cli.set_up_jax(flags.Options(compilation_cache=False, platform="cpu"))
import jax
from experiments import tabular
from jaxq.runs import run
from jaxq.training import compiled, population
config = dataclasses.replace(
    tabular.BASE, environment="Catch-bsuite", num_envs=64, update_steps=64,
    num_updates=1, batch_size=32, total_steps=50_000_000, num_seeds=2, seed_block=1,
    buffer_size=10_000, eval_points=20, chunk_iterations=2_000,
)
rows = []
advance = population.Population.train
def watched(self, iterations=None):
    start, before = time.monotonic(), self.steps
    advance(self, iterations)
    pages = int(open("/proc/self/statm").read().split()[1])
    rows.append((self.steps, (self.steps - before) / (time.monotonic() - start),
                 4096 * pages, compiled.chunk._cache_size()))
population.Population.train = watched
run.run(config, output=pathlib.Path(sys.argv[1]), plot=False)
print(json.dumps(rows))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    steps, speed, memory, programs = np.transpose(
        json.loads(done.stdout.splitlines()[-1])
    )
    assert 2 * steps[-1] >= 10**8
    tenth = np.minimum(9, 10 * steps // steps[-1])
    # The best of many short calls: load from other processes is not a slowdown.
    rates = [speed[tenth == i].max() for i in range(10)]
    print(f"steps/s of each tenth of one seed: {np.round(rates)}")
    print(f"growth {np.ptp(memory[tenth >= 1]) / 1e6:.1f} MB")
    assert max(rates[7:]) >= 0.9 * max(rates[1:4])
    assert memory[-1] - memory[tenth == 1][0] < 50e6
    assert programs[-1] == programs[0] == 1
