"""One small experiment for each part: runs that differ in it alone, ten seeds each.

A showcase has a claim, from the part's paper, and runs with and without it. Its records
have the final greedy return and, where the claim is about something else, diagnostics.
Finished runs are skipped; select with `--showcases`.
"""

import dataclasses
import pathlib
from typing import Any, NamedTuple

from experiments import classic, hard
from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.config.fields import check_name

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"


class Showcase(NamedTuple):
    """Runs that differ in one part."""

    claim: str  # of the paper, in a sentence
    source: str
    runs: dict[str, Config]  # label -> configuration
    measures: tuple[str, ...] = ()  # diagnostics that the table shows
    found: str = ""  # whether the committed runs confirm the claim


def _variants(
    base: Config, variants: dict[str, dict[str, Any]], **fields: Any
) -> dict[str, Config]:
    return {
        label: dataclasses.replace(base, **fields | changes)
        for label, changes in variants.items()
    }


# Four gradient steps per environment step, on little data: the first of it is learned
# too well.
_REPEATED = Config(
    environment="Acrobot-v1",
    num_seeds=10,
    num_envs=4,
    total_steps=20_000,
    warmup_steps=1_000,
    update_steps=4,
    num_updates=16,
    learning_rate_schedule="constant",
    epsilon_steps=4_000.0,
    target_period=200,
    eval_points=10,
    diagnostics=True,
)
# One gradient step per environment step, and few of these.
_FEW_STEPS = Config(
    environment="Breakout-MinAtar",
    num_seeds=10,
    num_envs=4,
    total_steps=100_000,
    warmup_steps=2_000,
    update_steps=4,
    num_updates=4,
    learning_rate_schedule="constant",
    epsilon_steps=10_000.0,
    epsilon_end=0.01,
    importance_updates=98_000.0,
    eval_points=10,
)
_BBF: dict[str, Any] = {
    "algorithm": "bbf",
    "spr_steps": None,
    "reset_period": 20_000,
    "anneal_updates": 5_000.0,
}
# One gradient step per environment step, on a fifth of the usual data.
_SCARCE = Config(
    environment="Breakout-MinAtar",
    num_seeds=10,
    total_steps=100_000,
    num_updates=8,
    epsilon_steps=20_000.0,
    eval_points=10,
    diagnostics=True,
)
_RESETS: dict[str, Any] = {"reset_period": 25_000, "reset_torso": 0.2}
# While the returns still grow, estimates that follow their own maximum run ahead.
_ESTIMATES = Config(
    environment="CartPole-v1",
    num_seeds=10,
    total_steps=60_000,
    eval_points=10,
    eval_episodes=32,
    diagnostics=True,
)
_MEMBERS: dict[str, Any] = {
    "algorithm": "bootstrapped_dqn",
    "prior_scale": 0.0,
    "epsilon_schedule": "linear",
}
_DEEP_SEA = dataclasses.replace(
    hard.DEEP_SEA, environment_args=("size=10",), total_steps=12_000
)
SHOWCASES = {
    "plasticity": Showcase(
        "At a high replay ratio, regularisation and resets keep more units in use than "
        "plain DQN.",
        "Sokar et al., arXiv:2302.12902; Nikishin et al., arXiv:2205.07802; Klein et "
        "al., arXiv:2411.04832",
        _variants(
            _REPEATED,
            {
                "DQN": {},
                "layer normalisation": {"normalization": "layer"},
                "weight decay 0.01": {"weight_decay": 0.01},
                "L2 Init 1e-4": {"l2_init_penalty": 1e-4},
                "ReDo": {"redo_period": 1_000},
                "resets of the output layer": {"reset_period": 20_000},
                "shrink and perturb": {
                    "reset_period": 20_000, "reset_torso": 0.5, "reset_head": 0.5,
                },
                "CReLU": {"activation": "crelu"},
                "spectral normalisation": {"weight_norm": "spectral"},
                "hare and tortoise": {
                    "target_tau": 0.005, "target_period": 1, "hare_period": 2_000,
                },
            },
        ),
        ("dormant_units", "effective_rank", "weight_norm"),
        "Layer normalisation, ReDo, L2 Init, shrink and perturb and CReLU keep clearly "
        "more units in use; weight decay of this size and resets of the output layer "
        "do not. The returns hardly differ, except that the resets cost more than this "
        "short run can recover.",
    ),
    "data_efficiency": Showcase(
        "With few environment steps, resets, with returns annealed after each reset, "
        "learn more than Rainbow.",
        "van Hasselt et al., arXiv:1906.05243; Schwarzer et al., arXiv:2305.19452",
        _variants(
            _FEW_STEPS,
            {
                "DQN": {},
                "Rainbow": {"algorithm": "rainbow"},
                "Data-Efficient Rainbow": {"algorithm": "der"},
                "BBF without SPR": _BBF,
                "3 steps throughout": {**_BBF, "n_step_start": None},
                "discount 0.997 throughout": {**_BBF, "discount_start": None},
                "neither annealed": {
                    **_BBF, "n_step_start": None, "discount_start": None,
                },
                "no resets, annealed once": {**_BBF, "reset_period": None},
            },
        ),
    ),
    "self_prediction": Showcase(
        "With little data, features that predict later features learn more from every "
        "step, and resets let them take more gradient steps.",
        "Schwarzer et al., arXiv:2007.05929; D'Oro et al. (2023)",
        _variants(
            _SCARCE,
            {
                "DQN": {},
                "self-prediction": {"spr_steps": 5},
                "self-prediction of one step": {"spr_steps": 1},
                "DQN, resets": _RESETS,
                "self-prediction, resets": {"spr_steps": 5, **_RESETS},
            },
        ),
        ("dormant_units", "effective_rank"),
    ),
    "overestimation": Showcase(
        "Double DQN, an average of earlier targets and the minimum over an ensemble "
        "overestimate less than DQN; the minimum over many underestimates.",
        "van Hasselt et al., arXiv:1509.06461; Anschel et al., arXiv:1611.01929; Lan "
        "et al., arXiv:2002.06487; Agarwal et al., arXiv:1907.04543",
        _variants(
            _ESTIMATES,
            {
                "DQN": {},
                "Double DQN": {"double_q": True},
                "Averaged-DQN, 5 targets": {"averaged_targets": 5},
                "mean of 4": {
                    **_MEMBERS, "ensemble_size": 4, "ensemble_target": "mean",
                },
                "Maxmin, 2": {
                    **_MEMBERS, "ensemble_size": 2, "ensemble_target": "minimum",
                },
                "Maxmin, 8": {
                    **_MEMBERS, "ensemble_size": 8, "ensemble_target": "minimum",
                },
                "REM, 4": {
                    **_MEMBERS, "ensemble_size": 4, "ensemble_target": "mixture",
                },
            },
        ),
        ("overestimation",),
        found="Averaged-DQN and the minimum over an ensemble lower the estimates, and "
        "the minimum over eight is below the returns; Double DQN, means and mixtures "
        "change little.",
    ),
    "shared_heads": Showcase(
        "A copy of the last layer in place of a target network keeps learning stable, "
        "and several heads that learn consecutive Bellman steps speed it up.",
        "Vincent et al., arXiv:2506.04398",
        _variants(
            _ESTIMATES,
            {
                "a target network": {},
                "no target network": {"target_period": 1},
                "1 head and a copy": {"iterated_heads": 1},
                "3 heads": {"iterated_heads": 3},
                "9 heads (iS-QN)": {"iterated_heads": 9},
            },
            normalization="layer",
        ),
        ("overestimation", "effective_rank"),
        found="Without a target network the estimates are about twice as high, and a "
        "copy of the last layer keeps them where a target network does. No number of "
        "heads is clearly faster: all intervals overlap.",
    ),
    "streams": Showcase(
        "One setting learns from a stream, where plain steps along the trace fail.",
        "Elsayed et al., arXiv:2410.14606",
        _variants(
            Config(
                environment="CartPole-v1", algorithm="stream_q", num_seeds=10,
                total_steps=200_000, epsilon_steps=40_000.0, eval_points=10,
            ),
            {
                "Stream Q(lambda)": {},
                "step size 1 without a bound": {"optimizer": "sgd"},
                "step size 0.001 without a bound": {
                    "optimizer": "sgd", "learning_rate": 1e-3,
                },
                "no normalisation of inputs and rewards": {
                    "normalize_observations": False, "normalize_rewards": False,
                },
                "no layer normalisation": {"normalization": "none"},
                "dense weights": {"weight_init": "torch"},
                "SARSA(lambda)": {"algorithm": "stream_sarsa"},
                "QRC(lambda), step size 0.001": {
                    "algorithm": "qrc", "learning_rate": 1e-3,
                },
                "Adaptive Q(lambda)": {"algorithm": "adaptive_q"},
                "Intentional Q(lambda)": {"algorithm": "intentional_q"},
            },
        ),
        found="A step size of 1 needs the bound, and the network layer normalisation. "
        "A small step size without a bound learns too, in most seeds; dense weights do "
        "as well as sparse ones on this task.",
    ),
    "returns": Showcase(
        "Corrected returns take several steps at once without the bias of n-step "
        "returns.",
        "Munos et al., arXiv:1606.02647; Precup et al. (2000); Kozuno et al., "
        "arXiv:2103.00107",
        _variants(
            Config(
                environment="CartPole-v1", num_seeds=10, total_steps=60_000,
                epsilon_steps=15_000.0, learning_rate_updates=7_500.0, eval_points=10,
                trace_decay=0.9,
            ),
            {
                "one step": {},
                "5 steps, uncorrected": {"n_step": 5},
                "5 steps, Retrace": {"n_step": 5, "return_estimator": "retrace"},
                "5 steps, Retrace, epsilon-greedy target": {
                    "n_step": 5, "return_estimator": "retrace",
                    "next_value": "expected_sarsa",
                },
                "5 steps, tree backup, epsilon-greedy target": {
                    "n_step": 5, "return_estimator": "tree_backup",
                    "next_value": "expected_sarsa",
                },
                "5 steps, Peng's Q(lambda)": {
                    "n_step": 5, "return_estimator": "peng",
                },
            },
        ),
        found="The bias does no harm here: uncorrected returns and Peng's Q(lambda), "
        "which keeps it, learn fastest. Retrace and tree backup cut most traces, and "
        "gain little over one step.",
    ),
    "memory": Showcase(
        "Linear recurrences remember as well as gated ones, and their sequences are "
        "computed in parallel.",
        "Feng et al., arXiv:2410.01201; Orvieto et al., arXiv:2303.06349",
        _variants(
            dataclasses.replace(
                hard.MEMORY,
                algorithm="pqn_rnn",
                environment_args=("memory_length=20",),
                **hard.ROLLOUTS,
            ),
            {
                "GRU": {"recurrent": "gru"},
                "LSTM": {"recurrent": "lstm"},
                "minGRU": {"recurrent": "min_gru"},
                "LRU": {"recurrent": "lru"},
                "no memory": {"algorithm": "pqn", "recurrent": "none"},
            },
        ),
        found="The LRU solves the task in every seed and minGRU in most; of the gated "
        "cells the GRU does, and the LSTM fails in half of the seeds.",
    ),
    "exploration": Showcase(
        "Where a reward is many steps away, exploration with a plan finds it and "
        "epsilon-greedy exploration does not.",
        "Dabney et al., arXiv:2006.01782; Bellemare et al., arXiv:1606.01868; Burda et "
        "al., arXiv:1810.12894; Lee et al., arXiv:2007.04938; Nikolov et al., "
        "arXiv:1812.07544",
        _variants(
            _DEEP_SEA,
            {
                "epsilon-greedy": {},
                "epsilon-z-greedy": {
                    "exploration": "epsilon_z_greedy", "max_repeat": 10,
                },
                "counts": {"intrinsic_bonus": "count", "bonus_scale": 0.1},
                "random network distillation": {
                    "intrinsic_bonus": "rnd", "bonus_scale": 0.1,
                    "rnd_learning_rate": 1e-3,
                },
                "one member per episode": {
                    "algorithm": "bootstrapped_dqn", "epsilon_schedule": "none",
                },
                "upper confidence bound of the members": {
                    "algorithm": "bootstrapped_dqn", "epsilon_schedule": "none",
                    "ensemble_acting": "ucb",
                },
                "information-directed sampling of the members": {
                    "algorithm": "bootstrapped_dqn", "epsilon_schedule": "none",
                    "ensemble_acting": "ids",
                },
            },
        ),
        found="Bonuses and ensembles find the reward, ensembles in every seed; "
        "epsilon-greedy exploration in few seeds, and repeated random actions in "
        "hardly more.",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    showcases: tuple[str, ...] = tuple(SHOWCASES)
    """Showcases to run."""
    output: pathlib.Path = ROOT / "showcases"
    """Directory in which to write one JSON file per showcase."""
    runs: pathlib.Path = ROOT / "runs" / "showcases"
    """Directory of the run directories."""


def main() -> None:
    """Run what is missing, and write the record of every complete showcase."""
    arguments = command_line.read(Arguments, __doc__)
    for name in arguments.showcases:
        check_name("showcase", name, SHOWCASES)
    cli.set_up_jax(flags.Options())
    from jaxq.runs import files

    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.showcases:
        path = arguments.output / f"{name}.json"
        if not path.exists():
            files.write_json(path, record(SHOWCASES[name], arguments.runs))


def record(showcase: Showcase, runs: pathlib.Path) -> dict[str, Any]:
    """Train or resume all runs of a showcase, and return its record."""
    from experiments.support import search
    from jaxq import run

    rows = []
    for label, config in showcase.runs.items():
        print(f"{label}:")
        result = run(
            config,
            output=runs,
            resume=search.latest(config, runs),
            show_progress=True,
            plot=False,
        )
        row = classic.row(result)
        measured = {name: result.extra[name][:, -1] for name in showcase.measures}
        rows.append({"label": label, **row, "measures": measured})
    return {"claim": showcase.claim, "source": showcase.source, "runs": rows}


if __name__ == "__main__":
    with cli.exit_codes():
        main()
