"""Rows of the table of algorithms: those that learn a table."""

from jaxq.config.algorithm_entry import Algorithm, Fields

TABLE: Fields = {
    "network": "table",
    "optimizer": "sgd",
    "loss_reduction": "sum",
    "target_period": 1,
    "learning_rate": 0.1,
}
ONLINE: Fields = {**TABLE, "rollout_length": 1}
TRACES: Fields = {**TABLE, "rollout_length": 16, "trace_decay": 0.9}
BOOK: Fields = {"epsilon_start": 0.1, "epsilon_end": 0.1, "discount": 1.0}
_FORWARD_VIEW = (
    "Differs in that the forward view is computed within rollouts of rollout_length "
    "steps, in place of eligibility traces that last the whole episode."
)

TABULAR: dict[str, Algorithm] = {
    "tabular_q": Algorithm(
        "Q-learning on a table, from replayed minibatches: Q(s, a) += learning_rate "
        "(R - Q(s, a)), where R = r if terminal and r + gamma max Q(s', .) otherwise.",
        "Watkins (1989)",
        TABLE,
        differs="Differs in that transitions are drawn from a replay buffer (Lin, "
        "1992), unless rollout_length is 1. The target table is the table itself as "
        "long as target_period is 1.",
    ),
    "sarsa": Algorithm(
        "SARSA on a table: the target is r + gamma Q(s', a') of the action taken in "
        "s'. Every step is learned from once, when its next action is known.",
        "Rummery and Niranjan (1994)",
        {**ONLINE, "next_value": "sarsa"},
        BOOK,
    ),
    "expected_sarsa": Algorithm(
        "Expected SARSA on a table: bootstraps from the mean over the epsilon-greedy "
        "policy.",
        "van Seijen et al. (2009)",
        {**ONLINE, "next_value": "expected_sarsa"},
        BOOK,
    ),
    "differential_q": Algorithm(
        "Differential Q-learning on a table: maximises the reward per step, whose "
        "estimate is learned from the same TD errors and subtracted from every reward.",
        "Wan et al., arXiv:2006.16318, section 3",
        {**ONLINE, "average_reward": "differential"},
        {"epsilon_start": 0.1, "epsilon_end": 0.1},
        "Differs in that an environment may end its episodes: the last step then leads "
        "to the start of the next one. With several environments the average moves by "
        "the mean of their TD errors.",
    ),
    "double_q_learning": Algorithm(
        "Double Q-learning: two tables, each evaluated by the other. The behaviour "
        "policy follows their mean.",
        "van Hasselt (2010)",
        ONLINE,
        BOOK,
        agent="double_q_learning",
    ),
    "n_step_q": Algorithm(
        "Q-learning on a table with uncorrected n-step returns, from replay.",
        "Watkins (1989)",
        {**TABLE, "n_step": 3},
    ),
    "watkins_q_lambda": Algorithm(
        "Watkins's Q(lambda) on a table: a trace ends before a non-greedy action.",
        "Watkins (1989)",
        {**TRACES, "trace_cut": True},
        BOOK,
        _FORWARD_VIEW,
        agent="q_lambda",
    ),
    "peng_q_lambda": Algorithm(
        "Peng's Q(lambda) on a table: a trace continues whatever the action.",
        "Peng and Williams (1996)",
        TRACES,
        BOOK,
        _FORWARD_VIEW,
        agent="q_lambda",
    ),
    "dyna_q": Algorithm(
        "Dyna-Q: learns from each step, and from batch_size steps recalled by a "
        "deterministic model, which holds the latest outcome of every state and "
        "action.",
        "Sutton (1990)",
        {**ONLINE, "batch_size": 5},
        {**BOOK, "discount": 0.95},
        "Differs in that the recalled steps are learned from together with the new "
        "one, not one by one.",
        agent="dyna_q",
    ),
}
