"""The loss of a configuration."""

from jaxq.agents import corrections, factory, head_factory
from jaxq.config import annealing
from jaxq.config.config import Config
from jaxq.networks import ensemble
from jaxq.rl import (
    distributional_ensembles,
    ensembles,
    losses,
    munchausen,
    recurrent_losses,
    value_decomposition,
)
from jaxq.types import LossFunction, Network


def make_loss(config: Config, networks: factory.Networks) -> LossFunction:
    """The temporal-difference loss of a configuration."""
    if config.recurrent != "none":
        soft = None
        if config.munchausen:
            soft = munchausen.Munchausen(
                config.munchausen_alpha,
                config.entropy_temperature,
                config.munchausen_clip,
            )
        return recurrent_losses.td_loss(
            networks.online,
            config.burn_in,
            annealing.longest_return(config),
            config.discount,
            config.double_q,
            config.sequence_max_weight,
            losses.BOOTSTRAP_POLICIES[config.next_value],
            evaluator=networks.evaluator,
            selector=networks.selector,
            correction=corrections.make_correction(config),
            soft=soft,
            continuing=config.average_reward != "none",
        )
    if config.ensemble_size > 1:
        return make_ensemble_loss(config, networks.online)
    evaluator, selector = networks.evaluator, networks.selector
    if config.averaged_targets > 1:
        # Double Q-learning selects with a single set of parameters.
        selector = evaluator if config.double_q else selector
        evaluator = ensemble.averaged(evaluator)
    if config.munchausen:
        return munchausen.munchausen_loss(
            networks.online,
            config.munchausen_alpha,
            config.entropy_temperature,
            config.munchausen_clip,
            evaluator=evaluator,
            selector=selector,
        )
    return corrections.make_loss(config, networks) or losses.td_loss(
        networks.online,
        config.double_q,
        evaluator=evaluator,
        selector=selector,
        bootstrap_policy=losses.BOOTSTRAP_POLICIES[config.next_value],
    )


def make_ensemble_loss(config: Config, network: Network) -> LossFunction:
    """The loss of an ensemble, by the target of its members."""
    head, target = head_factory.make_head(config), config.ensemble_target
    if target == "mixture":
        return ensembles.mixture_loss(network, head, config.double_q)
    subset = config.ensemble_subset if target == "minimum" else None
    if config.head != "scalar":
        return distributional_ensembles.ensemble_loss(
            network, target, subset, config.double_q
        )
    reduction: ensembles.Reduction | None = None
    if target == "minimum":
        reduction = ensembles.minimum(subset)
    elif target == "mean":
        reduction = ensembles.mean
    return ensembles.ensemble_loss(network, head, reduction, config.double_q)


def make_regression_loss(config: Config, network: Network) -> LossFunction:
    """The loss of an estimate against the returns of a rollout."""
    recurrent = config.recurrent != "none"
    if config.value_decomposition == "vdn":
        if recurrent:
            return value_decomposition.sequence_loss(network)
        return value_decomposition.regression_loss(network)
    regression = recurrent_losses if recurrent else losses
    return regression.regression_loss(network)


def add_penalty(loss: LossFunction, config: Config) -> LossFunction:
    """The loss, with DQN-Reg's penalty if the configuration gives it a weight."""
    if config.q_penalty is None:
        return loss
    return losses.penalized(loss, config.q_penalty)
