"""The algorithms that learn a table; see `jaxq.agents.algorithms`."""

from jaxq.agents import compatibility, factory, replay_agent, rollout_agent
from jaxq.agents.deep import dqn
from jaxq.config.config import Config
from jaxq.config.presets import compose
from jaxq.replay import dyna
from jaxq.rl import double_q, losses
from jaxq.types import Agent, EnvSpec


def tabular_q(config: Config, spec: EnvSpec) -> Agent:
    """Q-learning on a table, from replayed minibatches.

    Q(s, a) += learning_rate (R - Q(s, a)) for every transition of the minibatch, where
    R = r if it is terminal and r + gamma max Q(s', .) otherwise. With `sgd` and the
    summed loss that is the gradient step of the squared TD loss; the target table is
    the table itself as long as target_period is 1. Differs by drawing its transitions
    from a replay buffer (Lin, 1992), unless rollout_length is 1.
    """
    return _tabular("tabular_q", config, spec)


def n_step_q(config: Config, spec: EnvSpec) -> Agent:
    """Q-learning on a table with uncorrected n-step returns, from replay."""
    return _tabular("n_step_q", config, spec)


def sarsa(config: Config, spec: EnvSpec) -> Agent:
    """SARSA on a table: the target is r + gamma Q(s', a') of the action taken there.

    Every step is learned from once, as soon as the next action is chosen.
    """
    return _tabular("sarsa", config, spec)


def expected_sarsa(config: Config, spec: EnvSpec) -> Agent:
    """Expected SARSA on a table: bootstraps from the epsilon-greedy policy's mean."""
    return _tabular("expected_sarsa", config, spec)


def double_q_learning(config: Config, spec: EnvSpec) -> Agent:
    """Double Q-learning: two tables, each judged by the other.

    The behaviour policy follows their mean.
    """
    name = "double_q_learning"
    config = compatibility.check_table(name, compose(config, name))
    network = factory.make_twin(compatibility.check_twin(config), spec)
    loss = factory.with_penalty(double_q.double_q_loss(network), config)
    store = factory.make_store(config, spec)
    return replay_agent.replay_agent(network, network, loss, store, config)


def watkins_q_lambda(config: Config, spec: EnvSpec) -> Agent:
    """Watkins's Q(lambda) on a table: traces end before an action that is not greedy.

    The forward view, within rollouts of rollout_length steps, in place of eligibility
    traces that last for the whole episode.
    """
    return _q_lambda("watkins_q_lambda", config, spec)


def peng_q_lambda(config: Config, spec: EnvSpec) -> Agent:
    """Peng's Q(lambda) on a table: traces go on whatever the action.

    The forward view, within rollouts of rollout_length steps, in place of eligibility
    traces that last for the whole episode.
    """
    return _q_lambda("peng_q_lambda", config, spec)


def dyna_q(config: Config, spec: EnvSpec) -> Agent:
    """Dyna-Q: learns from each step, and from batch_size steps that a model recalls.

    The model is deterministic: it recalls what happened last. Differs in that the
    recalled steps are learned from together with the new one, not one by one.
    """
    config = compatibility.check_table("dyna_q", compose(config, "dyna_q"))
    config = compatibility.check_model(config)
    network = factory.make_networks(config, spec).online
    loss = factory.with_penalty(losses.td_loss(network, config.double_q), config)
    store = dyna.dyna_store(config, spec)
    return replay_agent.replay_agent(network, network, loss, store, config)


def _tabular(name: str, config: Config, spec: EnvSpec) -> Agent:
    return dqn(compatibility.check_table(name, compose(config, name)), spec)


def _q_lambda(name: str, config: Config, spec: EnvSpec) -> Agent:
    config = compatibility.check_table(name, compose(config, name))
    network = factory.make_networks(config, spec).online
    loss = factory.with_penalty(losses.regression_loss(network), config)
    return rollout_agent.rollout_agent(
        network, network, loss, compatibility.check_rollouts(name, config)
    )
