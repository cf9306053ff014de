"""Kernels and memory traffic of one training iteration on an H100, without a GPU.

XLA's compiler for GPUs runs on any machine, and its program names every kernel that a
GPU would launch. For each workload and number of seeds, this script prints the launches
and bytes of one iteration, the bytes that it cannot avoid, the largest kernels, and the
copies and selects of large arrays. Needs packages of its own; see `.ci/kernels`.

The floor counts the parameters and the outputs of the layers; see `floor_bytes`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

from experiments import throughput
from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.config.fields import ConfigError, check_name
from jaxq.runs import files

_W2 = throughput.WORKLOADS["w2"]
WORKLOADS: dict[str, Config] = {
    **{
        name: throughput.WORKLOADS[name]
        for name in ("w1_classic", "w1_harm", "w2", "w3_breakout")
    },
    **{
        name: dataclasses.replace(_W2, algorithm=name)
        for name in ("rainbow", "iqn", "r2d2")
    },
}
SEEDS = (16, 128)
LARGE = 1_000_000  # bytes of a copy or a select that is listed
SPEED = 3.0e12  # bytes per second that Adam's kernel moves on an H100


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    workloads: tuple[str, ...] = tuple(WORKLOADS)
    """Workloads to compile."""
    seeds: tuple[int, ...] = SEEDS
    """Numbers of seeds to compile."""
    top: int = 10
    """Number of the largest kernels to print."""
    output: pathlib.Path | None = None
    """File of JSON lines in which to replace the lines of these workloads."""
    save: pathlib.Path | None = None
    """Directory for the texts of the compiled programs."""


def main() -> None:
    """Compile, count and print."""
    arguments = command_line.read(Arguments, __doc__)
    for name in arguments.workloads:
        check_name("workloads", name, WORKLOADS)
    for seeds in arguments.seeds:
        if seeds < 1:
            raise ConfigError(f"seeds = {seeds} must be positive.")
    if arguments.output:
        read(arguments.output)
        if not arguments.output.absolute().parent.is_dir():
            raise ConfigError(
                f"output = {str(arguments.output)!r} is not in an existing directory."
            )
    cli.set_up_jax(flags.Options(platform="cpu", compilation_cache=False))
    for name in arguments.workloads:
        for seeds in arguments.seeds:
            text = compiled(name, seeds)
            if arguments.save:
                arguments.save.mkdir(parents=True, exist_ok=True)
                (arguments.save / f"{name}_{seeds}.hlo").write_text(
                    text, encoding="utf-8"
                )
            line = measure(name, seeds, text, arguments.top)
            print(report(line), flush=True)
            if arguments.output:
                replace(arguments.output, line)


def compiled(name: str, seeds: int) -> str:
    """The optimised program of a workload's chunk of training."""
    import jax
    import numpy as np

    from experiments.support import gpu_compiler
    from jaxq.envs import make
    from jaxq.training import compiled as programs

    config = dataclasses.replace(WORKLOADS[name], num_seeds=seeds, chunk_iterations=16)
    env = make.from_config(config)
    numbers = gpu_compiler.on_device(programs.traced(config))
    keys = gpu_compiler.on_device(
        jax.eval_shape(programs.make_keys, np.arange(seeds, dtype=np.uint32))
    )
    state = gpu_compiler.on_device(
        jax.eval_shape(lambda c, k: programs.start(c, k, env=env), numbers, keys)
    )
    return gpu_compiler.optimized_hlo(programs.chunk, numbers, keys, state, env=env)


def measure(name: str, seeds: int, text: str, top: int = 10) -> dict[str, Any]:
    """Launches and bytes of a compiled workload."""
    import importlib.metadata

    from experiments.support import hlo, launches

    found = launches.of_iteration(hlo.parse(text))
    parts: dict[str, list[int]] = {}
    for one in found:
        count = parts.setdefault(one.part, [0, 0])
        count[0] += one.times
        count[1] += one.times * one.bytes
    largest = sorted(found, key=lambda one: -one.times * one.bytes)
    return {
        "workload": name,
        "seeds": seeds,
        "launches": sum(one.times for one in found),
        "bytes": sum(one.times * one.bytes for one in found),
        "floor": floor_bytes(name) * seeds,
        "parts": dict(sorted(parts.items(), key=lambda item: -item[1][1])),
        "largest": [one._asdict() for one in largest[:top]],
        "copies": [
            one._asdict() for one in largest if one.kind == "copy" and one.bytes > LARGE
        ],
        "selects": [one._asdict() for one in largest if one.selects > LARGE],
        "jax": importlib.metadata.version("jax"),
    }


def floor_bytes(name: str) -> int:
    """Bytes per seed that an iteration of a workload cannot avoid.

    Of the parameters, Adam reads and writes seven arrays, the gradient is written once,
    and every pass through the network reads them. Of the activations, the output of
    every product is written and read once; where it is learned from, it is read once
    more, and its gradient is written and read once.
    """
    from jaxq.agents import algorithms
    from jaxq.config import loop_lengths
    from jaxq.envs import make
    from jaxq.training import checks, memory

    config = WORKLOADS[name]
    spec, lengths = make.from_config(config).spec, loop_lengths.loop_lengths(config)
    state = checks.state_shape(algorithms.make(config, spec), spec)
    params = memory.bytes_per_seed(state.learner.params)
    on_policy = config.algorithm == "pqn"
    # Forward and backward 2, and of the target network 1.
    passes = lengths.num_updates * (10 if on_policy else 11) + lengths.rollout_length
    passes += on_policy  # once more for the returns of a rollout
    steps = lengths.rollout_length * config.num_envs
    acted, learned, only_read = steps, 0, 0  # numbers of observations
    if on_policy:
        learned, only_read = steps * config.num_epochs, steps
    else:
        samples = lengths.num_updates * config.batch_size
        learned = only_read = samples * (config.sequence_length + config.n_step)
        only_read += 2 * samples * config.burn_in
        if config.recurrent == "none":
            learned, only_read = samples, samples * (1 + config.double_q)
    return params * passes + 4 * outputs_per_observation(config, spec) * (
        2 * (acted + only_read) + 5 * learned
    )


def outputs_per_observation(config: Config, spec: Any) -> int:
    """Numbers that the layers of a network write for one observation."""
    import jax

    from experiments.support import activations
    from jaxq.agents import factory
    from jaxq.xla import prng

    network = factory.make_networks(config, spec).online
    key, observation = jax.eval_shape(lambda: (prng.key(0), spec.example().observation))
    params = jax.eval_shape(network.init, key, observation)
    memory = jax.eval_shape(network.initial_memory, key)
    return activations.outputs(network.step, key, params, memory, observation)


def report(line: dict[str, Any]) -> str:
    """A measurement in words."""
    megabytes = line["bytes"] / 1e6
    lines = [
        f"{line['workload']}, {line['seeds']} seeds: {line['launches']:,} launches, "
        f"{megabytes:,.1f} MB, {line['bytes'] / line['floor']:.2f} times the floor, "
        f"{1e6 * line['bytes'] / SPEED:,.0f} us at {SPEED / 1e12} TB/s"
    ]
    for part, (count, size) in line["parts"].items():
        lines.append(f"  {part:12s} {count:6,d} launches {size / 1e6:10,.2f} MB")
    for one in line["largest"]:
        times = f"{one['times']} x " if one["times"] > 1 else ""
        lines.append(
            f"  {times}{one['bytes'] / 1e6:,.2f} MB  {one['kind']:9s} "
            f"{one['part']:11s} {one['name']}  {shortened(one['shape'])}"
        )
    for title in ("copies", "selects"):
        large = ", ".join(f"{one['name']} in {one['part']}" for one in line[title])
        lines.append(f"  {title} of more than {LARGE / 1e6:g} MB: {large or 'none'}")
    return "\n".join(lines)


def shortened(shape: str, length: int = 48) -> str:
    """A shape that fits a line."""
    return shape if len(shape) <= length else f"{shape[: length - 3]}..."


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a file; none if it does not exist.

    Raises:
        ConfigError: if a line is not JSON.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        return [json.loads(row) for row in text.splitlines()]
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is corrupt: {error}. Repair or move it.") from error


def write(path: pathlib.Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write the lines of a file, atomically."""
    files.write_text(path, "".join(json.dumps(one) + "\n" for one in lines))


def replace(path: pathlib.Path, line: dict[str, Any]) -> None:
    """Replace the line of a workload and number of seeds, or add it."""
    key = line["workload"], line["seeds"]
    kept = [one for one in read(path) if (one["workload"], one["seeds"]) != key]
    order = {name: place for place, name in enumerate(WORKLOADS)}

    def place(one: dict[str, Any]) -> tuple[int, str, int]:
        return order.get(one["workload"], len(order)), one["workload"], one["seeds"]

    write(path, sorted([*kept, line], key=place))


if __name__ == "__main__":
    with cli.exit_codes():
        main()
