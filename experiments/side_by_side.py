"""Speed of jaxq and Rejax on the same workloads and cores, measured alternately.

Rejax needs an older gymnax, and therefore a second Python environment:

    python -m venv rejax && rejax/bin/pip install rejax==0.1.3 gymnax==0.0.9
    python experiments/side_by_side.py --peer-python rejax/bin/python

Both programs are started and compiled. Then they alternate, A B A B: one trains a chunk
while the other waits. The result is the ratio of their median rates.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np

from experiments import throughput
from jaxq import ConfigError, cli
from jaxq.config import command_line, flags
from jaxq.config.fields import check_name

# Steps of a chunk of Rejax, summed over seeds; about a second on two CPU cores.
PEER_CHUNK = {
    "w1_classic": 10_000, "w1_harm": 40_000, "w2": 300, "w3_rejax": 131_072,
    "w3_breakout": 16_384,
}  # fmt: skip
PEER = pathlib.Path(__file__).resolve().parent / "peers" / "rejax_worker.py"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    peer_python: pathlib.Path = pathlib.Path("rejax/bin/python")
    """Python interpreter of the environment with Rejax."""
    workloads: tuple[str, ...] = tuple(PEER_CHUNK)
    """Workloads to compare."""
    seeds: tuple[int, ...] = (1, 8, 32)
    """Numbers of seeds to compare."""
    alternations: int = 5
    """Number of timed chunks of each program."""
    output: pathlib.Path | None = None
    """File to which to append the JSON lines."""
    serve: bool = False
    """Act as the jaxq worker, with the first workload and number of seeds."""


class Worker:
    """A subprocess that trains one chunk for every line it receives.

    It prints its manifest after the first chunk, an empty object once its replay buffer
    is filled, and the steps and seconds of every further chunk.

    Attributes:
        manifest: the manifest that the program printed.
        seconds_to_first_chunk: seconds from the start to the end of the first chunk.
    """

    def __init__(self, name: str, command: list[str]):
        start_time = time.monotonic()
        self._name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.manifest = self._read()
        self.seconds_to_first_chunk = time.monotonic() - start_time
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"error: {self._name} ended without a reply; see its output.")

    def rate(self) -> float:
        """Train one more chunk.

        Returns:
            Environment steps per second, summed over seeds.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        chunk = self._read()
        return chunk["steps"] / chunk["seconds"]

    def close(self) -> None:
        """End the program by closing its input, and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(name: str, seeds: int, arguments: Arguments) -> dict[str, Any]:
    """Measure the rates of both programs alternately."""
    request = {
        "workload": name, "seeds": seeds, "steps": max(64, PEER_CHUNK[name] // seeds),
    }  # fmt: skip
    serve_options = ["--serve", "--workloads", name, "--seeds", str(seeds)]
    commands = {
        "jaxq": [sys.executable, __file__, *serve_options],
        "rejax": [str(arguments.peer_python), str(PEER), json.dumps(request)],
    }
    workers = {
        program: Worker(program, command) for program, command in commands.items()
    }
    rates: dict[str, list[float]] = {program: [] for program in workers}
    for _ in range(arguments.alternations):
        for program, worker in workers.items():
            rates[program].append(worker.rate())
    for worker in workers.values():
        worker.close()
    ours, theirs = (np.median(rates[program]) for program in workers)
    return {
        "workload": name,
        "seeds": seeds,
        "ratio": ours / theirs,
        "steps_per_second": rates,
        "seconds_to_first_chunk": {
            program: worker.seconds_to_first_chunk
            for program, worker in workers.items()
        },
        "about": {program: worker.manifest for program, worker in workers.items()},
    }


def serve(name: str, seeds: int) -> None:
    """Train one chunk with jaxq for every line of the standard input."""
    config = throughput.workload(name, seeds)
    cli.set_up_jax(flags.Options(compilation_cache=False), config)
    members = throughput.population_of(config)
    steps = throughput.steps_per_chunk(config)
    members.train()
    from jaxq.runs import manifest

    record = manifest.collect(config.environment, members.devices, members.width)
    print(json.dumps(record), flush=True)
    print("{}", flush=True)
    for _ in sys.stdin:
        start_time = time.monotonic()
        members.train()
        seconds = time.monotonic() - start_time
        print(json.dumps({"steps": steps, "seconds": seconds}), flush=True)


def main() -> None:
    """Compare every pair of a workload and a number of seeds, and print the table."""
    arguments = command_line.read(Arguments, __doc__)
    if arguments.serve:
        serve(arguments.workloads[0], arguments.seeds[0])
        return
    for name in arguments.workloads:
        check_name("workload", name, PEER_CHUNK)
    if not arguments.peer_python.exists():
        raise ConfigError(
            f"peer_python = {str(arguments.peer_python)!r} does not exist. Create the "
            "environment as shown by --help."
        )
    columns = (
        "workload",
        "seeds",
        "jaxq",
        "Rejax",
        "ratio",
        "spread",
        "to first chunk",
    )
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for name in arguments.workloads:
        for seeds in arguments.seeds:
            line = compare(name, seeds, arguments)
            print(row(line), flush=True)
            if arguments.output:
                arguments.output.parent.mkdir(parents=True, exist_ok=True)
                with arguments.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


def row(line: dict[str, Any]) -> str:
    """Row of the printed table."""
    ours, theirs = line["steps_per_second"].values()
    first = line["seconds_to_first_chunk"].values()
    spreads = [np.ptp(rates) / np.median(rates) for rates in (ours, theirs)]
    cells = (
        line["workload"],
        line["seeds"],
        f"{np.median(ours):,.0f}",
        f"{np.median(theirs):,.0f}",
        f"{line['ratio']:.1f}",
        " / ".join(f"{spread:.0%}" for spread in spreads),
        " / ".join(f"{seconds:.1f} s" for seconds in first),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    with cli.exit_codes():
        main()
