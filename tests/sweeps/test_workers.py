"""Workers of a sweep: devices, processes, checkpoints of long blocks and signals."""

import dataclasses
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
from small_sweeps import (
    BASE,
    RATES,
    ROOT,
    files_of_blocks,
    finish,
    start,
    train,
    train_curves,
)

from jaxq.runs import resume
from jaxq.sweeps import block_files, block_trainer, hosts, planning
from jaxq.training import block_pool


@pytest.mark.slow
@pytest.mark.conformance
def test_two_processes_share_the_blocks_of_a_sweep(tmp_path):
    """The files of its blocks are tested with the slow test below."""
    address = f"127.0.0.1:{free_port()}"
    pair = [
        start(tmp_path, "--distributed", f"{address},{i}/2", "--confirm-seeds", "0")
        for i in range(2)
    ]
    outs = [finish(process)[0] for process in pair]
    assert "as a single run" in outs[0] and "as a single run" not in outs[1]
    assert len(files_of_blocks(sweep_directory(tmp_path))) == 6


def test_processes_wait_while_the_first_confirms(monkeypatch):
    """jax's default timeout, five minutes, would abort all of them."""
    arguments = {}
    monkeypatch.setattr(jax.distributed, "initialize", arguments.update)
    for address in ("auto", "10.0.0.1:1234,1/2"):
        arguments.clear()
        hosts.start(address)
        assert arguments.pop("shutdown_timeout_seconds") > 24 * 3600
    assert arguments == {
        "coordinator_address": "10.0.0.1:1234", "num_processes": 2, "process_id": 1
    }  # fmt: skip


def test_one_and_two_devices_give_the_same_bytes(tmp_path):
    for count in (1, 2):
        devices = jax.devices()[:count]
        sweep = planning.plan(BASE, RATES, [], devices)
        train(tmp_path / str(count), sweep, devices)
    one = files_of_blocks(tmp_path / "1")
    assert len(one) == 3
    assert files_of_blocks(tmp_path / "2") == one


@pytest.mark.slow
@pytest.mark.conformance
def test_any_number_of_devices_gives_the_same_bytes(tmp_path):
    """Eight devices in a separate process; seven blocks, so that some stay idle."""
    code = f"""
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
sys.path.insert(0, {str(ROOT / "tests")!r})
import dataclasses, pathlib, jax, small_sweeps
from jaxq.sweeps import planning
from jaxq.training import blocks
assert len(jax.devices()) == 8 == len(blocks.workers())
base = dataclasses.replace(small_sweeps.BASE, hidden_sizes=(8,), batch_size=4)
settings = [{{"learning_rate": 10.0**-i}} for i in range(1, 8)]
for count in (1, 2, 4, 8):
    devices = jax.devices()[:count]
    sweep = planning.plan(base, settings, [], devices)
    small_sweeps.train(pathlib.Path({str(tmp_path)!r}, str(count)), sweep, devices)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one = files_of_blocks(tmp_path / "1")
    assert len(one) == 7
    for count in (2, 4, 8):
        assert files_of_blocks(tmp_path / str(count)) == one


def sweep_directory(output):
    (directory,) = (output / "sweep" / "dqn").iterdir()
    return directory


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.slow
@pytest.mark.conformance
def test_two_processes_and_a_killed_sweep_give_the_same_bytes_as_one(tmp_path):
    out, _ = finish(start(tmp_path / "one", cores=2))
    whole = sweep_directory(tmp_path / "one")
    assert "compiled programs: 1 | blocks: 6" in out
    assert "on 4 held-out seeds: final return IQM" in out

    port = free_port()
    pair = [
        start(tmp_path / "two", "--distributed", f"127.0.0.1:{port},{i}/2")
        for i in range(2)
    ]
    outs = [finish(process)[0] for process in pair]
    other = [line for line in outs[1].splitlines() if not line.startswith("[Gloo]")]
    assert "on 4 held-out seeds" in outs[0] and not other
    assert sweep_directory(tmp_path / "two").name == whole.name
    assert files_of_blocks(sweep_directory(tmp_path / "two")) == files_of_blocks(whole)

    killed = start(tmp_path / "three", "--confirm-seeds", "0")
    blocks = "three/*/*/*/blocks/*.jaxq"
    while killed.poll() is None and len(list(tmp_path.glob(blocks))) < 2:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = len(list(tmp_path.glob(blocks)))
    out, _ = finish(start(tmp_path / "three", "--confirm-seeds", "0"))
    assert done < 6 and f"{done} blocks were already finished" in out
    assert files_of_blocks(sweep_directory(tmp_path / "three")) == files_of_blocks(
        whole
    )
    for name in ("settings.csv", "metrics.npz", "summary.json"):
        expected = (whole / name).read_bytes()
        assert (sweep_directory(tmp_path / "two") / name).read_bytes() == expected
        assert (sweep_directory(tmp_path / "three") / name).read_bytes() == expected


@pytest.mark.slow
@pytest.mark.conformance
def test_a_long_block_resumes_from_its_last_checkpoint(tmp_path, monkeypatch):
    base = dataclasses.replace(BASE, eval_points=5)
    sweep, _ = train_curves(tmp_path / "whole", base, RATES)
    monkeypatch.setattr(block_trainer, "CHECKPOINT_SECONDS", 0.0)
    trainer, calls = block_trainer.BlockTrainer, []
    train_to_next_point = trainer.train_to_next_point

    def stopping(self):
        calls.append(self)
        if len(calls) == 4:
            raise RuntimeError("power failure")
        return train_to_next_point(self)

    devices = jax.devices()[:1]
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "train_to_next_point", stopping)
        with pytest.raises(RuntimeError, match="power failure"):
            train(tmp_path / "part", sweep, devices)
    parts = sorted((tmp_path / "part" / "blocks").glob("*.part"))
    counts = []

    def counting(self):
        counts.append(len(self.points))
        return train_to_next_point(self)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "train_to_next_point", counting)
        train(tmp_path / "part", sweep, devices)
    assert 1 < counts[0] < 6 and 1 in counts  # one resumes, another starts anew
    assert not any(part.exists() for part in parts)
    assert files_of_blocks(tmp_path / "part") == files_of_blocks(tmp_path / "whole")

    # A corrupt checkpoint is ignored, and so is one of another program.
    job = sweep.jobs[0]
    started = trainer(sweep, job, devices[0], block_pool.CompileOnce())
    arrays = started._population.arrays() | resume.pack(started.points)
    arrays.pop(next(iter(arrays)))
    for corrupt in (
        lambda: parts[0].write_bytes(b"nothing"),
        lambda: block_files.save_partial(parts[0], arrays),
    ):
        (tmp_path / "part" / "blocks" / job.name).unlink()
        corrupt()
        train(tmp_path / "part", sweep, devices)
        assert files_of_blocks(tmp_path / "part") == files_of_blocks(tmp_path / "whole")


def test_a_signal_ends_a_sweep_at_once_and_prints_how_to_resume(tmp_path):
    process = start(tmp_path, "--eval-points", "200", "--total-steps", "2000000")
    while process.poll() is None and not list(tmp_path.glob("*/*/*/sweep.json")):
        time.sleep(0.05)
    time.sleep(3.0)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, 143)
    assert "interrupted; run the same command to resume" in err
