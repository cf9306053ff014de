"""Command-line options that do not affect results."""

import os
import pathlib
import subprocess
import sys

import pytest

from jaxq import cli
from jaxq.runs import progress

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = (
    "--num-seeds 2 --total-steps 400 --buffer-size 200 --warmup-steps 100 "
    "--batch-size 8 --hidden-sizes 8 --eval-points 2 --eval-episodes 1 "
    "--eval-max-steps 5 --cpu-cores 1 --no-plot"
)


def environment(tmp_path, **changes):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMP")}
    return kept | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | changes


def test_programs_are_cached_and_a_chunk_is_profiled(tmp_path):
    trace, out = tmp_path / "trace", tmp_path / "runs"
    words = [*TINY.split(), "--output", out, "--profile", trace]
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "dqn.py", *words],
        capture_output=True, text=True, timeout=200, env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"trace: {trace}" in done.stdout and "memory: " in done.stdout
    assert list(trace.rglob("*.xplane.pb"))
    assert list((tmp_path / "cache" / "jaxq" / "compiled").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "trace", "runs"}


@pytest.mark.parametrize(
    ("words", "changes", "directory"),
    [
        ("Options()", {}, "{}/cache/jaxq/compiled"),
        ("Options(compilation_cache=False)", {}, "None"),
        ("Options()", {"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}, "/elsewhere"),
    ],
)
def test_the_directory_of_the_compilation_cache(words, changes, directory, tmp_path):
    code = (
        "from jaxq import cli; from jaxq.config import flags; "
        f"cli.set_up_jax(flags.{words}); import jax; "
        "print(jax.config.jax_compilation_cache_dir)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env=environment(tmp_path, **changes),
    )  # fmt: skip
    assert done.stdout.strip() == directory.format(tmp_path), done.stderr


def test_deterministic_sets_the_xla_flag():
    code = (
        "from jaxq import cli; from jaxq.config import flags; "
        "cli.set_up_jax(flags.Options(deterministic=True)); "
        "import os; print(os.environ['XLA_FLAGS'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env=os.environ | {"XLA_FLAGS": "--xla_dump_to="},
    )  # fmt: skip
    flags = done.stdout.strip()
    assert flags == "--xla_dump_to= --xla_gpu_deterministic_ops=true", done.stderr


@pytest.mark.parametrize(
    ("words", "threads"),
    [
        ("Options(), Config(num_seeds=1)", "1"),
        ("Options(), Config(num_seeds=2)", "None"),
        ("Options(), Config(num_seeds=1, defaults='plain', batch_size=512)", "None"),
        ("Options(), Config(num_seeds=1, environment='Breakout-MinAtar')", "None"),
        ("Options(cpu_cores=3), Config(num_seeds=1)", "3"),
        ("Options()", "None"),
    ],
)
def test_the_number_of_xla_threads(words, threads):
    code = (
        "from jaxq import cli; from jaxq.config.flags import Options; "
        f"from jaxq import Config; cli.set_up_jax({words}); "
        "import os; print(os.environ.get('NPROC'))"
    )
    kept = {k: v for k, v in os.environ.items() if k != "NPROC"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env=kept,
    )  # fmt: skip
    assert done.stdout.strip() == threads, done.stderr


def test_commands_name_the_running_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert cli.python() == os.path.join(".venv", "bin", "python")
    elsewhere = str(tmp_path.parent / "python")
    monkeypatch.setattr(sys, "executable", elsewhere)
    assert cli.python() == elsewhere


def test_progress_shows_speed_and_remaining_time(monkeypatch, capsys):
    """At 12 s, 200 steps of four seeds took two seconds: seven remain."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.Progress(1_000, 4) as bar:
        for now, steps in ((10.0, 100), (10.5, 200), (12.0, 300)):  # noqa: B007
            bar.update(steps, "return 5")
    assert capsys.readouterr().out.splitlines() == [
        " 10%  100/1k steps  return 5",
        " 20%  200/1k steps  return 5",  # timed for too short a time
        " 30%  300/1k steps  return 5  400 steps/s (all seeds)  ETA 0:07",
    ]
