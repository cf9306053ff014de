"""Rows of the table of algorithms: ensembles, which differ in their target."""

from jaxq.config.algorithm_entry import Algorithm
from jaxq.config.paper_settings import ATARI

ENSEMBLES: dict[str, Algorithm] = {
    "bootstrapped_dqn": Algorithm(
        "Bootstrapped DQN with randomized prior functions: one member of an ensemble "
        "acts for a whole episode; all learn, each against its own target.",
        "Osband et al., arXiv:1602.04621 and arXiv:1806.03335",
        {"ensemble_size": 10, "epsilon_schedule": "none"},
        {
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "discount": 0.99,
            "batch_size": 128,
            "update_steps": 1,
            "target_period": 4,
            "ensemble_size": 20,
            "hidden_sizes": (50, 50),
            "warmup_steps": 128,
        },
        "Differs in that members share no layers.",
    ),
    "maxmin": Algorithm(
        "Maxmin DQN: all members learn from the smallest of their estimates, so that "
        "their number sets the bias, from over- to underestimation.",
        "Lan et al., arXiv:2002.06487",
        {"ensemble_size": 4, "ensemble_target": "minimum", "prior_scale": 0.0},
        {
            "optimizer": "rmsprop",
            "rmsprop_centered": True,
            "rmsprop_decay": 0.95,
            "optimizer_eps": 0.01,
            "loss": "huber",
            "discount": 0.99,
            "batch_size": 32,
            "buffer_size": 100_000,
            "warmup_steps": 5_000,
            "update_steps": 1,
            "target_period": 1_000,
            "epsilon_steps": 100_000.0,
            "epsilon_end": 0.1,
            "total_steps": 5_000_000,
        },
        "Differs in that every member learns from every minibatch; in the paper's "
        "algorithm 1 a random subset does, each member from its own. The number of "
        "members and the learning rate are tuned for each game in the paper, from 2 "
        "to 9 and from 3e-5 to 3e-3. The preset follows the authors' configuration "
        "for MinAtar, and was not checked against the paper.",
    ),
    "rem": Algorithm(
        "Random ensemble mixture: a random average of all members learns from the "
        "same average of their targets.",
        "Agarwal et al., arXiv:1907.04543",
        {"ensemble_size": 4, "ensemble_target": "mixture", "prior_scale": 0.0},
        {
            **ATARI,
            "learning_rate": 5e-5,
            "optimizer_eps": 3.125e-5,
            "loss": "huber",
            "warmup_steps": 20_000,
            "target_period": 2_000,
            "epsilon_steps": 250_000.0,
            "epsilon_end": 0.01,
            "ensemble_acting": "member",
            "sticky_actions": 0.25,
        },
        "Differs in that the average is drawn for every transition, not for every "
        "minibatch, and that the mean of the members acts; with the preset, one "
        "member acts for a whole episode, as in the authors' online program, whose "
        "settings it follows (not checked against the paper). With offline data the "
        "paper has 200 heads on one torso.",
    ),
}
