"""Measure the cost of a member of a sweep, and the throughput of several devices.

Members: plain seeds, and as many settings x seeds, train the same number of steps
alternately. Devices: one to eight CPU devices in one process train one block each; more
devices than cores add compilation, but no throughput.
See results/performance.md#many-devices for an estimate of 1,024 devices.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

from experiments import throughput
from jaxq import cli
from jaxq.config import command_line, flags, loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import check_name

DEVICES = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Workload and length of the measurement."""

    workload: str = "w1_harm"
    """Name of a workload of experiments/throughput.py."""
    settings: int = 64
    """Number of learning rates in the sweep."""
    seeds: int = 8
    """Seeds per learning rate."""
    repeats: int = 7
    """Number of turns; medians are reported."""
    iterations: int = 60
    """Iterations of all members in a turn."""
    output: pathlib.Path | None = None
    """JSON file to write."""
    devices: int = 0
    """Measure this many CPU devices in this process, and print one line of JSON."""


def measure_members(arguments: Arguments) -> dict[str, Any]:
    """Throughput of plain seeds and of members of a sweep, measured alternately."""
    from jaxq.runs import manifest
    from jaxq.training import blocks

    base = throughput.WORKLOADS[arguments.workload]
    devices = blocks.workers()
    settings, seeds = arguments.settings, arguments.seeds
    count = settings * seeds
    cells = {
        name: _start(base, num_settings, num_seeds, width, devices)
        for name, num_settings, num_seeds, width in (
            ("plain seeds in blocks of 8", 1, count, 8),
            (f"settings x {seeds} seeds, one setting per block", settings, seeds, 0),
            ("plain seeds in blocks of 16", 1, count, 16),
            ("settings x 1 seed, sixteen settings per block", count, 1, 16),
        )
    }
    for _ in range(arguments.repeats):
        for cell in cells.values():
            start = time.monotonic()
            cell["population"].train(arguments.iterations)
            cell["seconds"].append(time.monotonic() - start)
    steps = count * arguments.iterations * throughput.steps_per_iteration(base)
    rows = []
    for name, cell in cells.items():
        del cell["population"]
        median = statistics.median(cell["seconds"])
        rows.append({"members": name, **cell, "steps_per_second": steps / median})
    return {
        "workload": arguments.workload,
        "members": count,
        "rows": rows,
        "manifest": manifest.collect(base.environment, devices, 0),
    }


def _start(
    base: Config, settings: int, seeds: int, width: int, devices: list[Any]
) -> dict[str, Any]:
    """Compile and warm up the members of a sweep over learning rates."""
    import numpy as np

    from jaxq.sweeps import packing
    from jaxq.training import compiled, population

    count = settings * seeds
    rates = np.geomspace(1e-5, 1e-2, count)[:: count // settings]
    base = dataclasses.replace(base, num_seeds=seeds, seed_block=width)
    configs = [dataclasses.replace(base, learning_rate=float(rate)) for rate in rates]
    (program,) = packing.group(configs)
    packed = packing.pack(program, devices)
    workers = [i % len(devices) for i in range(len(packed.lanes))]
    blocks = [
        packing.block(program, packed, i, worker, devices[worker])
        for i, worker in enumerate(workers)
    ]
    cache_size = compiled.chunk._cache_size  # type: ignore[attr-defined]
    before = cache_size()
    members = population.Population(
        program.config, program.env, program.lengths, blocks, None, count
    )
    members.train(4)
    return {
        "width": packed.width,
        "mixed": packed.mixed,
        "compilations": cache_size() - before,
        "population": members,
        "seconds": [],
    }


def measure_devices(arguments: Arguments) -> dict[str, Any]:
    """Throughput of several CPU devices with one block each."""
    flag = f"--xla_force_host_platform_device_count={arguments.devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    cli.set_up_jax(flags.Options(compilation_cache=False, platform="cpu"))
    import jax

    from jaxq.envs import make
    from jaxq.training import blocks, population

    config = dataclasses.replace(
        throughput.WORKLOADS[arguments.workload],
        num_seeds=8 * arguments.devices,
        seed_block=8,
    )
    start = time.monotonic()
    env = make.from_config(config)
    layout = blocks.layout(config, jax.devices())
    members = population.Population(
        config, env, loop_lengths.loop_lengths(config), layout
    )
    members.train(4)
    first = time.monotonic() - start
    seconds = []
    for _ in range(arguments.repeats):
        start = time.monotonic()
        members.train(16 * arguments.iterations)
        seconds.append(time.monotonic() - start)
    steps = 16 * arguments.iterations * throughput.steps_per_iteration(config)
    rates = [steps * config.num_seeds / elapsed for elapsed in seconds]
    return {
        "devices": len(members.devices),
        "members": config.num_seeds,
        "seconds_to_first_chunk": first,
        "steps_per_second": statistics.median(rates),
        "range": [min(rates), max(rates)],
    }


def _measure_in_process(devices: int, arguments: Arguments) -> dict[str, Any]:
    """`measure_devices` in a new process, as jax's device count is fixed at start."""
    command = [
        sys.executable,
        __file__,
        f"--devices={devices}",
        f"--workload={arguments.workload}",
        f"--repeats={arguments.repeats}",
        f"--iterations={arguments.iterations}",
    ]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure members, then devices, each number of devices in its own process."""
    arguments = command_line.read(Arguments, __doc__)
    check_name("workload", arguments.workload, throughput.WORKLOADS)
    if arguments.devices:
        print(json.dumps(measure_devices(arguments)))
        return
    cli.set_up_jax(flags.Options(platform="cpu"))
    result = measure_members(arguments)
    result["devices"] = [_measure_in_process(count, arguments) for count in DEVICES]
    if arguments.output:
        from jaxq.runs import files

        files.write_json(arguments.output, result)
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """Both measurements as Markdown tables."""
    return "\n".join([*_members_table(result), "", *_devices_table(result)])


def _members_table(result: dict[str, Any]) -> list[str]:
    rows = result["rows"]
    lines = [
        f"| {result['members']} members | width | compiled | steps/s | spread "
        "| relative to plain seeds |",
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
    return lines


def _devices_table(result: dict[str, Any]) -> list[str]:
    lines = [
        f"| CPU devices on {result['manifest']['cpu_count']} cores | members "
        "| steps/s | spread | to the first chunk |",
        "| --- |" + " --- |" * 4,
    ]
    for row in result["devices"]:
        low, high = row["range"]
        lines.append(
            f"| {row['devices']} | {row['members']} | {row['steps_per_second']:,.0f} "
            f"| {(high - low) / row['steps_per_second']:.0%} "
            f"| {row['seconds_to_first_chunk']:.0f} s |"
        )
    return lines


if __name__ == "__main__":
    with cli.exit_codes():
        main()
