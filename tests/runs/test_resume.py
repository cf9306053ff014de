"""Interrupted runs resume bit for bit."""

import dataclasses
import hashlib
import json
import signal
import sys
import threading

import jax
import numpy as np
import pytest
from conftest import CONFORMANCE, mark_others
from mdps import Corridor

from jaxq.config import flags, loop_lengths
from jaxq.config.config import Config, from_json
from jaxq.config.fields import CheckpointError, ConfigError, Locked
from jaxq.envs import adapter, make
from jaxq.runs import checkpoint, files, results, resume, run, run_writer
from jaxq.runs.signals import Stopped, Stopper
from jaxq.training import blocks, population

BASE = Config(
    defaults="plain",
    environment="Catch-bsuite",
    num_seeds=3,
    seed_block=2,
    total_steps=900,
    num_envs=2,
    buffer_size=400,
    batch_size=16,
    warmup_steps=100,
    update_steps=4,
    hidden_sizes=(8,),
    target_period=7,
    epsilon_steps=300.0,
    eval_points=4,
    eval_episodes=2,
    chunk_iterations=25,
)
KINDS = {
    "replay": {},
    "prioritized": {"prioritized": True, "n_step": 3},
    "retrace": {
        "return_estimator": "retrace", "n_step": 3, "next_value": "expected_sarsa",
    },
    "recurrent": {
        "algorithm": "r2d2", "memory_size": 4, "sequence_length": 4, "burn_in": 2,
    },
    "recalling": {
        "algorithm": "r2d2", "memory_size": 4, "sequence_length": 4, "burn_in": 2,
        "recurrent": "lru", "recurrent_inputs": "action_reward",
    },
    "iterated": {"algorithm": "isqn", "iterated_heads": 3},
    "recurrent quantiles": {
        "algorithm": "r2d2", "memory_size": 4, "sequence_length": 4, "burn_in": 2,
        "head": "implicit_quantile", "value_rescaling": False,
        "next_value": "expected_sarsa", "quantile_samples": 4, "target_samples": 4,
    },
    "pqn": {
        "algorithm": "pqn", "rollout_length": 8, "num_minibatches": 2, "num_epochs": 2,
        "chunk_iterations": 10,
    },
    "tabular": {"algorithm": "tabular_q", "network": "table"},
    "exploring": {
        "exploration": "epsilon_z_greedy", "intrinsic_bonus": "rnd", "rnd_size": 4,
    },
    "counting": {
        "algorithm": "tabular_q", "network": "table", "intrinsic_bonus": "count",
    },
}  # fmt: skip


def config(kind="replay", **changes):
    return dataclasses.replace(BASE, **KINDS[kind] | changes)


def digest(directory):
    """Hashes of the files that must not depend on interruptions."""
    names = ["metrics.npz", "metrics.csv", "params.npz"]
    names += [path.name for path in checkpoint.paths(directory)[:1]]
    return {n: hashlib.sha256((directory / n).read_bytes()).hexdigest() for n in names}


def stop_after(monkeypatch, calls):
    """Send SIGTERM after a number of compiled calls."""
    advance, done = population.Population.train, []

    def stopping(self, iterations=None):
        advance(self, iterations)
        done.append(1)
        if len(done) == calls:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(population.Population, "train", stopping)


@pytest.mark.conformance
@pytest.mark.parametrize("kind", mark_others(KINDS, ["replay"], CONFORMANCE))
def test_an_interrupted_run_resumes_bit_for_bit(kind, tmp_path, monkeypatch):
    reference = run.run(config(kind), output=tmp_path, plot=False)
    lengths = loop_lengths.loop_lengths(config(kind))
    calls = lengths.num_points * lengths.point_chunks
    assert calls >= 8 or kind != "replay"
    for stopped_after in (2, calls - 1):
        with monkeypatch.context() as patched, pytest.raises(Stopped) as caught:
            stop_after(patched, stopped_after)
            run.run(config(kind), output=tmp_path / str(stopped_after), plot=False)
        (directory,) = (tmp_path / str(stopped_after)).glob("*/*/*")
        assert caught.value.__notes__ == [f"--resume {directory}"]
        manifest = json.loads((directory / "manifest.json").read_text())
        assert manifest["status"] == "interrupted"
        result = run.run(config(kind), resume=directory, plot=False)
        assert result.directory == directory
        assert digest(directory) == digest(reference.directory), stopped_after
        manifest = json.loads((directory / "manifest.json").read_text())
        assert manifest["status"] == "finished" and len(manifest["resumed"]) == 1


@pytest.mark.slow
@pytest.mark.conformance
def test_a_resumed_run_may_have_more_steps(tmp_path):
    short = run.run(config(), output=tmp_path / "short", plot=False)
    lengths = loop_lengths.loop_lengths(config())
    total = lengths.warmup_steps + 6 * lengths.point_steps
    result = run.run(config(total_steps=total - 1), resume=short.directory, plot=False)
    assert result.config.total_steps == total and result.config.eval_points == 6
    reference = run.run(
        config(total_steps=total, eval_points=6), output=tmp_path / "long", plot=False
    )
    assert digest(short.directory) == digest(reference.directory)
    # config.json has the new length, from which --resume would take it.
    written = from_json(json.loads((short.directory / "config.json").read_text()))
    assert written == reference.config
    with pytest.raises(ConfigError, match="the run has already done"):
        run.run(config(total_steps=500, eval_points=6), resume=short.directory)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run.run(
        config(), output=tmp_path_factory.mktemp("run"), checkpoint_seconds=0
    ).directory


def test_a_changed_configuration_is_rejected_with_all_differences(finished):
    before = digest(finished)
    with pytest.raises(ConfigError) as error:
        run.run(config(learning_rate=1e-4, num_envs=4), resume=finished)
    assert "learning_rate was 0.00025 and is 0.0001; num_envs was 2 and is 4" in str(
        error.value
    )
    for more in ({}, {"total_steps": 2_000}):
        with pytest.raises(ConfigError, match="eval_points was 4 and is 9"):
            run.run(config(eval_points=9, **more), resume=finished)
    assert digest(finished) == before


def test_other_versions_are_rejected_unless_forced(finished, tmp_path, monkeypatch):
    directory = copy_of(finished, tmp_path)
    made_with = resume.made_with
    monkeypatch.setattr(
        resume, "made_with", lambda manifest: made_with(manifest) | {"jax": "0.0.1"}
    )
    with pytest.raises(ConfigError, match=r"jax was '[\d.]+' and is '0.0.1'.*--force"):
        run.run(config(), resume=directory)
    run.run(config(), resume=directory, force_resume=True, plot=False)
    assert checkpoint.newest(directory)[0]["made_with"]["jax"] == "0.0.1"
    run.run(config(), resume=directory, plot=False)  # its version is 0.0.1 now


def test_another_environment_is_rejected_even_if_forced(finished):
    before = digest(finished)
    with pytest.raises(
        ConfigError, match=r"was run on .*, but the environment is Corridor"
    ):
        run.run(config(), adapter.adapt(Corridor()), resume=finished, force_resume=True)
    assert digest(finished) == before


def test_extra_metrics_cannot_be_added_later(finished):
    extras = results.ExtraMetrics(lambda params: {"zero": np.zeros(3)}, {})
    with pytest.raises(ConfigError, match="recorded these extra metrics: none"):
        run.run(config(), resume=finished, extras=extras)


def test_extra_metrics_are_restored(tmp_path, monkeypatch):
    def norms(params):
        leaves = [(x.reshape(3, -1) ** 2).sum(1) for x in jax.tree.leaves(params)]
        return {"square": sum(leaves), "first": leaves[0]}

    extras = results.ExtraMetrics(norms, {"level": 0.5})
    reference = run.run(config(), output=tmp_path / "a", extras=extras, plot=False)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(patched, 5)
        run.run(config(), output=tmp_path / "b", extras=extras, plot=False)
    (directory,) = (tmp_path / "b").glob("*/*/*")
    result = run.run(config(), resume=directory, extras=extras, plot=False)
    assert digest(directory) == digest(reference.directory)
    np.testing.assert_array_equal(result.extra["first"], reference.extra["first"])
    with pytest.raises(
        ConfigError, match="recorded these extra metrics: first, square"
    ):
        run.run(config(), resume=directory)


def copy_of(directory, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def test_a_corrupt_checkpoint_is_reported_and_the_previous_one_used(
    finished, tmp_path, capsys
):
    directory = copy_of(finished, tmp_path)
    newest, older = checkpoint.paths(directory)
    newest.write_bytes(newest.read_bytes()[:-1])
    run.run(config(), resume=directory, plot=False, show_progress=True)
    text = capsys.readouterr().out
    assert f"warning: {newest.name} is corrupt: expected" in text
    assert "resuming at" in text
    assert digest(directory) == digest(finished)
    for path in (newest, older):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=newest.name):
        run.run(config(), resume=directory)


def test_temporary_files_of_a_crash_are_deleted(finished, tmp_path):
    directory = copy_of(finished, tmp_path)
    (directory / ".checkpoint-0000000001.jaxq.77.tmp").write_bytes(b"half")
    run.run(config(), resume=directory, plot=False)
    assert not list(directory.glob(".*.tmp"))


def test_a_directory_in_use_is_rejected(finished):
    with files.Lock(finished), pytest.raises(Locked, match="in use by process"):
        run.run(config(), resume=finished)


def test_blocks_keep_their_width_on_other_devices(tmp_path, monkeypatch):
    free = config(seed_block=0, num_seeds=4)
    reference = run.run(free, output=tmp_path / "a", devices=jax.devices(), plot=False)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(patched, 3)
        run.run(free, output=tmp_path / "b", devices=jax.devices(), plot=False)
    (directory,) = (tmp_path / "b").glob("*/*/*")
    run.run(free, resume=directory, devices=jax.devices()[:1], plot=False)
    assert digest(directory) == digest(reference.directory)


def test_a_signal_during_evaluation_stops_immediately_and_saves(tmp_path, monkeypatch):
    reference = run.run(config(), output=tmp_path / "a", plot=False)
    measure, done = population.Population.measure, []

    def stopping(self, extra=None):
        done.append(1)
        if len(done) == 3:
            signal.raise_signal(signal.SIGINT)
        return measure(self, extra)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(population.Population, "measure", stopping)
        run.run(config(), output=tmp_path / "b", plot=False)
    assert len(done) == 3
    (directory,) = (tmp_path / "b").glob("*/*/*")
    run.run(config(), resume=directory, plot=False)
    assert digest(directory) == digest(reference.directory)


def test_a_signal_in_the_first_call_stops_immediately_without_a_checkpoint(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        population.Population,
        "train",
        lambda self, iterations=None: (
            setattr(self, "intact", False) or signal.raise_signal(signal.SIGINT)
        ),
    )
    with pytest.raises(Stopped) as caught:
        run.run(config(), output=tmp_path, plot=False)
    assert not hasattr(caught.value, "__notes__")
    assert not list(tmp_path.rglob("*.jaxq"))


def test_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with Stopper():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_keep_the_signal_handlers():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with Stopper():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start(), thread.join()
    assert seen == [before]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not the directory of a run"),
        ("{", "cannot be read"),
        ("[]", "is not a configuration"),
        ("{}", "another version of jaxq"),
        ('{"algorithm": "dqn", "colour": 1}', "colour"),
    ],
)
def test_a_directory_without_a_run_is_rejected(content, message, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        flags.parse({"a": BASE}, "", ["--resume", str(tmp_path)], flags.Options())


def test_the_command_line_reads_the_configuration_of_the_run(finished):
    for words in (["--resume", str(finished)], [f"--resume={finished}"]):
        parsed, options = flags.parse(
            {"a": Config(defaults="plain")}, "", words, flags.Options()
        )
        assert parsed == config() and options.resume == finished
    parsed, _ = flags.parse(
        {"a": Config(defaults="plain")},
        "",
        ["--resume", str(finished), "--total-steps", "2000"],
        flags.Options(),
    )
    assert parsed == config(total_steps=2000)


def test_a_second_signal_stops_immediately(monkeypatch):
    codes = []
    monkeypatch.setattr("os._exit", lambda code: codes.append(code) or sys.exit(code))
    monkeypatch.setattr(Stopper, "end_process", True)
    with pytest.raises(SystemExit), Stopper() as stop, stop.deferred():
        signal.raise_signal(signal.SIGINT)
        assert not codes
        signal.raise_signal(signal.SIGTERM)
    assert codes == [128 + signal.SIGTERM]


def test_a_second_signal_aborts_a_run_but_not_the_interpreter(tmp_path, monkeypatch):
    advance, calls = population.Population.train, []

    def stopping(self, iterations=None):
        advance(self, iterations)
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(population.Population, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        run.run(config(), output=tmp_path, plot=False)
    assert len(calls) == 3 and not list(tmp_path.rglob("*.jaxq"))


def test_a_signal_is_handled_if_stderr_is_closed(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

        flush = write

    done = []
    monkeypatch.setattr(sys, "stderr", Closed())
    with pytest.raises(Stopped), Stopper() as stop, stop.deferred():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done


def test_a_signal_in_the_first_evaluation_loses_no_reference_level(
    tmp_path, monkeypatch
):
    reference = run.run(config(), output=tmp_path / "a", plot=False)
    evaluate = population.Population.evaluate

    def stopping(self, *arguments):
        signal.raise_signal(signal.SIGINT)
        return evaluate(self, *arguments)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(population.Population, "evaluate", stopping)
        run.run(config(), output=tmp_path / "b", plot=False)
    (directory,) = (tmp_path / "b").glob("*/*/*")
    result = run.run(config(), resume=directory, plot=False)
    assert result.summary["levels"] == reference.summary["levels"]
    assert digest(directory) == digest(reference.directory)


def test_a_failure_to_save_on_a_signal_is_reported(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    stop_after(monkeypatch, 3)
    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(Stopped):
        run.run(config(), output=tmp_path, plot=False, show_progress=True)
    assert (
        "could not save the latest state: [Errno 28] No space left"
        in capsys.readouterr().out
    )


def test_an_error_before_training_has_the_option_to_resume(
    finished, tmp_path, monkeypatch
):
    directory = copy_of(finished, tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(OSError) as caught:
        run.run(config(), resume=directory)
    assert caught.value.__notes__ == [f"--resume {directory}"]


def test_restored_arrays_are_not_kept_in_memory(finished):
    _, arrays, _ = checkpoint.newest(finished)
    env = make.from_config(config())
    layout = blocks.layout(config(), jax.devices()[:1])
    assert any(name.startswith("block1/") for name in arrays)
    lengths = loop_lengths.loop_lengths(config())
    population.Population(config(), env, lengths, layout, arrays)
    assert not any(name.startswith("block") for name in arrays)


def test_a_signal_waits_until_the_last_files_are_written(tmp_path, monkeypatch):
    flatten = run_writer.pytree_arrays.flatten

    def stopping(tree, prefix=""):
        if not prefix:  # the parameters, after the last checkpoint
            signal.raise_signal(signal.SIGINT)
        return flatten(tree, prefix)

    monkeypatch.setattr(run_writer.pytree_arrays, "flatten", stopping)
    result = run.run(config(), output=tmp_path, plot=False)
    assert (result.directory / "params.npz").exists()
    manifest = json.loads((result.directory / "manifest.json").read_text())
    assert manifest["status"] == "finished"
