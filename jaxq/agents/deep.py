"""The algorithms that learn a network; see `jaxq.agents.algorithms`."""

from jaxq.agents import compatibility, factory, replay_agent, rollout_agent
from jaxq.config.config import Config
from jaxq.config.presets import compose
from jaxq.rl import bootstrapped, losses, munchausen, recurrent_losses
from jaxq.types import Agent, EnvSpec


def dqn(config: Config, spec: EnvSpec) -> Agent:
    """Deep Q-learning with a target network and uniform replay.

    The trunk of the family: every component of the configuration acts here. Differs in
    the loss (squared unless `loss` is huber) and the optimizer (Adam unless `optimizer`
    is rmsprop).
    """
    nets = factory.make_networks(config, spec)
    if config.recurrent != "none":
        loss = recurrent_losses.td_loss(
            nets.online,
            config.burn_in,
            config.n_step,
            config.discount,
            config.double_q,
            config.sequence_max_weight,
        )
    elif config.ensemble_size > 1:
        loss = bootstrapped.ensemble_loss(nets.online, factory.make_head(config))
    elif config.munchausen:
        loss = munchausen.munchausen_loss(
            nets.online,
            config.munchausen_alpha,
            config.entropy_temperature,
            config.munchausen_clip,
            evaluator=nets.target,
            selector=nets.selector,
        )
    else:
        loss = losses.td_loss(
            nets.online,
            config.double_q,
            evaluator=nets.target,
            selector=nets.selector,
            bootstrap_policy=losses.BOOTSTRAP_POLICIES[config.next_value],
        )
    loss = factory.with_penalty(loss, config)
    store = factory.make_store(config, spec)
    return replay_agent.replay_agent(nets.online, nets.policy, loss, store, config)


def double_dqn(config: Config, spec: EnvSpec) -> Agent:
    """Double DQN: the online parameters select, the target parameters evaluate."""
    return dqn(compose(config, "double_dqn"), spec)


def dueling_dqn(config: Config, spec: EnvSpec) -> Agent:
    """Dueling networks: streams for the value and for the advantages.

    Differs in that the streams have no hidden layer of their own unless stream_sizes
    says so, and that gradients entering the torso are not rescaled.
    """
    return dqn(compose(config, "dueling_dqn"), spec)


def n_step_dqn(config: Config, spec: EnvSpec) -> Agent:
    """DQN with uncorrected n-step returns, three steps by default."""
    return dqn(compose(config, "n_step_dqn"), spec)


def prioritized_dqn(config: Config, spec: EnvSpec) -> Agent:
    """DQN that replays in proportion to a power of the TD error.

    The proportional variant. Differs in that double_q is off unless asked for.
    """
    return dqn(compose(config, "prioritized_dqn"), spec)


def c51(config: Config, spec: EnvSpec) -> Agent:
    """Categorical DQN: a distribution of the return on fixed atoms."""
    return dqn(compose(config, "c51"), spec)


def hl_gauss_dqn(config: Config, spec: EnvSpec) -> Agent:
    """DQN by classification: the target is a Gaussian's histogram (HL-Gauss)."""
    return dqn(compose(config, "hl_gauss_dqn"), spec)


def two_hot_dqn(config: Config, spec: EnvSpec) -> Agent:
    """DQN by classification: the target is shared by the two nearest atoms."""
    return dqn(compose(config, "two_hot_dqn"), spec)


def qr_dqn(config: Config, spec: EnvSpec) -> Agent:
    """Quantile regression DQN: quantiles of the return at fixed fractions.

    Differs in the reduction: the loss is a mean over target samples and a sum over
    quantiles, as in the paper; priorities, if any, are errors of the mean.
    """
    return dqn(compose(config, "qr_dqn"), spec)


def iqn(config: Config, spec: EnvSpec) -> Agent:
    """Implicit quantile networks: quantiles at fractions drawn anew each time.

    Actions are chosen on policy_samples fractions, also inside the target, whose
    parameters are the target network's. Evaluation uses equally spaced fractions.
    """
    return dqn(compose(config, "iqn"), spec)


def fqf(config: Config, spec: EnvSpec) -> Agent:
    """Fully parameterized quantile function: the network proposes the fractions.

    Differs in that the target network proposes its own fractions for the successor,
    and weighs its quantiles by the lengths of their intervals.
    """
    return dqn(compose(config, "fqf"), spec)


def munchausen_dqn(config: Config, spec: EnvSpec) -> Agent:
    """Munchausen DQN: the log-policy added to the reward, soft bootstrapping.

    Differs in that the behaviour policy is epsilon-greedy, as in the paper's code.
    """
    return dqn(compose(config, "munchausen_dqn"), spec)


def munchausen_qr_dqn(config: Config, spec: EnvSpec) -> Agent:
    """Munchausen's target for quantiles at fixed fractions."""
    return dqn(compose(config, "munchausen_qr_dqn"), spec)


def munchausen_iqn(config: Config, spec: EnvSpec) -> Agent:
    """Munchausen's target for implicit quantile networks (M-IQN)."""
    return dqn(compose(config, "munchausen_iqn"), spec)


def noisy_dqn(config: Config, spec: EnvSpec) -> Agent:
    """Noisy networks: parametric noise in the place of epsilon.

    Every environment acts with noise of its own, drawn anew at every step; a minibatch
    shares its noise, drawn anew for the estimate, the target and the choice of action.
    """
    return dqn(compose(config, "noisy_dqn"), spec)


def rainbow(config: Config, spec: EnvSpec) -> Agent:
    """Rainbow: double, dueling, prioritised, n-step, categorical and noisy.

    Differs in that the streams have no hidden layer of their own unless stream_sizes
    says so; the priority is the Kullback-Leibler divergence, as in the paper.
    """
    return dqn(compose(config, "rainbow"), spec)


def dqn_reg(config: Config, spec: EnvSpec) -> Agent:
    """DQNReg: a small weight on the estimate itself, found by evolution."""
    return dqn(compose(config, "dqn_reg"), spec)


def bootstrapped_dqn(config: Config, spec: EnvSpec) -> Agent:
    """Bootstrapped DQN with randomized prior functions.

    One member of the ensemble acts for a whole episode; all learn, each against its own
    target. Differs in that members share no layer, and none is a torso.
    """
    return dqn(compose(config, "bootstrapped_dqn"), spec)


def r2d2(config: Config, spec: EnvSpec) -> Agent:
    """Recurrent replay: stored memory, burn-in, rescaled values, prioritised sequences.

    Differs in that the cell sees the observation only, not the last action and reward;
    that sequences start anywhere and may hold several episodes (the memory starts anew
    in each); and that one program acts and learns.
    """
    return dqn(compose(config, "r2d2"), spec)


def pqn(config: Config, spec: EnvSpec) -> Agent:
    """Parallelised Q-network: Q(lambda) on fresh rollouts, no replay and no target.

    Differs in that the trace ends at a truncation, which bootstraps from its true
    successor, and in that successors are evaluated by the parameters that acted.
    """
    config = compatibility.check_rollouts("pqn", compose(config, "pqn"))
    nets = factory.make_networks(config, spec)
    recurrent = config.recurrent != "none"
    regress = recurrent_losses.regression_loss if recurrent else losses.regression_loss
    loss = factory.with_penalty(regress(nets.online), config)
    return rollout_agent.rollout_agent(nets.online, nets.policy, loss, config)


def pqn_rnn(config: Config, spec: EnvSpec) -> Agent:
    """PQN with a recurrent network, whose memory starts where the rollout did."""
    return pqn(compose(config, "pqn_rnn"), spec)
