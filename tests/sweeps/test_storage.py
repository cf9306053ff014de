"""Directories of sweeps: finished and corrupt blocks, shards and resuming."""

import json

import jax
import numpy as np
import pytest
from small_sweeps import BASE, RATES, train, train_curves

from jaxq.config.fields import ConfigError
from jaxq.runs import manifest
from jaxq.sweeps import block_files, planning, report, storage
from jaxq.training import memory


def test_finished_blocks_are_not_trained_again(tmp_path):
    sweep, _ = train_curves(tmp_path, BASE, RATES)
    paths = sorted((tmp_path / "blocks").iterdir())
    content = [path.read_bytes() for path in paths]
    paths[0].unlink()
    corrupt = bytearray(content[1])
    corrupt[len(corrupt) // 2] ^= 1
    paths[1].write_bytes(bytes(corrupt))
    with pytest.raises(ConfigError, match="is missing: not every shard"):
        storage.load_curves(tmp_path, sweep)
    paths[0].write_bytes(content[2])
    with pytest.raises(ConfigError, match="is corrupt: it is another block, renamed"):
        storage.load_curves(tmp_path, sweep)
    paths[0].unlink()
    times = paths[2].stat().st_mtime_ns
    assert train(tmp_path, sweep, jax.devices()[:1]) == 1
    assert [path.read_bytes() for path in paths] == content
    assert paths[2].stat().st_mtime_ns == times
    assert train(tmp_path, sweep, jax.devices()[:1]) == 3


def test_a_block_that_was_packed_differently_is_rejected(tmp_path):
    """Two shards that start at the same moment may choose different widths."""
    devices = jax.devices()[:1]
    sweep = planning.plan(BASE, RATES, [], devices, [2])
    storage.start_or_resume(sweep, tmp_path, manifest.collect("", devices, 0), devices)
    for job in sweep.jobs:
        members = sweep.members(job) if job.block else [0, 3]
        block_files.save_block(tmp_path, job, members, {"steps": np.arange(2)})
    jobs, (message,) = block_files.finished(tmp_path, sweep)
    assert jobs == set(sweep.jobs[1:]) and "packed differently" in message
    with pytest.raises(ConfigError, match="packed differently"):
        storage.load_curves(tmp_path, sweep)


def test_temporary_files_of_killed_processes_are_deleted(tmp_path):
    devices = jax.devices()[:1]
    sweep = planning.plan(BASE, RATES, [], devices)
    done, unfinished = sweep.jobs[:2]
    block_files.save_block(tmp_path, done, sweep.members(done), {"steps": np.arange(2)})
    for job in (done, unfinished):
        block_files.save_partial(block_files.partial_path(tmp_path, job), {})
    temporary = (
        tmp_path / "blocks" / f".{unfinished.name}.123.tmp",
        tmp_path / ".x.1.tmp",
    )
    for path in temporary:
        path.touch()
    (tmp_path / ".lock-1-of-2").touch()
    storage.clean_up(tmp_path, sweep)
    assert all(path.exists() for path in temporary)  # may be the other shard's
    (tmp_path / ".lock-1-of-2").unlink()
    storage.clean_up(tmp_path, sweep)
    names = {path.name for path in (tmp_path / "blocks").iterdir()}
    assert names == {done.name, f"{unfinished.name}.part"}
    assert not temporary[1].exists()


def test_merging_needs_no_memory_for_blocks(tmp_path, monkeypatch):
    devices = jax.devices()[:1]
    sweep = planning.plan(BASE, RATES, [], devices)
    storage.start_or_resume(sweep, tmp_path, manifest.collect("", devices, 0), devices)
    monkeypatch.setattr(memory, "available", lambda devices: 1)
    assert storage.load(tmp_path, devices, False).packings[0].width == 4
    with pytest.raises(ConfigError, match="but only 1 bytes is free"):
        storage.load(tmp_path, devices)
    monkeypatch.setattr(
        memory, "available", lambda devices: 3 * need / memory.USABLE_SHARE
    )
    need = sweep.programs[0].need.total
    with pytest.raises(ConfigError, match=r"in memory: only [23] do\. Use a smaller"):
        storage.load(tmp_path, devices)


@pytest.mark.parametrize("name", ["settings.csv", "metrics.npz", "summary.json"])
def test_merged_shards_equal_the_whole_sweep(tmp_path, name):
    devices = jax.devices()[:1]
    sweep = planning.plan(BASE, RATES, ["learning_rate=1e-3,1e-2,1e-1"], devices)
    whole, a, b = (tmp_path / part for part in ("whole", "a", "b"))
    train(whole, sweep, devices)
    train(a, sweep, devices, (0, 2))
    train(b, sweep, devices, (1, 2))
    assert len(list((a / "blocks").iterdir())) == 2
    assert storage.merge(a, [b]) == 1 and storage.merge(a, [b]) == 0
    for directory in (whole, a):
        loaded = storage.load(directory, devices)
        assert loaded.configs == sweep.configs
        curves = storage.load_curves(directory, loaded)
        rankings = report.rank_settings(loaded, curves, "final")
        report.write(directory, loaded, curves, rankings, "final", plot=False)
    assert (whole / name).read_bytes() == (a / name).read_bytes()
    other = planning.plan(BASE, RATES[:2], [], devices)
    train(tmp_path / "c", other, devices, (1, 2))
    with pytest.raises(ConfigError, match="differ in programs, ranges, settings"):
        storage.merge(a, [tmp_path / "c"])
    (b / "blocks" / sweep.jobs[1].name).write_bytes(b"nothing")
    (a / "blocks" / sweep.jobs[1].name).unlink()
    with pytest.raises(ConfigError, match=r"is corrupt: .* to train it again"):
        storage.merge(a, [b])


def test_a_sweep_resumes_with_its_own_widths_and_versions(tmp_path):
    devices = jax.devices()[:1]
    sweep = planning.plan(BASE, RATES, [], devices)
    record = manifest.collect("", devices, 0)
    storage.start_or_resume(sweep, tmp_path, record, devices)
    path = tmp_path / "sweep.json"
    content = json.loads(path.read_text())
    content["programs"][0]["width"] = 2
    path.write_text(json.dumps(content))
    assert storage.start_or_resume(sweep, tmp_path, record, devices).widths == [2]
    other = record | {"versions": record["versions"] | {"jax": "0.0.1"}}
    with pytest.raises(ConfigError, match=r"jax was '.*' and is '0\.0\.1'"):
        storage.start_or_resume(sweep, tmp_path, other, devices)
    storage.start_or_resume(sweep, tmp_path, other, devices, force=True)
    for text in ("{}", "[]", "nothing", '{"schema": "jaxq-sweep/1", "programs": [1]}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="is not a sweep's directory"):
            storage.start_or_resume(sweep, tmp_path, record, devices)
