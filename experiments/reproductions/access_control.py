"""Access control in a queue, whose largest average reward is known exactly."""

from collections.abc import Mapping

import numpy as np

from experiments.reproductions.criteria import Exact
from experiments.reproductions.target import Cost, Target
from jaxq import Config

QUEUE = Config(
    defaults="plain",
    algorithm="differential_q",
    environment="AccessControl",
    num_seeds=30,
    total_steps=1_000_000,
    learning_rate=0.3,
    learning_rate_schedule="inverse",
    learning_rate_updates=10_000.0,
    average_reward_rate=0.01,
    epsilon_start=0.1,
    epsilon_end=0.1,
    eval_points=2,
    eval_episodes=1,
    eval_max_steps=10,
)


def gains(config: Config = QUEUE) -> Mapping[str, np.ndarray]:
    """Exact average rewards of the policies that were learned, and the estimate.

    Returns:
        The average reward of the greedy and the epsilon-greedy policy of every seed's
        table, and the average that it learned, which is average_reward_rate times the
        sum of its entries.
    """
    from jaxq import run
    from jaxq.envs import access_control, mdp

    model = access_control.model()
    result = run(config, plot=False)
    tables = np.asarray(result.params["table"], float)[..., 0]
    greedy = [mdp.greedy_policy(table) for table in tables]
    epsilon = config.epsilon_end
    soft = [(1 - epsilon) * policy + epsilon / policy.shape[1] for policy in greedy]
    return {
        "greedy": np.array([mdp.average_reward(model, policy) for policy in greedy]),
        "epsilon-greedy": np.array([mdp.average_reward(model, p) for p in soft]),
        "estimate": config.average_reward_rate * tables.sum(axis=(1, 2)),
    }


TARGETS = {
    "access_control": Target(
        title="Access control: exact reward per step",
        source="Sutton and Barto (2018), Example 10.2; exact values by relative value "
        "iteration",
        trust="A: exact, for customers who may leave in the step in which they were "
        "accepted, which the book leaves open",
        algorithms=("differential_q",),
        simulate=gains,
        criterion=Exact(
            {"greedy": 2.7476, "epsilon-greedy": 2.6469, "estimate": 2.7476}, 0.01
        ),
        cost=Cost(3),
        deviations=(
            "the book's figure is of differential semi-gradient Sarsa with constant "
            "step sizes, this is of Q-learning on a table",
        ),
        metric="reward per step",
    ),
}
