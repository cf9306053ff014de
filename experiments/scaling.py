"""What a member of a sweep costs beside a plain seed, and how devices add up.

Members: as many plain seeds, settings x seeds with one setting in a block, and settings
with a seed each and sixteen in a block, train for the same steps in turns. Devices: one
to eight CPU devices in one process, each with a block of its own; more of them than
there are cores add compilation, but no speed.
"""

# On paper, 1,024 devices, as 128 hosts of eight: while they train nothing passes
# between devices, 0 bytes a step, so each of them is as quick as one alone. The host's
# work is a call of 0.3 ms for every chunk of about a second, 1.5 ms for every point of
# the curve, and 1 ms and a file for every finished block (16 seeds of w1_harm, one
# core); eight devices keep a host's Python busy for less than 2 % of the time. Between
# hosts, what a round of blocks has measured goes to process 0: 52 bytes a member and
# point, and 4 for every evaluation episode, 96 kB a block of 16 members with 50 points
# of 16 episodes, 100 MB from 1,024 devices, once a round. What breaks first is
# compilation: every device has an executable of its own, eight to a host, because one
# program partitioned over devices has other bits than that of a single device (see
# `jaxq.training.population`). Then the end: one process holds all curves, 6 GB for
# 10^6 such members. Then waiting for one another at the end of a round; --shard has no
# rounds.

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

import throughput
import tyro

from jaxq import cli
from jaxq.config import flags
from jaxq.config.fields import check_name

DEVICES = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    workload: str = "w1_harm"
    """Name of a workload of experiments/throughput.py."""
    settings: int = 64
    """Learning rates of the sweep."""
    seeds: int = 8
    """Seeds of every learning rate."""
    repeats: int = 7
    """Turns, of which the medians are taken."""
    iterations: int = 60
    """Iterations of all members in a turn."""
    output: pathlib.Path | None = None
    """File to write the JSON to."""
    devices: int = 0
    """Measure this many CPU devices in this process, and print a JSON line."""


def members(arguments: Arguments) -> dict[str, Any]:
    """Steps a second of plain seeds and of members of a sweep, in turns."""
    import numpy as np

    from jaxq.runs import manifest
    from jaxq.sweeps import packing
    from jaxq.training import blocks, compiled, population

    base = throughput.WORKLOADS[arguments.workload]
    devices = blocks.workers()
    rates = np.geomspace(1e-5, 1e-2, arguments.settings * arguments.seeds)
    count, cells = rates.size, {}
    for name, settings, seeds, width in (
        ("plain seeds in blocks of 8", 1, count, 8),
        ("settings x 8 seeds, one in a block", arguments.settings, arguments.seeds, 0),
        ("plain seeds in blocks of 16", 1, count, 16),
        ("settings x 1 seed, sixteen in a block", count, 1, 16),
    ):
        own = dataclasses.replace(base, num_seeds=seeds, seed_block=width)
        every = rates[:: count // settings]
        configs = [dataclasses.replace(own, learning_rate=float(r)) for r in every]
        (program,) = packing.group(configs)
        packed = packing.pack(program, devices)
        found = [
            packing.block(
                program, packed, i, i % len(devices), devices[i % len(devices)]
            )
            for i in range(len(packed.lanes))
        ]
        before = compiled.chunk._cache_size()  # type: ignore[attr-defined]
        trained = population.Population(program.config, program.env, found, None, count)
        trained.advance(4)
        cells[name] = {
            "width": packed.width,
            "mixed": packed.mixed,
            "compilations": compiled.chunk._cache_size() - before,  # type: ignore[attr-defined]
            "population": trained,
            "seconds": [],
        }
    for _ in range(arguments.repeats):
        for cell in cells.values():
            began = time.monotonic()
            cell["population"].advance(arguments.iterations)
            cell["seconds"].append(time.monotonic() - began)
    steps = count * arguments.iterations * throughput.steps_per_iteration(base)
    rows = []
    for name, cell in cells.items():
        del cell["population"]
        middle = statistics.median(cell["seconds"])
        rows.append({"members": name, **cell, "steps_per_second": steps / middle})
    return {
        "workload": arguments.workload,
        "members": count,
        "rows": rows,
        "manifest": manifest.manifest(base.environment, devices, 0),
    }


def forced(arguments: Arguments) -> dict[str, Any]:
    """Steps a second of one block for each of some CPU devices."""
    given = os.environ.get("XLA_FLAGS", "")
    force = f"--xla_force_host_platform_device_count={arguments.devices}"
    os.environ["XLA_FLAGS"] = f"{given} {force}".strip()
    cli.set_up_jax(flags.Options(compilation_cache=False, platform="cpu"))
    import jax

    from jaxq.envs import make
    from jaxq.training import blocks, population

    config = dataclasses.replace(
        throughput.WORKLOADS[arguments.workload],
        num_seeds=8 * arguments.devices,
        seed_block=8,
    )
    began = time.monotonic()
    env = make.from_config(config)
    found = blocks.layout(config, jax.devices())
    trained = population.Population(config, env, found)
    trained.advance(4)
    first = time.monotonic() - began
    seconds = []
    for _ in range(arguments.repeats):
        began = time.monotonic()
        trained.advance(16 * arguments.iterations)
        seconds.append(time.monotonic() - began)
    steps = 16 * arguments.iterations * throughput.steps_per_iteration(config)
    rates = [steps * config.num_seeds / taken for taken in seconds]
    return {
        "devices": len(trained.devices),
        "members": config.num_seeds,
        "seconds_to_first_chunk": first,
        "steps_per_second": statistics.median(rates),
        "range": [min(rates), max(rates)],
    }


def main() -> None:
    """Measure both, in processes of their own for the devices."""
    arguments = tyro.cli(Arguments, description=__doc__)
    check_name("workload", arguments.workload, throughput.WORKLOADS)
    if arguments.devices:
        print(json.dumps(forced(arguments)))
        return
    cli.set_up_jax(flags.Options(platform="cpu"))
    found = members(arguments)
    found["devices"] = []
    for count in DEVICES:
        words = ["--devices", count, "--workload", arguments.workload]
        words += ["--repeats", arguments.repeats, "--iterations", arguments.iterations]
        done = subprocess.run(
            [sys.executable, __file__, *map(str, words)],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        found["devices"].append(json.loads(done.stdout.strip().splitlines()[-1]))
    if arguments.output:
        from jaxq.runs import files

        files.write_json(arguments.output, found)
    print(table(found))


def table(found: dict[str, Any]) -> str:
    """Both tables."""
    rows = found["rows"]
    lines = [
        f"| {found['members']} members | width | compiled | steps/s | spread "
        "| beside plain seeds |",
        "| --- |" + " --- |" * 5,
    ]
    for i, row in enumerate(rows):
        plain = rows[i - i % 2]
        seconds = row["seconds"]
        spread = (max(seconds) - min(seconds)) / statistics.median(seconds)
        ratio = row["steps_per_second"] / plain["steps_per_second"]
        lines.append(
            f"| {row['members']} | {row['width']} | {row['compilations']} "
            f"| {row['steps_per_second']:,.0f} | {spread:.0%} | {ratio:.2f} |"
        )
    lines += [
        "",
        "| CPU devices on "
        f"{found['manifest']['cpu_count']} cores | members | steps/s | spread "
        "| to the first chunk |",
        "| --- |" + " --- |" * 4,
    ]
    for row in found["devices"]:
        low, high = row["range"]
        lines.append(
            f"| {row['devices']} | {row['members']} | {row['steps_per_second']:,.0f} "
            f"| {(high - low) / row['steps_per_second']:.0%} "
            f"| {row['seconds_to_first_chunk']:.0f} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    with cli.exit_codes():
        main()
