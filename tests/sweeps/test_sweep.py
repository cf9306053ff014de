"""Sweeps: programs, blocks, bits, stops, shares and what is told."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from family import TINY as SMALL

from jaxq.config.config import ConfigError, traced_fields
from jaxq.runs import manifest, resume, run, signals
from jaxq.runs.progress import Progress
from jaxq.sweeps import hosts, packing, report, search_space, storage, sweep, workers
from jaxq.training import compiled, memory, population

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = dataclasses.replace(SMALL, seed_block=0, chunk_iterations=0)
RATES = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]


def measured(tmp_path, base, settings, devices=None, share=(0, 1)):
    """The curves of a sweep that is run here."""
    devices = devices or jax.devices()[:1]
    tried = sweep.make(base, settings, [], devices)
    compute(tmp_path, tried, devices, share)
    return tried, storage.collect(tmp_path, tried)


def compute(directory, tried, devices, share=(0, 1)):
    record = manifest.manifest("", devices, 0)
    tried = storage.begin(tried, directory, record, devices)
    with Progress(1, 1, False) as bar, signals.Stopper() as stop:
        return workers.run(tried, directory, devices, share, bar, stop)


def single(config, width):
    """The same curves from a run of one setting."""
    alone = dataclasses.replace(config, seed_block=width)
    result = run.run(alone, devices=jax.devices()[:1], plot=False)
    return result.curve._asdict() | {"eval_returns": result.eval_returns}


def equal(found, expected):
    for name, values in expected.items():
        own = found.steps if name == "steps" else found.arrays[name]
        np.testing.assert_array_equal(own, values, err_msg=name)


def test_settings_that_differ_in_traced_fields_share_a_program():
    settings = search_space.grid(
        [
            search_space.parse("learning_rate=1e-4,1e-3"),
            search_space.parse("batch_size=8,16"),
            search_space.parse("env.length=0.3,0.6"),
            search_space.parse("max_grad_norm=none,1,2"),
        ]
    )
    found = packing.group([search_space.apply(BASE, setting) for setting in settings])
    assert [len(program.settings) for program in found] == [4, 8, 4, 8]
    assert set(found[1].changes) == {"learning_rate", "max_grad_norm"}
    assert set(found[1].parameters) == {"length"}


def test_every_member_equals_its_single_run(tmp_path):
    fields = {"learning_rate": 1e-3, "target_period": 3, "epsilon_end": 0.2}
    settings = [{"target_period": 7, "epsilon_end": 0.05} | s for s in RATES]
    settings.append(fields)
    tried, found = measured(tmp_path, BASE, settings)
    assert [packed.mixed for packed in tried.packings] == [False]
    for config, curve in zip(tried.configs, found, strict=True):
        equal(curve, single(config, tried.packings[0].width))


def test_so_does_every_member_of_a_block_of_several_settings(tmp_path):
    base = dataclasses.replace(BASE, num_seeds=2, seed_block=3)
    settings = [
        s | {"env.length": n} for s, n in zip(RATES, (0.5, 1.0, 2.0), strict=True)
    ]
    tried, found = measured(tmp_path, base, settings)
    (packed,) = tried.packings
    assert packed.mixed and [lanes.size for lanes in packed.lanes] == [3, 3]
    for config, curve in zip(tried.configs, found, strict=True):
        equal(curve, single(config, 3))
    returns = [curve.arrays["train_return"] for curve in found]
    assert len({values.tobytes() for values in returns}) == 3


# Not so for v_min, v_max and Munchausen's temperature, where the last bit differs.
@pytest.mark.parametrize("algorithm", ["dqn", "prioritized_dqn"])
def test_traced_fields_change_no_bit_when_every_member_has_its_own(algorithm):
    base = dataclasses.replace(
        BASE, algorithm=algorithm, max_grad_norm=5.0, loss="huber", n_step=3,
        learning_rate_schedule="linear", learning_rate_updates=500.0,
    )  # fmt: skip
    config = compiled.traced(base)
    env = packing.group([base])[0].env
    names = [n for n in traced_fields() if getattr(config, n) is not None]
    own = {name: np.full(4, getattr(config, name)) for name in names}
    keys = compiled.make_keys(np.arange(4, dtype=np.uint32))

    def after(config):
        state = compiled.start(config, keys, env=env)
        return compiled.chunk(config, keys, state, np.int32(150), env=env)

    one, many = after(config), after(compiled.traced(base, own))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_one_compilation_serves_a_whole_program(tmp_path):
    jax.clear_caches()
    base = dataclasses.replace(BASE, num_seeds=5)  # in blocks of five
    measured(tmp_path, base, RATES)
    assert compiled.chunk._cache_size() == 1
    assert (
        compiled.start._cache_size() == 1 and compiled.evaluate_block._cache_size() == 1
    )


@pytest.mark.parametrize(
    ("seeds", "settings", "block", "width", "count", "mixed"),
    [
        (8, 64, 0, 8, 64, False),
        (10, 3, 0, 10, 3, False),
        (20, 2, 0, 10, 4, False),  # 16 at most, in equal blocks
        (17, 2, 0, 9, 4, False),
        (2, 20, 0, 14, 3, True),  # too narrow alone
        (1, 1, 0, 1, 1, False),
        (6, 2, 4, 4, 3, True),
        (8, 2, 4, 4, 4, False),
    ],
)
def test_packing_on_a_cpu(seeds, settings, block, width, count, mixed):
    base = dataclasses.replace(BASE, num_seeds=seeds, seed_block=block)
    configs = [
        dataclasses.replace(base, discount=0.9 + i / 1000) for i in range(settings)
    ]
    (program,) = packing.group(configs)
    one = packing.pack(program, jax.devices()[:1])
    two = packing.pack(program, jax.devices()[:2])
    assert (one.width, len(one.lanes), one.mixed) == (width, count, mixed)
    assert one.width == two.width  # whatever the machine
    assert np.concatenate(one.lanes).tolist() == list(range(seeds * settings))
    assert max(lanes.size for lanes in one.lanes) <= width


def test_packing_on_an_accelerator_puts_settings_side_by_side():
    class Gpu:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": self.free, "bytes_in_use": 0}

    configs = [dataclasses.replace(BASE, discount=0.9 + i / 1000) for i in range(64)]
    (program,) = packing.group(configs)
    devices = [Gpu(), Gpu()]
    for free, width in ((10**10, 128), (100 * program.need.total, 64)):
        for device in devices:
            device.free = free
        packed = packing.pack(program, devices)
        assert packed.mixed and packed.width == width
    for device in devices:
        device.free = program.need.total
    with pytest.raises(ConfigError, match="a member takes"):
        packing.pack(program, devices)


def test_a_block_is_filled_up_with_its_last_member():
    base = dataclasses.replace(BASE, num_seeds=5, seed_block=4, first_seed=10)
    (program,) = packing.group(
        [dataclasses.replace(base, discount=d) for d in (0.9, 0.8)]
    )
    packed = packing.pack(program, jax.devices())
    block = packing.block(program, packed, 2, 1, jax.devices()[1])
    assert block.seeds.tolist() == [13, 14, 14, 14]
    assert block.changes["discount"].tolist() == [0.8] * 4
    middle = packing.block(program, packed, 1, 0, jax.devices()[0])
    assert middle.seeds.tolist() == [14, 10, 11, 12]
    assert middle.changes["discount"].tolist() == [0.9, 0.8, 0.8, 0.8]


def test_what_is_there_is_not_computed_again(tmp_path):
    tried, _ = measured(tmp_path, BASE, RATES)
    paths = sorted((tmp_path / "blocks").iterdir())
    content = [path.read_bytes() for path in paths]
    paths[0].unlink()
    damaged = bytearray(content[1])
    damaged[len(damaged) // 2] ^= 1
    paths[1].write_bytes(bytes(damaged))
    with pytest.raises(ConfigError, match="is missing: not every share"):
        storage.collect(tmp_path, tried)
    paths[0].write_bytes(content[2])
    with pytest.raises(ConfigError, match="is damaged: it is another block, renamed"):
        storage.collect(tmp_path, tried)
    paths[0].unlink()
    times = paths[2].stat().st_mtime_ns
    assert compute(tmp_path, tried, jax.devices()[:1]) == 1
    assert [path.read_bytes() for path in paths] == content
    assert paths[2].stat().st_mtime_ns == times
    assert compute(tmp_path, tried, jax.devices()[:1]) == 3


def test_a_block_that_was_packed_in_another_way_is_not_taken(tmp_path):
    """Two shares that begin at the same moment may each have chosen a width."""
    devices = jax.devices()[:1]
    tried = sweep.make(BASE, RATES, [], devices, [2])
    storage.begin(tried, tmp_path, manifest.manifest("", devices, 0), devices)
    for job in tried.jobs:
        members = tried.members(job) if job.block else [0, 3]
        storage.keep(tmp_path, job, members, {"steps": np.arange(2)})
    found, (wrong,) = storage.finished(tmp_path, tried)
    assert found == set(tried.jobs[1:]) and "packed in another way" in wrong
    with pytest.raises(ConfigError, match="packed in another way"):
        storage.collect(tmp_path, tried)


def test_what_killed_processes_have_left_is_removed(tmp_path):
    devices = jax.devices()[:1]
    tried = sweep.make(BASE, RATES, [], devices)
    done, under_way = tried.jobs[:2]
    storage.keep(tmp_path, done, tried.members(done), {"steps": np.arange(2)})
    for job in (done, under_way):
        storage.keep_part(storage.part_of(tmp_path, job), {})
    left = tmp_path / "blocks" / f".{under_way.name}.123.tmp", tmp_path / ".x.1.tmp"
    for path in left:
        path.touch()
    (tmp_path / ".lock-1-of-2").touch()
    storage.clear(tmp_path, tried)
    assert all(path.exists() for path in left)  # perhaps of the other share
    (tmp_path / ".lock-1-of-2").unlink()
    storage.clear(tmp_path, tried)
    names = {path.name for path in (tmp_path / "blocks").iterdir()}
    assert names == {done.name, f"{under_way.name}.part"}
    assert not left[1].exists()


def test_what_is_only_merged_need_not_fit_in_memory(tmp_path, monkeypatch):
    devices = jax.devices()[:1]
    tried = sweep.make(BASE, RATES, [], devices)
    storage.begin(tried, tmp_path, manifest.manifest("", devices, 0), devices)
    monkeypatch.setattr(memory, "available", lambda devices: 1)
    assert storage.load(tmp_path, devices, False).packings[0].width == 4
    with pytest.raises(ConfigError, match="but 1 bytes are free"):
        storage.load(tmp_path, devices)
    monkeypatch.setattr(memory, "available", lambda devices: 3 * need / memory.SHARE)
    need = tried.programs[0].need.total
    with pytest.raises(ConfigError, match=r"fit in memory: [23] do\. Use a smaller"):
        storage.load(tmp_path, devices)


def test_processes_wait_for_the_one_that_confirms(monkeypatch):
    """jax's own limit, five minutes, would abort all of them."""
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", given.update)
    for words in ("auto", "10.0.0.1:1234,1/2"):
        given.clear()
        hosts.start(words)
        assert given.pop("shutdown_timeout_seconds") > 24 * 3600
    assert given == {
        "coordinator_address": "10.0.0.1:1234", "num_processes": 2, "process_id": 1
    }  # fmt: skip


@pytest.mark.parametrize("name", ["settings.csv", "metrics.npz", "summary.json"])
def test_merged_shares_equal_the_whole(tmp_path, name):
    devices = jax.devices()[:1]
    tried = sweep.make(BASE, RATES, ["learning_rate=1e-3,1e-2,1e-1"], devices)
    whole, a, b = (tmp_path / part for part in ("whole", "a", "b"))
    compute(whole, tried, devices)
    compute(a, tried, devices, (0, 2))
    compute(b, tried, devices, (1, 2))
    assert len(list((a / "blocks").iterdir())) == 2
    assert storage.merge(a, [b]) == 1 and storage.merge(a, [b]) == 0
    for directory in (whole, a):
        again = storage.load(directory, devices)
        assert again.configs == tried.configs
        curves = storage.collect(directory, again)
        found = report.judge(again, curves, "final")
        report.write(directory, again, curves, found, "final", plot=False)
    assert (whole / name).read_bytes() == (a / name).read_bytes()
    other = sweep.make(BASE, RATES[:2], [], devices)
    compute(tmp_path / "c", other, devices, (1, 2))
    with pytest.raises(ConfigError, match="differ in programs, ranges, settings"):
        storage.merge(a, [tmp_path / "c"])
    (b / "blocks" / tried.jobs[1].name).write_bytes(b"nothing")
    (a / "blocks" / tried.jobs[1].name).unlink()
    with pytest.raises(ConfigError, match=r"is damaged: .* computes it again"):
        storage.merge(a, [b])


def test_a_sweep_goes_on_with_its_own_width_and_versions(tmp_path):
    devices = jax.devices()[:1]
    tried = sweep.make(BASE, RATES, [], devices)
    record = manifest.manifest("", devices, 0)
    storage.begin(tried, tmp_path, record, devices)
    path = tmp_path / "sweep.json"
    content = json.loads(path.read_text())
    content["programs"][0]["width"] = 2
    path.write_text(json.dumps(content))
    assert storage.begin(tried, tmp_path, record, devices).packings[0].width == 2
    other = record | {"versions": record["versions"] | {"jax": "0.0.1"}}
    with pytest.raises(ConfigError, match=r"jax was '.*' and is '0\.0\.1'"):
        storage.begin(tried, tmp_path, other, devices)
    storage.begin(tried, tmp_path, other, devices, force=True)
    for text in ("{}", "[]", "nothing", '{"schema": "jaxq-sweep/1", "programs": [1]}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="is no directory of a sweep"):
            storage.begin(tried, tmp_path, record, devices)


def files_of(directory):
    return {path.name: path.read_bytes() for path in (directory / "blocks").iterdir()}


def test_any_number_of_devices_gives_the_same_bytes(tmp_path):
    """Eight devices in a process of its own; seven blocks, so that some stay idle."""
    code = f"""
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
sys.path.insert(0, {str(ROOT / "tests")!r})
import dataclasses, pathlib, jax, test_sweep
from jaxq import blocks, sweep
assert len(jax.devices()) == 8 == len(blocks.workers())
base = dataclasses.replace(test_sweep.BASE, hidden_sizes=(8,), batch_size=4)
settings = [{{"learning_rate": 10.0**-i}} for i in range(1, 8)]
for count in (1, 2, 4, 8):
    devices = jax.devices()[:count]
    tried = sweep.make(base, settings, [], devices)
    test_sweep.compute(pathlib.Path({str(tmp_path)!r}, str(count)), tried, devices)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one = files_of(tmp_path / "1")
    assert len(one) == 7
    for count in (2, 4, 8):
        assert files_of(tmp_path / str(count)) == one


TINY = (
    "--preset cartpole --num-seeds 4 --total-steps 600 --num-envs 2 --buffer-size 400 "
    "--batch-size 16 --warmup-steps 100 --update-steps 2 --hidden-sizes 16 "
    "--eval-points 2 --eval-episodes 3 "
    "--grid learning_rate=log:1e-4:1e-2:3 target_period=5,50"
)


def begin(output, *words, cores=1):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [
            sys.executable, ROOT / "experiments" / "sweep.py", *TINY.split(), *words,
            "--output", output, "--cpu-cores", str(cores), "--no-plot",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def finish(process, code=0):
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err[-2000:]
    return out, err


def only(output):
    (found,) = (output / "sweep" / "dqn").iterdir()
    return found


def free_port():
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def test_two_processes_and_a_killed_sweep_give_the_bytes_of_one(tmp_path):
    out, _ = finish(begin(tmp_path / "one", cores=2))
    whole = only(tmp_path / "one")
    assert "compiled programs: 1 | blocks: 6" in out
    assert "on 4 fresh seeds: final return IQM" in out

    port = free_port()
    pair = [
        begin(tmp_path / "two", "--distributed", f"127.0.0.1:{port},{i}/2")
        for i in range(2)
    ]
    outs = [finish(process)[0] for process in pair]
    said = [line for line in outs[1].splitlines() if not line.startswith("[Gloo]")]
    assert "on 4 fresh seeds" in outs[0] and not said
    assert only(tmp_path / "two").name == whole.name
    assert files_of(only(tmp_path / "two")) == files_of(whole)

    killed = begin(tmp_path / "three", "--confirm-seeds", "0")
    blocks = "three/*/*/*/blocks/*.jaxq"
    while killed.poll() is None and len(list(tmp_path.glob(blocks))) < 2:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    there = len(list(tmp_path.glob(blocks)))
    again, _ = finish(begin(tmp_path / "three", "--confirm-seeds", "0"))
    assert there < 6 and f"{there} blocks were there already" in again
    assert files_of(only(tmp_path / "three")) == files_of(whole)
    for name in ("settings.csv", "metrics.npz", "summary.json"):
        expected = (whole / name).read_bytes()
        assert (only(tmp_path / "two") / name).read_bytes() == expected
        assert (only(tmp_path / "three") / name).read_bytes() == expected


def test_a_long_block_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    base = dataclasses.replace(BASE, eval_points=5)
    tried, _ = measured(tmp_path / "whole", base, RATES)
    monkeypatch.setattr(workers, "PART_SECONDS", 0.0)
    advance, calls = workers.BlockTrainer.advance, []

    def stopping(self):
        calls.append(self)
        if len(calls) == 4:
            raise RuntimeError("the power is gone")
        return advance(self)

    devices = jax.devices()[:1]
    with monkeypatch.context() as patched:
        patched.setattr(workers.BlockTrainer, "advance", stopping)
        with pytest.raises(RuntimeError, match="the power is gone"):
            compute(tmp_path / "part", tried, devices)
    parts = sorted((tmp_path / "part" / "blocks").glob("*.part"))
    counts = []

    def counting(self):
        counts.append(len(self.points))
        return advance(self)

    with monkeypatch.context() as patched:
        patched.setattr(workers.BlockTrainer, "advance", counting)
        compute(tmp_path / "part", tried, devices)
    assert 1 < counts[0] < 6 and 1 in counts  # one goes on, another begins
    assert not any(part.exists() for part in parts)
    assert files_of(tmp_path / "part") == files_of(tmp_path / "whole")

    # A damaged one is as good as none, and so is one whose states are others.
    job = tried.jobs[0]
    elsewhere = workers.BlockTrainer(tried, job, devices[0], population.CompileOnce())
    arrays = elsewhere._population.arrays() | resume.pack(elsewhere.points)
    arrays.pop(next(iter(arrays)))
    for spoil in (
        lambda: parts[0].write_bytes(b"nothing"),
        lambda: storage.keep_part(parts[0], arrays),
    ):
        (tmp_path / "part" / "blocks" / job.name).unlink()
        spoil()
        compute(tmp_path / "part", tried, devices)
        assert files_of(tmp_path / "part") == files_of(tmp_path / "whole")


def test_a_signal_ends_a_sweep_at_once_and_says_how_to_go_on(tmp_path):
    process = begin(tmp_path, "--eval-points", "200", "--total-steps", "2000000")
    while process.poll() is None and not list(tmp_path.glob("*/*/*/sweep.json")):
        time.sleep(0.05)
    time.sleep(3.0)
    process.send_signal(signal.SIGTERM)
    before = time.monotonic()
    _, said = finish(process, 143)
    assert time.monotonic() - before < 5
    assert "interrupted; the same command goes on" in said
