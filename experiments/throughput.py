"""Speed and memory of the training loop on fixed workloads, for any number of seeds.

Every pair of a workload and a number of seeds is measured in a separate process: first
the seconds until the end of the first chunk of training (compilation included, without
a cache), then the seconds of several further chunks. A table is printed, and one JSON
line per pair is appended to --output.

Rates are summed over seeds. `of floor` is the fraction of the time that is unavoidable:
the floor is the time of the updates' matrix products at the speed of a large product on
all cores; on an accelerator it is the time of their parameters' memory traffic at the
speed of a large copy, if that is longer. Both speeds are measured.
`results/performance.md` explains the figures.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from jaxq import Config, cli, preset
from jaxq.config import command_line, flags
from jaxq.config.fields import check_name

if TYPE_CHECKING:
    from jaxq.training.population import Population

CARTPOLE = Config(
    defaults="plain",
    environment="CartPole-v1",
    hidden_sizes=(64, 64),
    buffer_size=10_000,
    warmup_steps=1_000,
    target_period=500,
    total_steps=10**9,
    eval_points=1,
)
# Rejax counts the target period in environment steps: 500 of them are 50 updates here.
HARM = dataclasses.replace(CARTPOLE, num_envs=10, batch_size=128, target_period=50)
WORKLOADS = {
    # One environment, an update of 32 transitions after every step.
    "w1_classic": dataclasses.replace(CARTPOLE, batch_size=32, update_steps=1),
    # Ten environments, an update of 128 transitions after every ten steps.
    "w1_harm": HARM,
    "w1_prioritized": dataclasses.replace(HARM, prioritized=True),
    "w2": dataclasses.replace(
        CARTPOLE, environment="Breakout-MinAtar", batch_size=32, update_steps=1,
        buffer_size=100_000, warmup_steps=5_000, target_period=1_000,
    ),
    # The hyperparameters of purejaxql.
    "w3_cartpole": preset(
        "pqn", environment="CartPole-v1", hidden_sizes=(256, 256), num_envs=32,
        rollout_length=64, num_minibatches=16, num_epochs=4, total_steps=10**9,
        eval_points=1,
    ),
    "w3_breakout": preset(
        "pqn", environment="Breakout-MinAtar", num_envs=128, rollout_length=32,
        num_minibatches=32, num_epochs=2, total_steps=10**9, eval_points=1,
    ),
    # The hyperparameters of Rejax's own PQN.
    "w3_rejax": preset(
        "pqn", environment="CartPole-v1", hidden_sizes=(64, 64), num_envs=16,
        rollout_length=128, num_minibatches=16, num_epochs=5, total_steps=10**9,
        eval_points=1,
    ),
}  # fmt: skip
# Iterations of a timed chunk, summed over seeds; about a second on two CPU cores.
CHUNK = {
    "w1_classic": 80_000, "w1_harm": 24_000, "w1_prioritized": 16_000, "w2": 2_400,
    "w3_cartpole": 16, "w3_breakout": 4, "w3_rejax": 160,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    workloads: tuple[str, ...] = tuple(WORKLOADS)
    """Workloads to measure."""
    seeds: tuple[int, ...] = (1, 8, 32)
    """Numbers of seeds to measure."""
    repeats: int = 5
    """Number of timed chunks."""
    buffer_size: int = 0
    """Replay capacity in transitions, filled before timing starts; 0 keeps the
    workload's capacity and warm-up."""
    iterations: int = 0
    """Iterations of a timed chunk; 0 chooses about a second on two CPU cores."""
    seed_block: int = 0
    """Seeds vectorised together; 0 chooses."""
    cpu_cores: int = 0
    """CPU cores to use; 0 uses all."""
    output: pathlib.Path | None = None
    """File to which to append the JSON lines."""
    here: bool = False
    """Measure the first pair in this process and print its JSON line."""


def workload(name: str, seeds: int) -> Config:
    """Configuration of a workload."""
    iterations = max(4, CHUNK[name] // seeds)
    return dataclasses.replace(
        WORKLOADS[name], num_seeds=seeds, chunk_iterations=iterations
    )


def population_of(config: Config, cores: int = 0) -> "Population":
    """Population of all seeds of a configuration, on all devices."""
    from jaxq.config import loop_lengths
    from jaxq.envs import make
    from jaxq.training import blocks, memory, population

    env = make.from_config(config)
    lengths = loop_lengths.loop_lengths(config)
    need = memory.estimate(config, env, lengths)
    layout = blocks.layout(config, blocks.workers(cores), need.update)
    return population.Population(config, env, lengths, layout)


def steps_per_chunk(config: Config) -> int:
    """Environment steps per chunk, summed over seeds."""
    from jaxq.config import loop_lengths

    iterations = loop_lengths.loop_lengths(config).chunk_iterations
    return iterations * config.num_seeds * steps_per_iteration(config)


def steps_per_iteration(config: Config) -> int:
    """Environment steps per seed and iteration."""
    from jaxq.config import loop_lengths

    return loop_lengths.loop_lengths(config).rollout_length * config.num_envs


def measure(name: str, seeds: int, arguments: Arguments) -> dict[str, Any]:
    """Time one workload in this process."""
    start_time = time.monotonic()
    config = workload(name, seeds)
    options = flags.Options(compilation_cache=False, cpu_cores=arguments.cpu_cores)
    cli.set_up_jax(options, config)
    from experiments.support import measurements

    config = override(config, arguments)
    members = population_of(config, arguments.cpu_cores)
    setup_time = time.monotonic()
    members.train()
    first_chunk_time = time.monotonic()
    seconds = chunk_seconds(members, arguments.repeats)
    return {
        "workload": name,
        "seeds": seeds,
        "width": members.width,
        "buffer_size": config.buffer_size,
        **measurements.summarize(config, members, steps_per_chunk(config), seconds),
        "seconds_to_start": setup_time - start_time,
        "seconds_to_first_chunk": first_chunk_time - start_time,
        "seconds_per_chunk": seconds,
    }


def override(config: Config, arguments: Arguments) -> Config:
    """The configuration with the nonzero settings of the command line."""
    changes = {
        "seed_block": arguments.seed_block,
        "buffer_size": arguments.buffer_size,
        "warmup_steps": arguments.buffer_size,
        "chunk_iterations": arguments.iterations,
    }
    changes = {field: value for field, value in changes.items() if value}
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def chunk_seconds(members: "Population", repeats: int) -> list[float]:
    """Seconds of each of several chunks."""
    seconds = []
    for _ in range(repeats):
        start_time = time.monotonic()
        members.train()
        seconds.append(time.monotonic() - start_time)
    return seconds


def main() -> None:
    """Measure every pair in a separate process and print the table."""
    arguments = command_line.read(Arguments, __doc__)
    for name in arguments.workloads:
        check_name("workload", name, WORKLOADS)
    if arguments.here:
        line = measure(arguments.workloads[0], arguments.seeds[0], arguments)
        print(json.dumps(line))
        return
    columns = (
        "workload", "seeds", "steps/s", "spread", "updates/s", "of floor",
        "to first chunk", "host", "bytes/transition",
    )  # fmt: skip
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for name in arguments.workloads:
        for seeds in arguments.seeds:
            print(row(measure_in_subprocess(name, seeds, arguments)), flush=True)


def measure_in_subprocess(
    name: str, seeds: int, arguments: Arguments, timeout: float | None = None
) -> dict[str, Any]:
    """Measure one pair in a separate process and append its line to the output file.

    Raises:
        subprocess.SubprocessError: if the process fails, or takes more than `timeout`
            seconds.
    """
    options = [
        "--here", "--workloads", name, "--seeds", seeds,
        "--repeats", arguments.repeats, "--buffer-size", arguments.buffer_size,
        "--iterations", arguments.iterations,
        "--seed-block", arguments.seed_block, "--cpu-cores", arguments.cpu_cores,
    ]  # fmt: skip
    command = [sys.executable, __file__, *map(str, options)]
    process = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=timeout
    )
    line = process.stdout.strip().splitlines()[-1]
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        with arguments.output.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    return json.loads(line)


def spread(line: dict[str, Any]) -> str:
    """Range of the rates relative to their median, in percent."""
    low, high = line["steps_per_second_range"]
    return f"{(high - low) / line['steps_per_second']:.0%}"


def row(line: dict[str, Any]) -> str:
    """Row of the printed table."""
    transition = line["bytes_per_transition"]
    cells = (
        line["workload"],
        line["seeds"],
        f"{line['steps_per_second']:,.0f}",
        spread(line),
        f"{line['updates_per_second']:,.0f}",
        f"{line['share_of_floor']:.0%}",
        f"{line['seconds_to_first_chunk']:.1f} s",
        f"{line['peak_host_bytes'] / 1e6:,.0f} MB",
        f"{transition:.0f}" if transition else "",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    with cli.exit_codes():
        main()
