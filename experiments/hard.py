"""Ablations on problems that need one particular component, ten seeds each.

DeepSea needs deep exploration: Bootstrapped DQN with prior networks is compared with
DQN with a constant epsilon of 0.05, for the same number of steps and updates.
MemoryChain needs memory: recurrent DQN and PQN are compared with their feed-forward
versions. A seed solves a problem if its final greedy return is above half the optimum.
Finished runs are skipped; select with `--cases`.
"""

import dataclasses
import pathlib
from typing import Any

from experiments import classic
from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.config.fields import check_name

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"

DEEP_SEA = Config(
    defaults="plain",
    environment="DeepSea-bsuite",
    num_seeds=10,
    total_steps=24_000,
    num_envs=4,
    buffer_size=20_000,
    batch_size=64,
    warmup_steps=500,
    update_steps=4,
    hidden_sizes=(50, 50),
    learning_rate=1e-3,
    target_period=10,
    epsilon_start=0.05,
    epsilon_end=0.05,
    eval_points=20,
    prior_scale=3.0,
)
MEMORY = Config(
    defaults="plain",
    environment="MemoryChain-bsuite",
    environment_args=("memory_length=10",),
    num_seeds=10,
    total_steps=100_000,
    num_envs=16,
    buffer_size=50_000,
    batch_size=32,
    warmup_steps=3_000,
    update_steps=16,
    hidden_sizes=(32,),
    memory_size=32,
    learning_rate=2e-3,
    optimizer_eps=1e-5,
    max_grad_norm=10.0,
    target_period=50,
    epsilon_steps=25_000.0,
    eval_points=10,
    eval_episodes=32,
    burn_in=0,
    sequence_length=12,
)
ROLLOUTS: dict[str, Any] = {"rollout_length": 32, "num_minibatches": 4, "num_epochs": 2}
RECALLS: dict[str, dict[str, Any]] = {
    "r2d2": {"n_step": 3},
    "dqn": {},
    "pqn_rnn": ROLLOUTS,
    "pqn": ROLLOUTS,
}
CASES = {
    f"deepsea{size}_{name}": dataclasses.replace(
        DEEP_SEA,
        algorithm=name,
        environment_args=(f"size={size}",),
        total_steps=steps,
    )
    for size, steps in ((10, 12_000), (20, 60_000))
    for name in ("bootstrapped_dqn", "dqn")
} | {
    f"memorychain_{name}": dataclasses.replace(MEMORY, algorithm=name, **fields)
    for name, fields in RECALLS.items()
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    cases: tuple[str, ...] = tuple(CASES)
    """Cases to run."""
    output: pathlib.Path = ROOT / "hard"
    """Directory in which to write one JSON file per case."""
    runs: pathlib.Path = ROOT / "runs"
    """Directory of the run directories."""


def main() -> None:
    """Run the missing cases and write the record of each."""
    arguments = command_line.read(Arguments, __doc__)
    for case in arguments.cases:
        check_name("case", case, CASES)
    cli.set_up_jax(flags.Options())
    from jaxq import run
    from jaxq.runs import files

    arguments.output.mkdir(parents=True, exist_ok=True)
    for case in arguments.cases:
        path = arguments.output / f"{case}.json"
        if path.exists():
            continue
        config = CASES[case]
        result = run(config, output=arguments.runs, show_progress=True)
        final = result.curve.eval_return[:, -1]
        # The optimal return of both problems is close to 1.
        record = {
            "case": case,
            "environment_args": config.environment_args,
            "final_per_seed": final,
            "solved_seeds": int((final > 0.5).sum()),
        }
        files.write_json(path, record | classic.row(result))


if __name__ == "__main__":
    with cli.exit_codes():
        main()
