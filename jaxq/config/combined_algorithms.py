"""Rows of the table of algorithms: recent ones that learn a network."""

from jaxq.config.algorithm_entry import Algorithm
from jaxq.config.paper_settings import ATARI

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
    "isqn": Algorithm(
        "Iterated shared Q-network: last layers of one network learn consecutive "
        "Bellman steps, each from the one before, without a target network.",
        "Vincent et al., arXiv:2506.04398",
        {"iterated_heads": 9, "normalization": "layer"},
        {
            **ATARI,
            "learning_rate": 6.25e-5,
            "optimizer_eps": 1.5e-4,
            "warmup_steps": 20_000,
            "target_period": 2_000,
            "epsilon_steps": 250_000.0,
            "epsilon_end": 0.01,
        },
        "Differs in that the last head, rather than one drawn at every step, is "
        "evaluated.",
    ),
}
