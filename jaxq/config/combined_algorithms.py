"""Rows of the table of algorithms: combinations of many components."""

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
    "sr_spr": Algorithm(
        "Scaled-by-resetting SPR: Rainbow whose features predict later features, many "
        "gradient steps per environment step, and resets of the parameters.",
        "D'Oro et al. (2023), Sample-Efficient Reinforcement Learning by Breaking the "
        "Replay Ratio Barrier; Schwarzer et al., arXiv:2007.05929",
        {
            "head": "categorical",
            "double_q": True,
            "dueling": True,
            "noisy": True,
            "prioritized": True,
            "n_step": 10,
            "priority_exponent": 0.5,
            "epsilon_schedule": "none",
            "num_updates": 16,
            "reset_period": 40_000,
            "reset_torso": 0.2,
            "spr_steps": 5,
        },
        {
            "total_steps": 100_000,
            "buffer_size": 100_000,
            "batch_size": 32,
            "warmup_steps": 2_000,
            "update_steps": 1,
            "learning_rate": 1e-4,
            "optimizer_eps": 1.5e-4,
            "max_grad_norm": 10.0,
            "discount": 0.99,
            "target_period": 1,
            "target_tau": 0.005,
            "importance_updates": 1.5e6,
        },
        "Differs in that images are not augmented; that the features are the vector "
        "which the output layers read, not the maps of the last convolution, so that "
        "their model has dense layers, without batch normalisation; that their "
        "projection is a layer of its own, not the first of the output layers, and has "
        "no noise; that the online parameters act; and that resets continue until the "
        "end. A reset moves the torso and the transition model by 20 % towards new "
        "parameters, and renews the output layers, the projection and the predictor. "
        "Environment settings take fewer gradient steps per environment step than "
        "the paper's 16.",
    ),
}
