"""Speed beside Rejax's on the same work and the same cores, in turns.

Needs the Python of a second environment, because Rejax needs an older gymnax:

    python -m venv rejax && rejax/bin/pip install rejax==0.1.3 gymnax==0.0.9
    python experiments/side_by_side.py --peer-python rejax/bin/python

Both programs are started and compiled, then train a chunk each in turns, A B A B, the
other one waiting. The figure is the ratio of the medians of their rates.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np
import throughput
import tyro

from jaxq import cli
from jaxq.config import flags
from jaxq.config.fields import ConfigError, check_name

# Steps of all seeds in a chunk of Rejax's, a second or so on two CPU cores.
PEER_CHUNK = {
    "w1_classic": 10_000, "w1_harm": 40_000, "w2": 300, "w3_rejax": 131_072,
    "w3_breakout": 16_384,
}  # fmt: skip
PEER = pathlib.Path(__file__).resolve().parent / "peers" / "rejax_worker.py"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to compare."""

    peer_python: pathlib.Path = pathlib.Path("rejax/bin/python")
    """Python with rejax and its gymnax."""
    workloads: tuple[str, ...] = tuple(PEER_CHUNK)
    """Names."""
    seeds: tuple[int, ...] = (1, 8, 32)
    """Numbers of seeds."""
    alternations: int = 5
    """Chunks of each."""
    output: pathlib.Path | None = None
    """File to append the JSON lines to."""
    serve: bool = False
    """Be the program that is compared: the first workload and number of seeds."""


class Worker:
    """A program that trains a chunk for every line it is sent.

    It says what it is when its first chunk is done, and answers once more when its
    replay buffer is warm.
    """

    def __init__(self, name: str, command: list[str]):
        began = time.monotonic()
        self._name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.about = self._answer()
        self.seconds_to_first_chunk = time.monotonic() - began
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"error: {self._name} ended without an answer; see above.")

    def rate(self) -> float:
        """Environment steps a second of one more chunk, over all seeds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["steps"] / answer["seconds"]

    def close(self) -> None:
        """Let the program end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(name: str, seeds: int, arguments: Arguments) -> dict[str, Any]:
    """Rates of both programs, in turns."""
    request = {
        "workload": name, "seeds": seeds, "steps": max(64, PEER_CHUNK[name] // seeds),
    }  # fmt: skip
    own = ["--serve", "--workloads", name, "--seeds", str(seeds)]
    commands = {
        "jaxq": [sys.executable, __file__, *own],
        "rejax": [str(arguments.peer_python), str(PEER), json.dumps(request)],
    }
    workers = {program: Worker(program, words) for program, words in commands.items()}
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
        "about": {program: worker.about for program, worker in workers.items()},
    }


def serve(name: str, seeds: int) -> None:
    """Train a chunk of jaxq's for every line of the input."""
    config = throughput.workload(name, seeds)
    cli.set_up_jax(flags.Options(compilation_cache=False), config)
    everyone = throughput.population_of(config)
    steps = throughput.steps_per_chunk(config)
    everyone.advance()
    from jaxq.runs import manifest

    about = manifest.collect(config.environment, everyone.devices, everyone.width)
    print(json.dumps(about), flush=True)
    print("{}", flush=True)
    for _ in sys.stdin:
        before = time.monotonic()
        everyone.advance()
        seconds = time.monotonic() - before
        print(json.dumps({"steps": steps, "seconds": seconds}), flush=True)


def main() -> None:
    """Compare every pair of a workload and a number of seeds."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.serve:
        serve(arguments.workloads[0], arguments.seeds[0])
        return
    for name in arguments.workloads:
        check_name("workload", name, PEER_CHUNK)
    if not arguments.peer_python.exists():
        raise ConfigError(f"peer_python = {str(arguments.peer_python)!r} is no file.")
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
                with arguments.output.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def row(line: dict[str, Any]) -> str:
    """A line of the table."""
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
