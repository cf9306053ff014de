"""Trackers and callbacks, with real TensorBoard files."""

import contextlib
import dataclasses
import json
import signal
import sqlite3

import numpy as np
import pytest
from conftest import same
from family import TINY

from jaxq.config.fields import ConfigError
from jaxq.runs import run, tracking_services
from jaxq.runs.signals import Stopped


class Recorder:
    """Keeps every call."""

    def __init__(self):
        self.calls, self.points = [], []

    def start(self, run):
        self.calls.append(("start", run.step))
        self.run = run

    def record(self, point):
        self.calls.append(("record", point.step))
        self.points.append((point, point.params()))
        self.last = point

    def finish(self, status, summary):
        self.calls.append(("finish", status))
        self.summary = summary


def test_a_tracker_receives_the_columns_of_the_curve(tmp_path):
    recorder = Recorder()
    config = dataclasses.replace(TINY, first_seed=2)
    result = run.run(config, trackers=[recorder], output=tmp_path, plot=False)
    steps = result.curve.steps.tolist()
    records = [("record", step) for step in steps]
    assert recorder.calls == [("start", None), *records, ("finish", "finished")]
    assert recorder.run.environment == "CartPole-v1"
    assert recorder.run.directory == result.directory
    assert recorder.summary == result.summary
    header = (result.directory / "metrics.csv").read_text().splitlines()[0]
    for index, (point, _) in enumerate(recorder.points):
        assert point.seeds.tolist() == [2, 3, 4, 5]
        assert ["seed", "step", *point.metrics] == header.split(",")
        for name, values in point.metrics.items():
            expected = getattr(result.curve, name)[:, index]
            np.testing.assert_array_equal(values, expected, err_msg=name)
    assert same(recorder.points[-1][1], result.params)
    assert not same(recorder.points[0][1], result.params)
    # Called later, it raises or, if jax has kept them, gives those of its point.
    with contextlib.suppress(RuntimeError):
        assert same(recorder.points[0][0].params(), recorder.points[0][1])


def test_a_tracker_changes_no_result():
    returns = []
    tracked = run.run(TINY, trackers=[lambda point: returns.append(point.metrics)])
    plain = run.run(TINY)
    assert same(tracked.params, plain.params)
    np.testing.assert_array_equal(returns[-1]["loss"], plain.curve.loss[:, -1])


def test_an_error_of_a_callback_ends_the_run_which_resumes(tmp_path):
    def fails(point):
        if point.step > 400:
            raise RuntimeError("the cause")

    recorder = Recorder()
    with pytest.raises(RuntimeError, match="the cause"):
        run.run(TINY, trackers=[recorder, fails], output=tmp_path, plot=False)
    assert recorder.calls[-1] == ("finish", "failed") and recorder.summary == {}
    (directory,) = tmp_path.glob("*/*/*")
    assert json.loads((directory / "manifest.json").read_text())["status"] == "failed"
    again = Recorder()
    result = run.run(TINY, resume=directory, trackers=[again], plot=False)
    before = [step for name, step in recorder.calls if name == "record"]
    after = [step for name, step in again.calls if name == "record"]
    # The point at which a tracker failed is recorded again.
    assert again.calls[0] == ("start", before[-2]) and after[0] == before[-1]
    assert [*before[:-1], *after] == result.curve.steps.tolist()


def test_an_error_in_finish_does_not_undo_the_run(tmp_path, capsys):
    class Fails(Recorder):
        def finish(self, status, summary):
            super().finish(status, summary)
            raise OSError("no network")

    trackers = [Fails(), Recorder()]
    result = run.run(TINY, trackers=trackers, output=tmp_path, plot=False, verbose=True)
    manifest = json.loads((result.directory / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert [tracker.calls[-1] for tracker in trackers] == [("finish", "finished")] * 2
    assert "failed to finish: OSError('no network')" in capsys.readouterr().out


def test_a_stopped_run_finishes_its_trackers(tmp_path):
    recorder = Recorder()

    def stop(point):
        if point.step > 100:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped):
        run.run(TINY, trackers=[recorder, stop], output=tmp_path, plot=False)
    assert recorder.calls[-1] == ("finish", "interrupted")


def events(directory):
    """Group -> name -> list of (step, value) in the event files of a directory."""
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import masked_crc32c

    result = {}
    for path in sorted(directory.glob("*/events.out.tfevents.*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            length = int.from_bytes(data[position : position + 8], "little")
            crc = int.from_bytes(data[position + 8 : position + 12], "little")
            assert crc == masked_crc32c(data[position : position + 8])
            record = data[position + 12 : position + 12 + length]
            position += 16 + length
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                group = result.setdefault(path.parent.name, {})
                points = group.setdefault(value.tag, [])
                points.append((event.step, value.simple_value))
    return result


def test_tensorboard_files_hold_the_curve(tmp_path):
    pytest.importorskip("tensorboardX")
    trackers = [tracking_services.make("tensorboard")]
    result = run.run(TINY, trackers=trackers, output=tmp_path, plot=False)
    written = events(result.directory / "tensorboard")
    assert set(written) == {"iqm", "seed_0", "seed_1", "seed_2", "seed_3"}
    steps, values = zip(*written["seed_2"]["eval_return"], strict=True)
    assert list(steps) == result.curve.steps.tolist()
    np.testing.assert_allclose(values, result.curve.eval_return[2])
    assert len(written["seed_2"]["loss"]) == 2  # nan before the first update
    final = written["iqm"]["eval_return"][-1][1]
    expected = result.summary["final_eval_return"]["iqm"]
    assert final == pytest.approx(expected, rel=1e-6)


def test_tensorboard_follows_several_runs_and_a_resumed_one(tmp_path):
    pytest.importorskip("tensorboardX")
    tracker = tracking_services.make("tensorboard")

    def fails(point):
        if point.step > 400:
            raise RuntimeError("the cause")

    with pytest.raises(RuntimeError, match="the cause"):
        run.run(TINY, trackers=[tracker, fails], output=tmp_path, plot=False)
    (directory,) = tmp_path.glob("*/*/*")
    other = run.run(TINY, trackers=[tracker], output=tmp_path / "other", plot=False)
    run.run(TINY, resume=directory, trackers=[tracker], plot=False)
    steps = other.curve.steps.tolist()
    for path in (directory, other.directory):
        written = events(path / "tensorboard")["iqm"]["eval_return"]
        assert sorted({step for step, _ in written}) == steps


class FakeService:
    """A module with the interface of wandb."""

    def __init__(self):
        self.calls = []

    def init(self, **options):
        self.calls.append(options)

    def log(self, values, step):
        self.calls.append((step, values))

    def finish(self, exit_code):
        self.calls.append(exit_code)


def test_a_dashboard_logs_every_point(tmp_path):
    service = FakeService()
    tracker = tracking_services.Dashboard(service, "wandb", project="mine")
    result = run.run(TINY, trackers=[tracker], output=tmp_path, plot=False)
    options, *points, end = service.calls
    assert options["project"] == "mine" and end == 0
    assert options["config"]["learning_rate"] == TINY.learning_rate
    assert options["id"] == result.directory.name and options["resume"] == "allow"
    assert [step for step, _ in points] == result.curve.steps.tolist()
    last = points[-1][1]
    assert last["seed_3/loss"] == pytest.approx(float(result.curve.loss[3, -1]))
    assert "seed_0/loss" not in points[0][1]


def test_many_seeds_are_recorded_by_their_mean():
    point = run.Point(7, np.arange(100), {"loss": np.arange(100.0)}, lambda: None)
    groups = [group for group, _, _ in tracking_services.scalars(point)]
    assert groups == ["iqm", *(f"seed_{i}" for i in range(32))]
    assert next(tracking_services.scalars(point))[2] == pytest.approx(49.5)


def test_wrong_trackers_are_refused_before_the_run(monkeypatch):
    with pytest.raises(ConfigError, match="neither a function of a point nor an obj"):
        run.run(TINY, trackers=["wandb"])
    monkeypatch.setitem(tracking_services.MODULES, "wandb", "not_installed_here")
    with pytest.raises(ConfigError, match="pip install not_installed_here"):
        tracking_services.make("wandb")
    pytest.importorskip("tensorboardX")
    with pytest.raises(ConfigError, match="give output="):
        run.run(TINY, trackers=[tracking_services.make("tensorboard")])


@pytest.mark.slow
def test_wandb_works_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    trackers = [tracking_services.make("wandb")]
    result = run.run(TINY, trackers=trackers, output=tmp_path, plot=False)
    (file,) = result.directory.glob("wandb/offline-run-*/*.wandb")
    assert b"seed_3/eval_return" in file.read_bytes()


@pytest.mark.slow
def test_trackio_keeps_every_point_in_its_database(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read on import
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("trackio")
    trackers = [tracking_services.make("trackio")]
    result = run.run(TINY, trackers=trackers, output=tmp_path, plot=False)
    with sqlite3.connect(tmp_path / "trackio" / "jaxq.db") as database:
        rows = database.execute("SELECT step, metrics FROM metrics ORDER BY step")
        points = {step: json.loads(values) for step, values in rows}
    assert list(points) == result.curve.steps.tolist()
    last = points[int(result.curve.steps[-1])]
    expected = float(result.curve.eval_return[3, -1])
    assert last["seed_3/eval_return"] == pytest.approx(expected)
