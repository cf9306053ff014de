"""Rows of the table of algorithms: combinations of many components."""

from jaxq.config.algorithm_entry import Algorithm
from jaxq.config.deep_algorithms import DEEP
from jaxq.config.paper_settings import ATARI

_PQN = DEEP["pqn"]

COMBINED: dict[str, Algorithm] = {
    "btr": Algorithm(
        "Beyond the Rainbow: Rainbow with implicit quantiles for atoms, Munchausen's "
        "target, spectral normalisation and IMPALA's network.",
        "Clark et al., arXiv:2411.03820",
        {
            "head": "implicit_quantile",
            "munchausen": True,
            "dueling": True,
            "noisy": True,
            "prioritized": True,
            "n_step": 3,
            "weight_norm": "spectral",
            "priority_exponent": 0.2,
        },
        {
            **ATARI,
            "network": "impala",
            "impala_scale": 2,
            "impala_pool": 6,
            "stream_sizes": (512,),
            "num_envs": 64,
            "update_steps": 64,
            "batch_size": 256,
            "learning_rate": 1e-4,
            "optimizer_eps": 0.005 / 256,
            "max_grad_norm": 10.0,
            "discount": 0.997,
            "target_period": 500,
            "warmup_steps": 50_000,
            "quantile_samples": 8,
            "target_samples": 8,
            "epsilon_steps": 2_000_000.0,
            "epsilon_end": 0.01,
        },
        "Differs in that the singular value of spectral normalisation is computed anew "
        "for every minibatch, that noise lasts until the end, and that priorities are "
        "errors of the mean.",
    ),
    "pqn_vdn": Algorithm(
        "PQN for a team of agents, whose value is the sum of its agents' values.",
        "Sunehag et al., arXiv:1706.05296; with PQN, Gallici et al., arXiv:2407.04811",
        {
            **_PQN.components,
            "value_decomposition": "vdn",
        },
        _PQN.settings,
        "Differs in that the agents share one network, told apart by a one-hot number, "
        "and in the ways in which pqn does. With one agent it is pqn.",
        agent="q_lambda",
    ),
}
