"""Speed and memory on one accelerator, in one command of less than nine minutes.

Pairs of a workload and a number of seeds are measured one after another, each in its
own process, the most informative first. Pairs that --output already has for this
commit and device are skipped, so an interrupted run resumes; pairs for which no time
remains are omitted. `of memory` is a lower bound on the share of an iteration that an
H100 spends moving the bytes of its kernels, as `experiments/kernels.py` counts them.
"""

import dataclasses
import gzip
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from experiments import kernels, throughput
from experiments.support.provenance import ROOT
from jaxq import cli
from jaxq.config import command_line
from jaxq.config.fields import ConfigError, check_name

PAIRS = (
    ("w2", 128), ("w2", 16), ("w1_classic", 128), ("w3_cartpole", 16),
    ("w3_breakout", 16), ("w1_harm", 128), ("w1_classic", 1024), ("w2", 512),
    ("w2", 64), ("w3_cartpole", 128), ("w3_breakout", 128), ("w1_harm", 1024),
    ("w2", 2048), ("w1_classic", 2048), ("w1_classic", 16), ("w1_harm", 16),
    ("w2", 1), ("w1_classic", 1), ("w1_harm", 1), ("w3_cartpole", 1),
)  # fmt: skip
# Iterations of a timed chunk; up to a second on an H100.
ITERATIONS = {"w1_classic": 5_000, "w1_harm": 5_000, "w2": 1_000}
LEAST_SECONDS = 25.0  # of a pair: start-up, compilation and the timed chunks


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    pairs: tuple[str, ...] = tuple(f"{name}:{seeds}" for name, seeds in PAIRS)
    """Pairs to measure, as workload:seeds, in this order."""
    minutes: float = 8.5
    """Time after which no pair starts, and a running one is stopped."""
    repeats: int = 5
    """Timed chunks per pair."""
    output: pathlib.Path = ROOT / "results" / "throughput" / "accelerator.jsonl"
    """File of JSON lines, to which each pair adds one."""
    profile: pathlib.Path | None = None
    """Also profile a chunk of the first pair, into this directory, and print its
    kernels beside those that were compiled without a GPU."""
    peer_python: pathlib.Path | None = None
    """Also measure Rejax with this interpreter; see side_by_side.py."""


def main() -> None:
    """Measure the pairs that are missing and print the table."""
    arguments = command_line.read(Arguments, __doc__)
    pairs = [pair(text) for text in arguments.pairs]
    if not pairs:
        raise ConfigError("pairs is empty. Name one, as in w2:128, or omit --pairs.")
    for field in ("minutes", "repeats"):
        if not getattr(arguments, field) > 0:
            raise ConfigError(
                f"{field} = {getattr(arguments, field)} must be positive."
            )
    lines = kernels.read(arguments.output)
    deadline = time.monotonic() + 60 * arguments.minutes
    here = identity()
    done = {
        (line["workload"], line["seeds"]) for line in lines if same_place(line, here)
    }
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS), flush=True)
    for name, seeds in pairs:
        if (name, seeds) in done:
            continue
        left = deadline - time.monotonic()
        if left < LEAST_SECONDS:
            print(f"no time left for {name} with {seeds} seeds and later pairs")
            break
        line = measure(name, seeds, arguments, left)
        if line is not None:
            append(arguments.output, line)
            print(row(line), flush=True)
    if arguments.peer_python:
        peer = [sys.executable, str(ROOT / "experiments" / "side_by_side.py")]
        peer += ["--peer-python", str(arguments.peer_python), "--workloads"]
        within(deadline, "Rejax", [*peer, "w1_classic", "--seeds", "128"])
    if arguments.profile:
        (name, seeds), directory = pairs[0], arguments.profile.resolve()
        if within(deadline, "the profile", profile(name, seeds, directory)):
            print(beside_prediction(name, seeds, kernel_times(directory)))


def pair(text: str) -> tuple[str, int]:
    """A workload and a number of seeds, from workload:seeds."""
    name, _, seeds = text.partition(":")
    check_name("pairs", name, throughput.WORKLOADS)
    if not seeds.isdigit() or int(seeds) < 1:
        raise ConfigError(f"pairs: {text!r} needs a number of seeds, as in {name}:128.")
    return name, int(seeds)


def identity() -> dict[str, Any]:
    """The commit and the device, found in a process of its own."""
    code = (
        "import json, jax; from jaxq.runs import manifest; "
        "print(json.dumps(manifest.collect('', jax.local_devices(), 0)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True,
        cwd=ROOT,
    )  # fmt: skip
    return json.loads(process.stdout.strip().splitlines()[-1])


def same_place(line: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether a line was measured at this commit, without changes, and device."""
    made = line["manifest"]
    known = here.get("commit") is not None
    changed = made.get("uncommitted_changes") or here.get("uncommitted_changes")
    return (known and not changed) and all(
        made.get(key) == here.get(key) for key in ("commit", "devices")
    )


def measure(
    name: str, seeds: int, arguments: Arguments, seconds: float
) -> dict[str, Any] | None:
    """Measure one pair; None, with a message, if it fails or takes too long."""
    options = throughput.Arguments(
        repeats=arguments.repeats, iterations=ITERATIONS.get(name, 0)
    )
    try:
        return throughput.measure_in_subprocess(name, seeds, options, seconds)
    except subprocess.TimeoutExpired:
        print(f"{name} with {seeds} seeds: stopped after {seconds:.0f} s")
    except subprocess.CalledProcessError:
        print(f"{name} with {seeds} seeds: failed, see above")
    return None


def within(deadline: float, name: str, command: list[str]) -> bool:
    """Run a command until a time; whether it succeeded, with a message if not."""
    left = max(1.0, deadline - time.monotonic())
    try:
        subprocess.run(command, check=True, cwd=ROOT, timeout=left)
    except subprocess.TimeoutExpired:
        print(f"{name}: stopped after {left:.0f} s")
        return False
    except subprocess.CalledProcessError:
        print(f"{name}: failed, see above")
        return False
    return True


def append(path: pathlib.Path, line: dict[str, Any]) -> None:
    """Add a line to a file, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kernels.write(path, [*kernels.read(path), line])


COLUMNS = (
    "workload", "seeds", "steps/s", "spread", "updates/s", "us per iteration",
    "of memory", "to first chunk", "device memory",
)  # fmt: skip


def row(line: Mapping[str, Any]) -> str:
    """Row of the printed table."""
    iteration = iteration_seconds(line)
    compiled = predicted(line["workload"], line["seeds"])
    is_h100 = any("H100" in str(kind) for kind in line["manifest"]["devices"])
    share = None
    if compiled and is_h100:
        share = compiled["bytes"] / kernels.SPEED / iteration
    memory = line["peak_device_bytes"]
    cells = (
        line["workload"],
        f"{line['seeds']:,}",
        f"{line['steps_per_second']:,.0f}",
        throughput.spread(dict(line)),
        f"{line['updates_per_second']:,.0f}",
        f"{1e6 * iteration:,.0f}",
        "" if share is None else f"{share:.0%}",
        f"{line['seconds_to_first_chunk']:.0f} s",
        f"{memory / 1e9:.2f} GB" if memory else "",
    )
    return "| " + " | ".join(cells) + " |"


def iteration_seconds(line: Mapping[str, Any]) -> float:
    """Seconds of one iteration of all seeds."""
    config = throughput.workload(line["workload"], line["seeds"])
    steps = throughput.steps_per_iteration(config) * line["seeds"]
    return steps / line["steps_per_second"]


def predicted(name: str, seeds: int) -> dict[str, Any] | None:
    """The compiled kernels of a pair, if they were counted."""
    lines = kernels.read(ROOT / "results" / "throughput" / "kernels.jsonl")
    found = [one for one in lines if (one["workload"], one["seeds"]) == (name, seeds)]
    return found[0] if found else None


def profile(name: str, seeds: int, directory: pathlib.Path) -> list[str]:
    """The command that profiles one chunk of a workload."""
    code = (
        "import jax; from experiments import throughput as t; "
        f"config = t.override(t.workload({name!r}, {seeds}), t.Arguments("
        f"iterations={ITERATIONS.get(name, 0)} // 10)); "
        "members = t.population_of(config); members.train(); "
        f"jax.profiler.start_trace({str(directory)!r}); members.train(); "
        "jax.profiler.stop_trace()"
    )
    return [sys.executable, "-c", code]


def kernel_times(directory: pathlib.Path) -> dict[str, tuple[int, float]]:
    """Launches and microseconds of each kernel in the newest profile of a directory."""
    paths = sorted(directory.rglob("*.trace.json.gz"), key=lambda p: p.stat().st_mtime)
    if not paths:
        raise ConfigError(f"profile = {str(directory)!r} has no trace.")
    with gzip.open(paths[-1], "rt", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    devices = {
        event["pid"]
        for event in events
        if event.get("name") == "process_name" and "/device:" in event["args"]["name"]
    }
    streams = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name"
        and event["pid"] in devices
        and event["args"]["name"].startswith("Stream")
    }
    times: dict[str, tuple[int, float]] = {}
    for event in events:
        if event.get("ph") == "X" and (event["pid"], event["tid"]) in streams:
            count, total = times.get(event["name"], (0, 0.0))
            times[event["name"]] = count + 1, total + event["dur"]
    return times


def beside_prediction(
    name: str, seeds: int, times: Mapping[str, tuple[int, float]]
) -> str:
    """Measured kernels, the longest first, beside the least time of their bytes."""
    compiled = predicted(name, seeds)
    large: Iterable[Mapping[str, Any]] = compiled["largest"] if compiled else ()
    bytes_of = {one["name"].replace(".", "_"): one["bytes"] for one in large}
    lines = [f"kernels of {name}, {seeds} seeds, us per launch (least by bytes):"]
    longest = sorted(times.items(), key=lambda item: -item[1][1])
    for kernel, (count, total) in longest[:15]:
        moved = bytes_of.get(kernel)
        least = f" ({1e6 * moved / kernels.SPEED:.1f})" if moved else ""
        lines.append(f"  {count:7,d} x {total / count:8.1f}{least}  {kernel}")
    return "\n".join(lines)


if __name__ == "__main__":
    with cli.exit_codes():
        main()
