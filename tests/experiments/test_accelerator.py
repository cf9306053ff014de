"""Order, resumption and tables of accelerator.py, without an accelerator."""

import gzip
import json
import sys
import time

import pytest

from experiments import accelerator, kernels, throughput
from jaxq import ConfigError

HERE = {"commit": "abc", "devices": ["H100"]}


def line(name="w2", seeds=128, **changes):
    return {
        "workload": name, "seeds": seeds, "steps_per_second": 200_000.0,
        "steps_per_second_range": [199_000.0, 201_000.0],
        "updates_per_second": 200_000.0, "seconds_to_first_chunk": 20.0,
        "peak_device_bytes": 1.5e9, "manifest": HERE | changes,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["w2", "w2:", "w2:0", "w2:many"])
def test_a_pair_needs_a_number_of_seeds(text):
    with pytest.raises(ConfigError, match="needs a number of seeds"):
        accelerator.pair(text)


def test_all_pairs_name_workloads():
    pairs = [accelerator.pair(text) for text in accelerator.Arguments().pairs]
    assert len(set(pairs)) == len(pairs) == len(accelerator.PAIRS)
    with pytest.raises(ConfigError, match="w9"):
        accelerator.pair("w9:1")


def test_a_pair_is_measured_once_per_commit_and_device(tmp_path, monkeypatch, capsys):
    path, measured = tmp_path / "lines.jsonl", []
    for old in (
        line(),
        line(seeds=16, commit="older"),
        line(seeds=64, devices=["A100"]),
        line(seeds=512, uncommitted_changes=True),
    ):
        accelerator.append(path, old)

    def measure(name, seeds, arguments, seconds):
        measured.append(seeds)
        return None if seeds == 16 else line(name, seeds)

    monkeypatch.setattr(accelerator, "identity", lambda: HERE)
    monkeypatch.setattr(accelerator, "measure", measure)
    pairs = ["w2:128", "w2:16", "w2:64", "w2:512"]
    argv = ["accelerator.py", "--output", str(path), "--pairs", *pairs]
    monkeypatch.setattr("sys.argv", argv)
    accelerator.main()
    assert measured == [16, 64, 512]
    assert len(kernels.read(path)) == 6  # the one that failed has no line
    monkeypatch.setattr("sys.argv", [*argv, "--minutes", "0.1"])
    accelerator.main()
    assert measured == [16, 64, 512] and "no time left" in capsys.readouterr().out


def test_lines_of_unknown_or_changed_code_are_measured_again():
    assert accelerator.same_place(line(), HERE)
    changed = HERE | {"uncommitted_changes": True}
    assert not accelerator.same_place(line(), changed)
    assert not accelerator.same_place(line(commit=None), HERE | {"commit": None})


def test_a_torn_line_is_reported(tmp_path, monkeypatch, capsys):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"workload": "w2", "se')
    monkeypatch.setattr("sys.argv", ["accelerator.py", "--output", str(path)])
    with pytest.raises(ConfigError, match="is corrupt"):
        accelerator.main()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--pairs"], "pairs is empty"),
        (["--minutes", "0"], "minutes = 0.0 must be positive"),
        (["--repeats", "0"], "repeats = 0 must be positive"),
    ],
)
def test_settings_that_measure_nothing_are_refused(option, message, monkeypatch):
    monkeypatch.setattr("sys.argv", ["accelerator.py", *option])
    with pytest.raises(ConfigError, match=message):
        accelerator.main()


def test_only_an_h100_is_compared_with_its_memory(monkeypatch):
    monkeypatch.setattr(accelerator, "predicted", lambda *_: {"bytes": 960e6})
    assert "50%" in accelerator.row(line())
    assert "50%" not in accelerator.row(line(devices=["NVIDIA H200"]))


def test_a_command_that_fails_or_takes_too_long_is_reported(capsys):
    deadline = time.monotonic() + 1.0
    assert accelerator.within(deadline + 60, "true", [sys.executable, "-c", ""])
    failing = [sys.executable, "-c", "raise SystemExit(3)"]
    assert not accelerator.within(deadline + 60, "this", failing)
    waiting = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert not accelerator.within(deadline, "that", waiting)
    out = capsys.readouterr().out
    assert "this: failed" in out and "that: stopped after 1 s" in out


def test_a_row_compares_an_iteration_with_its_bytes(monkeypatch):
    monkeypatch.setattr(accelerator, "predicted", lambda *_: {"bytes": 960e6})
    cells = accelerator.row(line()).split(" | ")
    # 128 steps of an iteration at 200,000 per second; 960 MB at 3 TB/s are 320 us.
    assert "640" in cells and "50%" in cells and "1.50 GB |" in cells
    assert throughput.steps_per_iteration(throughput.workload("w2", 128)) == 1


def test_kernels_are_summed_over_the_streams_of_devices(tmp_path, monkeypatch):
    def name(kind, pid, tid, text):
        return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": text}}

    def run(name, pid, tid, duration):
        return {"name": name, "ph": "X", "pid": pid, "tid": tid, "dur": duration}

    events = [
        name("process_name", 1, 0, "/device:GPU:0"),
        name("process_name", 2, 0, "/host:CPU"),
        name("thread_name", 1, 7, "Stream #1(Compute)"),
        name("thread_name", 1, 8, "XLA Ops"),
        name("thread_name", 2, 7, "python"),
        run("gemm_fusion_dot_1", 1, 7, 30.0),
        run("gemm_fusion_dot_1", 1, 7, 34.0),
        run("loop_fusion", 1, 7, 2.0),
        run("gemm_fusion_dot_1", 1, 8, 64.0),  # the same, by another name
        run("train", 2, 7, 500.0),
    ]
    path = tmp_path / "plugins" / "profile" / "now" / "host.trace.json.gz"
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump({"traceEvents": events}, file)
    times = accelerator.kernel_times(tmp_path)
    assert times == {"gemm_fusion_dot_1": (2, 64.0), "loop_fusion": (1, 2.0)}
    compiled = {"largest": [{"name": "gemm_fusion_dot.1", "bytes": 86e6}]}
    monkeypatch.setattr(accelerator, "predicted", lambda *_: compiled)
    text = accelerator.beside_prediction("w2", 128, times)
    assert "2 x     32.0 (28.7)  gemm_fusion_dot_1" in text
    with pytest.raises(ConfigError, match="has no trace"):
        accelerator.kernel_times(tmp_path / "plugins" / "none")
