"""PQN as CleanRL's file has it: lambda-returns run on through the end of an episode."""

from experiments.reproductions import lambda_returns
from jaxq.agents import factory, loss_factory, rollout_agent
from jaxq.config.config import Config
from jaxq.types import Agent, EnvSpec


def pqn(config: Config, spec: EnvSpec) -> Agent:
    """PQN with these returns."""
    networks = factory.make_networks(config, spec)
    loss = loss_factory.make_regression_loss(config, networks.online)
    return rollout_agent.rollout_agent(
        networks.online, networks.policy, loss, config, lambda_returns.leaking
    )
