"""Rows of the table of algorithms: those that learn a network."""

from jaxq.config.algorithm_entry import Algorithm
from jaxq.config.paper_settings import ATARI, DISTRIBUTIONAL, MNIH, MUNCHAUSEN, TUNED

DEEP: dict[str, Algorithm] = {
    "dqn": Algorithm(
        "Deep Q-learning with a target network and uniform replay. Every component "
        "can be added to it.",
        "Mnih et al. (2015), doi:10.1038/nature14236",
        settings=MNIH,
        differs="Differs in the loss (squared unless loss is huber) and the optimizer "
        "(Adam unless optimizer is rmsprop).",
    ),
    "double_dqn": Algorithm(
        "Double DQN: the online parameters select, the target parameters evaluate.",
        "van Hasselt et al., arXiv:1509.06461",
        {"double_q": True},
        TUNED,
    ),
    "dueling_dqn": Algorithm(
        "Dueling networks: separate streams for the value and the advantages.",
        "Wang et al., arXiv:1511.06581",
        {"dueling": True},
        {
            **TUNED,
            "max_grad_norm": 10.0,
            "learning_rate": 6.25e-5,
            "stream_sizes": (512,),
        },
        "Differs in that the streams have no hidden layers unless "
        "stream_sizes is set, and that gradients entering the torso are not rescaled.",
    ),
    "n_step_dqn": Algorithm(
        "DQN with uncorrected n-step returns, three steps by default.",
        "Watkins (1989); Hessel et al., arXiv:1710.02298",
        {"n_step": 3},
        MNIH,
    ),
    "prioritized_dqn": Algorithm(
        "DQN that replays in proportion to a power of the TD error: proportional "
        "prioritisation.",
        "Schaul et al., arXiv:1511.05952",
        {"prioritized": True},
        {**TUNED, "learning_rate": 6.25e-5, "importance_updates": 12.5e6},
        "Differs in that double_q is off unless it is set.",
    ),
    "c51": Algorithm(
        "Categorical DQN: a distribution of the return on fixed atoms.",
        "Bellemare et al., arXiv:1707.06887",
        {"head": "categorical"},
        {**DISTRIBUTIONAL, "learning_rate": 2.5e-4},
    ),
    "hl_gauss_dqn": Algorithm(
        "DQN by classification: the target is the histogram of a Gaussian (HL-Gauss).",
        "Imani and White, arXiv:1806.04613; Farebrother et al., arXiv:2403.03950",
        {"head": "hl_gauss"},
        DISTRIBUTIONAL,
    ),
    "two_hot_dqn": Algorithm(
        "DQN by classification: the two nearest atoms share the target.",
        "Schrittwieser et al., arXiv:1911.08265; Farebrother et al., arXiv:2403.03950",
        {"head": "two_hot"},
        DISTRIBUTIONAL,
    ),
    "qr_dqn": Algorithm(
        "Quantile regression DQN: quantiles of the return at fixed fractions.",
        "Dabney et al., arXiv:1710.10044",
        {"head": "quantile"},
        DISTRIBUTIONAL,
        "The loss is a mean over target samples and a sum over quantiles, as in the "
        "paper. Priorities, if any, are errors of the mean.",
    ),
    "iqn": Algorithm(
        "Implicit quantile networks: quantiles at fractions that are sampled for "
        "every evaluation.",
        "Dabney et al., arXiv:1806.06923",
        {"head": "implicit_quantile"},
        DISTRIBUTIONAL,
        "Actions are selected on policy_samples fractions, also inside the target, "
        "where the target parameters are used. Evaluation uses equally spaced "
        "fractions. With noisy layers a minibatch shares its fractions as it shares "
        "its noise, unless shared_noise is off.",
    ),
    "fqf": Algorithm(
        "Fully parameterized quantile function: the network proposes the fractions.",
        "Yang et al., arXiv:1911.02140",
        {"head": "fully_parameterized", "num_quantiles": 32},
        DISTRIBUTIONAL,
        "Differs in that the target network proposes its own fractions for the "
        "successor, and weights its quantiles by the lengths of their intervals.",
    ),
    "munchausen_dqn": Algorithm(
        "Munchausen DQN: the log-policy added to the reward, and soft bootstrapping.",
        "Vieillard et al., arXiv:2007.14430",
        {"munchausen": True},
        MUNCHAUSEN,
        "The behaviour policy is epsilon-greedy, as in the authors' code.",
    ),
    "munchausen_qr_dqn": Algorithm(
        "Munchausen's target for quantiles at fixed fractions.",
        "Vieillard et al., arXiv:2007.14430; Dabney et al., arXiv:1710.10044",
        {"munchausen": True, "head": "quantile"},
        MUNCHAUSEN,
    ),
    "munchausen_iqn": Algorithm(
        "Munchausen's target for implicit quantile networks (M-IQN).",
        "Vieillard et al., arXiv:2007.14430",
        {"munchausen": True, "head": "implicit_quantile"},
        MUNCHAUSEN,
    ),
    "noisy_dqn": Algorithm(
        "Noisy networks: parametric noise in place of epsilon.",
        "Fortunato et al., arXiv:1706.10295",
        {"noisy": True, "epsilon_schedule": "none"},
        MNIH,
        "Every environment acts with its own noise, drawn at every step. A minibatch "
        "shares its noise, drawn separately for estimate, target and selection. As in "
        "the paper, the maximum over noisy values overestimates while noise lasts.",
    ),
    "rainbow": Algorithm(
        "Rainbow: double, dueling, prioritised, n-step, categorical and noisy.",
        "Hessel et al., arXiv:1710.02298",
        {
            "head": "categorical",
            "double_q": True,
            "dueling": True,
            "noisy": True,
            "prioritized": True,
            "n_step": 3,
            "priority_exponent": 0.5,
            "epsilon_schedule": "none",
        },
        {
            **ATARI,
            "learning_rate": 6.25e-5,
            "optimizer_eps": 1.5e-4,
            "warmup_steps": 20_000,
            "target_period": 2_000,
            "importance_updates": 12.5e6,
        },
        "Differs in that the streams have no hidden layers unless "
        "stream_sizes is set. The priority is the Kullback-Leibler divergence, as in "
        "the paper.",
    ),
    "dqn_reg": Algorithm(
        "DQNReg: a small penalty on the estimate itself, found by evolution.",
        "Co-Reyes et al., arXiv:2101.03958",
        {"q_penalty": 0.1},
        MNIH,
    ),
    "r2d2": Algorithm(
        "Recurrent replay: stored memory, burn-in, rescaled values and prioritised "
        "sequences.",
        "Kapturowski et al. (2019), Recurrent Experience Replay in Distributed "
        "Reinforcement Learning",
        {
            "recurrent": "lstm",
            "prioritized": True,
            "double_q": True,
            "dueling": True,
            "n_step": 5,
            "value_rescaling": True,
            "priority_exponent": 0.9,
            "importance_exponent": 0.6,
        },
        {
            "memory_size": 512,
            "learning_rate": 1e-4,
            "optimizer_eps": 1e-3,
            "batch_size": 64,
            "discount": 0.997,
            "target_period": 2_500,
            "num_envs": 256,
            "epsilon_schedule": "ladder",
            "epsilon_start": 0.4,
            "buffer_size": 4_000_000,
            "total_steps": 2_000_000_000,
            "importance_updates": 1e12,  # keeps the exponent constant
        },
        "Differs in that the cell sees only the observation, unless recurrent_inputs "
        "is action_reward; that sequences start anywhere and may span several episodes "
        "(the memory is reset after each); and that one program acts and learns.",
    ),
    "pqn": Algorithm(
        "Parallelised Q-network: Q(lambda) on fresh rollouts, without replay or "
        "target network.",
        "Gallici et al., arXiv:2407.04811",
        {
            "rollout_length": 32,
            "num_minibatches": 32,
            "num_epochs": 2,
            "normalization": "layer",
            "optimizer": "radam",
            "max_grad_norm": 10.0,
        },
        {
            "num_envs": 128,
            "learning_rate": 2.5e-4,
            "trace_decay": 0.65,
            "learning_rate_schedule": "linear",
            "weight_init": "lecun",
            "total_steps": 50_000_000,
            "learning_rate_updates": 781_250.0,
            "epsilon_steps": 5_000_000.0,
            "epsilon_end": 0.001,
        },
        "Differs in that a trace ends at a truncation, which bootstraps from its true "
        "successor, and that successors are evaluated by the parameters that acted.",
        agent="q_lambda",
    ),
    "pqn_rnn": Algorithm(
        "PQN with a recurrent network, unrolled from its memory before the rollout.",
        "Gallici et al., arXiv:2407.04811, section 5",
        {
            "rollout_length": 32,
            "num_minibatches": 4,
            "num_epochs": 4,
            "normalization": "layer",
            "optimizer": "radam",
            "recurrent": "gru",
            "max_grad_norm": 0.5,
        },
        {
            "num_envs": 32,
            "learning_rate": 1e-4,
            "trace_decay": 0.95,
            "epsilon_end": 0.05,
        },
        agent="q_lambda",
    ),
}
