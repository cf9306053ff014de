"""Speed and memory of the training loop, on fixed workloads, for any number of seeds.

Every pair of a workload and a number of seeds is measured in a process of its own:
seconds until the first chunk of training is done (compilation included, nothing
cached), then the time of several more. A JSON line for each pair is appended to
--output, and a table is printed.

Rates are sums over seeds. The floor is the time that the matrix products of the updates
would take at the speed of a large one, on all cores, or, on an accelerator, where it is
longer, the traffic of their parameters at the speed of a large copy; both are measured.
"""

# What was tried on two CPU cores (jax 0.10.2) and did not pay:
# - XLA's flags, at w1_classic with 4 seeds on one core, 239 us an iteration and 10 %
#   from run to run: copy insertion by regions 229, the preset FAST_RUNTIME 228, oneDNN
#   261, no XNNPACK 216, YNNPACK for dots 214, vectors of 512 bits 241, the scheduler
#   for memory 258. With 16 seeds, 333 us: YNNPACK for elementwise steps as well 429,
#   not for sums 389; pages of 2 MB 342.
# - One CPU device for each core: the program is compiled for each of them, and a
#   serialised one can be loaded only on the device that it was compiled for.
# - Starting up: from two programs compiled side by side on, both cores are busy. XLA's
#   older emitters compile `start` in 1.3 s in place of 2.0, by a flag that may go; a
#   hash that computes both words at once and picks one, in place of two halves, saves
#   0.15 s of ten hashes by itself, but nothing that shows in the whole.
# - Indices materialised before they are gathered by, so that XLA does not compute them
#   again for every element: 332 and 335 us (w1_classic, 16 seeds on one core), also now
#   that they are unsigned, by which a quarter of the gathers' time was saved.
# - No norm of the gradient at all: no less than with the norm fenced, because XLA then
#   copies the parameters once.
# - Transposing in bands of eight rows in place of materialising first: 689 and 694 us
#   (w2), and no difference in the other workloads.
# - Adam by reciprocal roots: 20 us of 16 seeds' 64 x 64 weights are 19 with one and 36
#   with two.
# - Sums over a minibatch of 32 written out (biases, the last layer's gradient): 3 us of
#   28 for one seed, 3 of 320 for 16, and a program that grows with the minibatch.
# - All of a step in one row of 32-bit words, [environment, row, word], in place of a
#   ring for each field: 525 and 535 us (w1_harm, 8 seeds), 312 and 316 (w1_classic,
#   16); with 10^6 steps a seed 580 and 595. Gathering waits for memory, 10 to 20 ns a
#   row, and not less where the successor lies on the same line. (Fewer when the first
#   numbers of all rows are gathered first: `backends.by_number`.)
# - A ring of [environment, row] in place of [row, environment]: 512 and 513 us
#   (w1_harm, 8 seeds). The successor's gather takes 8 us of either: it computes.
# - Pages of 2 MB (GLIBC_TUNABLES=glibc.malloc.hugetlb=1) with 10^6 steps a seed: 585
#   and 567 us, 260,000 and 265,000 steps a second on both cores.
# - The last layer's products turned, [2, 64] by [64, 32], or as sums of halves: by
#   themselves 5.7 and 6.2 us in place of 8.2 (16 seeds), of an update nothing and 3 %
#   more.
# - Bits of observations materialised before they become numbers: 660 and 655 (w2).
# - XLA's own sums in place of YNNPACK's: 366 and 309 (w1_classic, 16 seeds), 815 and
#   637 (w2), 208 and 214 ms (w3_breakout).
# - One thread of XLA's for two workers: they wait for one another, twice the time. Two
#   threads that are not to share an operation (xla_cpu_multi_thread_eigen=false): 409
#   and 405 ms for 374 iterations of 32 seeds (w1_harm, two cores). Two processes would
#   be 2 % faster than two workers.
# - A rule of its own for the gradient of layer normalisation: 14.6 and 14.3 ms
#   (w3_rejax), no difference in w3_breakout.
# - Options behind --xla_backend_extra_options, at w1_classic (16 seeds, 301 us) and at
#   w1_harm (8 seeds, 510): xla_cpu_use_multi_output_fusion 340 and 557,
#   xla_cpu_flatten_after_fusion 322 and 542, xla_cpu_disable_slp_vectorizer 302 and
#   511, xla_cpu_disable_loop_unrolling 314 and 524, xla_cpu_enable_tiled_emitter 303
#   and 522, a threshold of 100 MB for small loops 302 and 504.
# - Other widths: 21.0, 21.9, 20.0, 19.9 and 19.2 us a seed with 4, 8, 12, 16 and 24
#   (w1_classic; one seed alone 26.3, so 160 kernels cost 8 us); 66.6, 63.8 and 67.3
#   with 4, 8 and 16 (w1_harm).
# Not tried: the target's values of all of a ring computed at each refresh and kept.
# With 500 steps between refreshes that is 10,500 rows in place of 16,000 at w1_classic,
# where about 75 us of an update would become 35 to 45: an eighth at most, for a field
# of the ring that depends on the target. At w1_harm it is 10,500 in place of 6,400.
# The profiler charges products by transposed weights twice of what they take (`perf`
# and leaving them out agree, 49 us of 104): times of theirs below are by `perf`.
# What is left at w1_classic, 16 seeds on one core, 305 us: four products of 64 x 64 at
# 44 to 48 each (the floor is 40), Adam with its moments and the norm 42, gathers 18,
# the last layer and the gradients of thin ones 24, transposing 5, activations and
# masks 20, sums of biases 7, acting 6, and about 160 dispatches of XLA's and YNNPACK's.
# What is left at w1_harm, 8 seeds on one core, 510 us: four products of 64 x 64 at 83
# to 95 each (the floor is 80), gathers 28, Adam with its moments and the norm 22, the
# last layer and thin gradients 40, activations, masks and their transposition 44.
# What is left at w2, one seed on one core, 645 us: products 420 (the floor is 390),
# Adam with its moments 78, patches 55, activations 10, norm 10.
# What is left at w3_breakout, 214 ms: 23 are the gradient of the convolution's layer
# normalisation, 25 the values of all true successors, of which those that were acted
# upon are computed a second time.

import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from jaxq import cli
from jaxq.config import flags, presets
from jaxq.config.config import Config
from jaxq.config.fields import check_name

if TYPE_CHECKING:
    from jaxq.training.population import Population

CARTPOLE = Config(
    environment="CartPole-v1",
    hidden_sizes=(64, 64),
    buffer_size=10_000,
    warmup_steps=1_000,
    target_period=500,
    total_steps=10**9,
    eval_points=1,
)
# A refresh of the target after 500 environment steps, as Rejax counts them: after 50
# of these updates.
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
    # The settings of purejaxql.
    "w3_cartpole": presets.preset(
        "pqn", environment="CartPole-v1", hidden_sizes=(256, 256), num_envs=32,
        rollout_length=64, num_minibatches=16, num_epochs=4, total_steps=10**9,
        eval_points=1,
    ),
    "w3_breakout": presets.preset(
        "pqn", environment="Breakout-MinAtar", num_envs=128, rollout_length=32,
        num_minibatches=32, num_epochs=2, total_steps=10**9, eval_points=1,
    ),
    # The settings of Rejax's own PQN.
    "w3_rejax": presets.preset(
        "pqn", environment="CartPole-v1", hidden_sizes=(64, 64), num_envs=16,
        rollout_length=128, num_minibatches=16, num_epochs=5, total_steps=10**9,
        eval_points=1,
    ),
}  # fmt: skip
# Iterations of all seeds in a timed chunk; a second or so on two CPU cores.
CHUNK = {
    "w1_classic": 80_000, "w1_harm": 24_000, "w1_prioritized": 16_000, "w2": 2_400,
    "w3_cartpole": 16, "w3_breakout": 4, "w3_rejax": 160,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    workloads: tuple[str, ...] = tuple(WORKLOADS)
    """Names."""
    seeds: tuple[int, ...] = (1, 8, 32)
    """Numbers of seeds."""
    repeats: int = 5
    """Timed chunks."""
    buffer_size: int = 0
    """Transitions kept in place of the workload's, the buffer full when the time is
    taken; 0 keeps the workload's and its warm-up."""
    iterations: int = 0
    """Iterations of a timed chunk; 0 takes a second or so of two CPU cores."""
    seed_block: int = 0
    """Seeds vectorised together; 0 chooses."""
    cpu_cores: int = 0
    """CPU cores to use; 0 takes all."""
    output: pathlib.Path | None = None
    """File to append the JSON lines to."""
    here: bool = False
    """Measure in this process, and print the JSON line."""


def workload(name: str, seeds: int) -> Config:
    """The configuration of a workload."""
    iterations = max(4, CHUNK[name] // seeds)
    return dataclasses.replace(
        WORKLOADS[name], num_seeds=seeds, chunk_iterations=iterations
    )


def population_of(config: Config, cores: int = 0) -> "Population":
    """All seeds of a configuration, on all devices."""
    from jaxq.envs import make
    from jaxq.training import blocks, memory, population

    env = make.from_config(config)
    each = memory.need(presets.compose(config), env)
    layout = blocks.layout(config, blocks.workers(cores), each.update)
    return population.Population(config, env, layout)


def steps_per_chunk(config: Config) -> int:
    """Environment steps of all seeds in a chunk."""
    from jaxq.config import loop_lengths

    iterations = loop_lengths.loop_lengths(config).chunk_iterations
    return iterations * config.num_seeds * steps_per_iteration(config)


def steps_per_iteration(config: Config) -> int:
    """Environment steps of a seed in an iteration."""
    from jaxq.config import loop_lengths

    return loop_lengths.loop_lengths(config).rollout_length * config.num_envs


def measure(name: str, seeds: int, arguments: Arguments) -> dict[str, Any]:
    """Time one workload in this process."""
    began = time.monotonic()
    config = workload(name, seeds)
    options = flags.Options(compilation_cache=False, cpu_cores=arguments.cpu_cores)
    cli.set_up_jax(options, config)
    from jaxq.config import loop_lengths
    from jaxq.envs import make
    from jaxq.runs import manifest
    from jaxq.training import memory

    changes = {
        "seed_block": arguments.seed_block,
        "buffer_size": arguments.buffer_size,
        "warmup_steps": arguments.buffer_size,
        "chunk_iterations": arguments.iterations,
    }
    changes = {field: value for field, value in changes.items() if value}
    config = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
    lengths = loop_lengths.loop_lengths(config)
    env = make.from_config(config)
    need = memory.need(presets.compose(config), env)
    everyone = population_of(config, arguments.cpu_cores)
    started = time.monotonic()
    everyone.advance()
    first = time.monotonic()
    seconds = []
    for _ in range(arguments.repeats):
        before = time.monotonic()
        everyone.advance()
        seconds.append(time.monotonic() - before)
    steps = steps_per_chunk(config)
    updates = lengths.chunk_iterations * lengths.num_updates * seeds
    used, width = everyone.devices, everyone.width
    # Before the ceilings are measured, whose arrays are large.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stats = used[0].memory_stats() or {}
    floor = seeds * update_floor(config, env, used) / len(set(used))
    middle = float(np.median(seconds))
    return {
        "workload": name,
        "seeds": seeds,
        "width": width,
        "buffer_size": config.buffer_size,
        "steps_per_second": steps / middle,
        "steps_per_second_range": [steps / max(seconds), steps / min(seconds)],
        "updates_per_second": updates / middle,
        "share_of_floor": floor * updates / seeds / middle,
        "seconds_to_start": started - began,
        "seconds_to_first_chunk": first - began,
        "seconds_per_chunk": seconds,
        "bytes_per_transition": None
        if config.rollout_length
        else need.experience / (lengths.buffer_rows * config.num_envs),
        "peak_host_bytes": 1024 * peak,
        "peak_device_bytes": stats.get("peak_bytes_in_use"),
        "manifest": manifest.collect(env.spec.name, used, width),
    }


def update_floor(config: Config, env: Any, used: list[Any]) -> float:
    """Seconds that one seed's update cannot go below on one device."""
    import jax
    import jax.numpy as jnp

    from jaxq.agents import algorithms
    from jaxq.training import memory

    agent = algorithms.make(config, env.spec)
    keys = jax.random.split(jax.random.key(0), 2)
    state = jax.eval_shape(agent.init, keys[0], env.spec.example())
    traced = jax.jit(agent.update).trace(keys[1], state, jnp.float32(0.1))
    flops = product_flops(traced.jaxpr.jaxpr)
    traffic = 7 * memory.size(state.learner.params)  # of Adam: reads 4, writes 3
    with jax.default_device(used[0]):
        seconds = flops / matrix_speed()
        if used[0].platform == "cpu":  # its caches hold the parameters
            return seconds
        return max(seconds, traffic / copy_speed())


def product_flops(jaxpr: Any) -> float:
    """Floating-point operations of the matrix products of a program, loops unrolled."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            inner = np.prod([shape[axis] for axis in contracted])
            total += 2.0 * inner * equation.outvars[0].aval.size
        times = equation.params.get("length", 1)
        inside = [product_flops(part) for part in _parts(equation)]
        # Of the branches one is taken: those of a platform compute the same.
        branches = equation.primitive.name == "cond"
        total += times * (max(inside) if branches else sum(inside))
    return total


def _parts(equation: Any) -> list[Any]:
    """The programs that an equation calls."""
    parts = []
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                parts.append(part)
    return parts


def matrix_speed(size: int = 2_048) -> float:
    """Floating-point operations a second of one device, in a large product."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones((size, size))
    product = jax.jit(lambda x: x @ x)
    return 2 * size**3 / best_time(lambda: product(x))


def copy_speed(size: int = 2**26) -> float:
    """Bytes a second of one device, read and written by a large addition."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones(size)
    add = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / best_time(lambda: add(x))


def best_time(run: Any, repeats: int = 5) -> float:
    """Shortest seconds of several runs, after one that compiles."""
    run().block_until_ready()
    times = []
    for _ in range(repeats):
        before = time.monotonic()
        run().block_until_ready()
        times.append(time.monotonic() - before)
    return min(times)


def main() -> None:
    """Measure every pair in a process of its own."""
    arguments = tyro.cli(Arguments, description=__doc__)
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
            print(row(measure_apart(name, seeds, arguments)), flush=True)


def measure_apart(name: str, seeds: int, arguments: Arguments) -> dict[str, Any]:
    """Measure one pair in a process of its own, and keep the line."""
    words = [
        "--here", "--workloads", name, "--seeds", seeds,
        "--repeats", arguments.repeats, "--buffer-size", arguments.buffer_size,
        "--iterations", arguments.iterations,
        "--seed-block", arguments.seed_block, "--cpu-cores", arguments.cpu_cores,
    ]  # fmt: skip
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    line = done.stdout.strip().splitlines()[-1]
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        with arguments.output.open("a") as file:
            file.write(line + "\n")
    return json.loads(line)


def spread(line: dict[str, Any]) -> str:
    """The range of the rates, as a share of their median."""
    low, high = line["steps_per_second_range"]
    return f"{(high - low) / line['steps_per_second']:.0%}"


def row(line: dict[str, Any]) -> str:
    """A line of the table."""
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
