"""Rows of the table of algorithms: recent ones that learn a network."""

from jaxq.config.algorithm_entry import Algorithm
from jaxq.config.deep_algorithms import DEEP
from jaxq.config.paper_settings import ATARI

_PQN = DEEP["pqn"]
_RAINBOW = DEEP["rainbow"].components
COMBINED: dict[str, Algorithm] = {
    "btr": Algorithm(
        "Beyond the Rainbow: Rainbow with implicit quantiles in place of atoms, "
        "Munchausen's target, spectral normalisation and IMPALA's network.",
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
            "importance_exponent": 0.45,
            "importance_updates": 50_000_000.0,
            "epsilon_steps": 2_000_000.0,
            "epsilon_end": 0.01,
        },
        "Differs in that the singular value of spectral normalisation is computed anew "
        "for every minibatch, that noise lasts until the end, that priorities are "
        "errors of the mean, and that the log-policy of the current state comes from "
        "the target network. Settings are from the authors' program, except that its "
        "epsilon decays exponentially, and is zero from the middle of the run.",
    ),
    "pqn_vdn": Algorithm(
        "PQN for a team of agents, whose value is the sum of its agents' values.",
        "Sunehag et al., arXiv:1706.05296; with PQN, Gallici et al., arXiv:2407.04811",
        {
            **_PQN.components,
            "value_decomposition": "vdn",
        },
        _PQN.settings,
        "Differs in that the agents share one network, and each observes its number as "
        "a one-hot vector; that the team's reward is the sum of its agents' rewards "
        "even where each is given the reward of the whole team, as in SMAX and "
        "Overcooked; and in the same ways as pqn. With one agent it is pqn.",
        agent="q_lambda",
    ),
    "der": Algorithm(
        "Data-Efficient Rainbow: Rainbow that learns at every step, from 20-step "
        "returns, with a smaller network.",
        "van Hasselt et al., arXiv:1906.05243",
        {**_RAINBOW, "n_step": 20},
        {
            **ATARI,
            "total_steps": 100_000,
            "buffer_size": 100_000,
            "warmup_steps": 1_600,
            "update_steps": 1,
            "target_period": 2_000,
            "learning_rate": 1e-4,
            "optimizer_eps": 1.5e-4,
            "max_grad_norm": 10.0,
            "stream_sizes": (256,),
            "importance_updates": 98_400.0,
            "noisy_sigma": 0.1,
        },
        "Differs in that the field network selects the torso, in place of the paper's "
        "two layers of 5 x 5 convolutions with 32 and 64 channels. The preset has the "
        "values with which Kaixhin/Rainbow reproduces the paper (not checked against "
        "the paper).",
    ),
    "bbf": Algorithm(
        "Bigger, Better, Faster: Rainbow without noisy layers, with features that "
        "predict later features, periodic resets, n and the discount annealed after "
        "every reset, weight decay and an averaged target.",
        "Schwarzer et al., arXiv:2305.19452",
        {
            "head": "categorical",
            "double_q": True,
            "dueling": True,
            "prioritized": True,
            "priority_exponent": 0.5,
            "importance_exponent": 0.5,
            "n_step": 3,
            "n_step_start": 10,
            "discount": 0.997,
            "discount_start": 0.97,
            "anneal_updates": 10_000.0,
            "reset_period": 40_000,
            "reset_torso": 0.5,
            "reset_head": 1.0,
            "weight_decay": 0.1,
            "spr_steps": 5,
            "target_tau": 0.005,
            "target_period": 1,
            "learning_rate_schedule": "constant",
        },
        {
            "network": "impala",
            "impala_scale": 4,
            "impala_pool": 11,
            "stream_sizes": (2048,),
            "total_steps": 100_000,
            "buffer_size": 200_000,
            "batch_size": 32,
            "warmup_steps": 2_000,
            "update_steps": 1,
            "num_updates": 8,
            "learning_rate": 1e-4,
            "optimizer_eps": 1.5e-4,
            "importance_updates": 1e12,  # keeps the exponent constant
            "epsilon_steps": 2_000.0,
            "epsilon_end": 0.0,
        },
        "Differs in that images are not augmented; that features are predicted as in "
        "sr_spr; that priorities are Kullback-Leibler divergences, not "
        "cross-entropies; that the online network acts, not the target network; that "
        "features are not rescaled to [0, 1], and the two streams share no hidden "
        "layer; that biases decay too; that one draw of new parameters serves the "
        "online and the target network; and that the last reset may be close to "
        "the end of the run. The field network selects the torso; the preset selects "
        "IMPALA's, four times as wide. Settings were checked against the authors' "
        "program, except the eight gradient steps per environment step, which are from "
        "the paper (not checked): the program has two.",
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
        "no noise; that priorities are Kullback-Leibler divergences, not "
        "cross-entropies; that the online parameters act; and that resets continue "
        "until the end. A reset moves the torso and the transition model by 20 % "
        "towards new parameters, and renews the output layers, the projection and the "
        "predictor. "
        "Environment settings take fewer gradient steps per environment step than "
        "the paper's 16.",
    ),
}
