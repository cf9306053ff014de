"""Command-line options that do not affect results."""

import io
import os
import pathlib
import pwd
import subprocess
import sys

import family
import jax
import pytest

from jaxq import cli
from jaxq.config.fields import ConfigError
from jaxq.runs import compilation_cache, matplotlib_check, progress, run
from jaxq.training import population

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = (
    "--num-seeds 2 --total-steps 400 --buffer-size 200 --warmup-steps 100 "
    "--batch-size 8 --hidden-sizes 8 --eval-points 2 --eval-episodes 1 "
    "--eval-max-steps 5 --cpu-cores 1 --no-plot"
)


def environment(tmp_path, **changes):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMP")}
    return kept | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | changes


@pytest.mark.slow
@pytest.mark.conformance
def test_programs_are_cached_and_a_chunk_is_profiled(tmp_path):
    trace, out = tmp_path / "trace", tmp_path / "runs"
    words = [*TINY.split(), "--no-progress", "--output", out, "--profile", trace]
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "dqn.py", *words],
        capture_output=True, text=True, timeout=200, env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"trace: {trace}" in done.stdout and "memory: " in done.stdout
    assert f"run: {out}" in done.stdout and "final return IQM" in done.stdout
    assert "steps  return" not in done.stdout  # no lines of progress
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


def no_user(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")


@pytest.mark.parametrize("relative", ["", "cache", "./cache", "~/cache"])
def test_a_relative_cache_home_is_ignored(relative, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / "home" / ".cache" / "jaxq" / "compiled"
    assert compilation_cache.directory() == expected and expected.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    ("home", "message"),
    [
        (None, "no home directory"),  # docker run -u 1234
        ("relative", "no home directory"),
        ("/dev/null", "Not a directory: '/dev/null/.cache/jaxq/compiled'"),
        ("/proc", "No such file or directory: '/proc/.cache"),
    ],
)
def test_without_a_home_programs_are_not_cached(home, message, monkeypatch, capsys):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_user)
    if home:
        monkeypatch.setenv("HOME", home)
    before = jax.config.jax_compilation_cache_dir
    compilation_cache.use()
    assert jax.config.jax_compilation_cache_dir == before
    note = capsys.readouterr().err
    assert note.startswith("note: compiled programs are not cached (")
    assert message in note and "JAX_COMPILATION_CACHE_DIR" in note


def test_an_existing_cache_must_be_writable(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OSError, match="compiled is not writable"):
        compilation_cache.directory()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_unprintable_characters_are_escaped(encoding, monkeypatch):
    """Paths may hold any character, and bytes that are not text."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    with cli.exit_codes():
        print("runs/Ω\udce9")
        stream.flush()
    omega = {"utf-8": "Ω".encode()}.get(encoding, b"\\u03a9")
    assert stream.buffer.getvalue() == b"runs/" + omega + b"\\udce9\n"


BROKEN = "raise ImportError('no matplotlib here')\n"


def test_without_matplotlib_a_run_that_plots_is_refused(tmp_path):
    (tmp_path / "matplotlib.py").write_text(BROKEN, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "dqn.py", "--output", tmp_path / "out"],
        capture_output=True, text=True, timeout=60,
        env=environment(tmp_path, PYTHONPATH=path),
    )  # fmt: skip
    assert done.returncode == cli.BAD_INPUT
    assert "error: matplotlib, which draws the plots, cannot be" in done.stderr
    assert "no matplotlib here" in done.stderr and "--no-plot" in done.stderr
    assert "pip install" in done.stderr and not (tmp_path / "out").exists()


def fail_to_import():
    raise ImportError("no matplotlib here")


def test_only_runs_that_plot_need_matplotlib(tmp_path, monkeypatch):
    class Started(Exception):
        pass

    def start(*args):
        raise Started

    monkeypatch.setattr(matplotlib_check, "_import_matplotlib", fail_to_import)
    monkeypatch.setattr(population, "Population", start)
    with pytest.raises(ConfigError, match=r"\(no matplotlib here\).*plot=False"):
        run.run(family.TINY, output=tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(Started):
        run.run(family.TINY, output=tmp_path, plot=False)
    with pytest.raises(Started):
        run.run(family.TINY)


def test_a_run_prints_its_result_without_progress(capsys):
    with progress.Progress(10, 1, enabled=False, verbose=True) as bar:
        bar.print("run: directory")
        bar.update(10, "return 5")
    assert capsys.readouterr().out == "run: directory\n"
    with progress.Progress(10, 1, enabled=False) as bar:
        bar.print("run: directory")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("backend", "kept"),
    [("module://matplotlib_inline.backend_inline", False), ("TkAgg", True)],
)
def test_figures_need_no_backend(backend, kept, tmp_path):
    """A notebook sets MPLBACKEND for the processes that it starts, too."""
    code = (
        "from jaxq.runs import matplotlib_check; matplotlib_check.check_matplotlib(); "
        "import matplotlib.figure, os; "
        "matplotlib.figure.Figure().savefig('figure.png'); "
        "print(dict.__getitem__(matplotlib.rcParams, 'backend')); "
        "print(os.environ['MPLBACKEND'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        cwd=tmp_path, env=environment(tmp_path, MPLBACKEND=backend, DISPLAY="",
                                      PYTHONPATH=os.pathsep.join(sys.path)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    used, variable = done.stdout.split("\n")[:2]
    assert (used == backend) == kept and variable == backend
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


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
