"""Intrinsic bonuses: a reward for what is new, added to the one that is learned from.

A bonus belongs to the state in which a step arrives, so that it rewards the action that
led there, also at the end of an episode. It is added once, when the agent observes a
rollout; replayed rewards keep the bonus of that time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxq.agents import torso_factory
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.networks import distillation, from_flax, layers
from jaxq.rl import intrinsic
from jaxq.types import (
    Agent,
    Array,
    EnvSpec,
    Key,
    LearnerState,
    PyTree,
    Step,
    UpdateMetrics,
)
from jaxq.xla import matmul


class Bonus(NamedTuple):
    """A bonus as two pure functions.

    init: (key, example: Step) -> state
    reward: (state, rollout: Step[T, E]) -> (bonus[T, E], state)
    """

    init: Callable[[Key, Step], PyTree]
    reward: Callable[[PyTree, Step], tuple[Array, PyTree]]


class BonusState(NamedTuple):
    """State of an agent with a bonus."""

    learner: LearnerState
    rest: PyTree  # the agent's state without its learner
    bonus: PyTree


def add_bonus(agent: Agent, config: Config, spec: EnvSpec) -> Agent:
    """The agent, whose rewards include the bonus that the configuration names.

    Raises:
        ConfigError: for a count of states that are not numbered.
    """
    # An algorithm of a user's own that returns anything else is reported elsewhere.
    if config.intrinsic_bonus == "none" or not isinstance(agent, Agent):
        return agent
    return with_bonus(agent, BONUSES[config.intrinsic_bonus](config, spec), config)


def with_bonus(agent: Agent, bonus: Bonus, config: Config) -> Agent:
    """An agent that learns from r + bonus_scale * bonus.

    Args:
        agent: its state is a NamedTuple with a field `learner`.
        bonus: the bonus.
        config: its scale.
    """

    def inner(state: PyTree) -> PyTree:
        # A loaded policy acts with the learner's parameters alone.
        if not isinstance(state, BonusState):
            return state
        return state.rest._replace(learner=state.learner)

    def outer(state: PyTree, bonus_state: PyTree) -> BonusState:
        return BonusState(state.learner, state._replace(learner=()), bonus_state)

    def init(key: Key, example: Step) -> BonusState:
        key, bonus_key = jax.random.split(key)
        return outer(agent.init(key, example), bonus.init(bonus_key, example))

    def act(key: Key, state: PyTree, *arguments: Any) -> tuple[Array, PyTree]:
        return agent.act(key, inner(state), *arguments)

    def act_with_probability(
        key: Key, state: PyTree, *arguments: Any
    ) -> tuple[Array, PyTree, Array]:
        assert agent.act_with_probability is not None
        return agent.act_with_probability(key, inner(state), *arguments)

    def observe(key: Key, state: BonusState, rollout: Step) -> BonusState:
        extra, bonus_state = bonus.reward(state.bonus, rollout)
        reward = rollout.reward + config.bonus_scale * extra
        observed = agent.observe(key, inner(state), rollout._replace(reward=reward))
        return outer(observed, bonus_state)

    def update(
        key: Key, state: BonusState, epsilon: Array
    ) -> tuple[BonusState, UpdateMetrics]:
        updated, metrics = agent.update(key, inner(state), epsilon)
        return outer(updated, state.bonus), metrics

    def q_values(state: PyTree, memory: PyTree, observation: Array) -> Array:
        return agent.q_values(inner(state), memory, observation)

    def activations(
        state: PyTree, memory: PyTree, observation: Array
    ) -> dict[str, Array]:
        assert agent.activations is not None
        return agent.activations(inner(state), memory, observation)

    return agent._replace(
        init=init,
        act=act,
        observe=observe,
        update=update,
        q_values=q_values,
        activations=activations if agent.activations else None,
        act_with_probability=(
            act_with_probability if agent.act_with_probability else None
        ),
    )


def counts(config: Config, spec: EnvSpec) -> Bonus:
    """1 / sqrt(N(s')), where N counts the visits up to the end of the rollout.

    Differs from MBIE-EB in that states are counted, not pairs of a state and an action,
    and that a replayed step keeps the bonus of its own time.

    Reference: Strehl and Littman (2008); Bellemare et al., arXiv:1606.01868.

    Raises:
        ConfigError: if the states of the environment are not numbered.
    """
    del config
    index, rows = spec.state_index, spec.num_states
    if index is None or rows is None:
        raise ConfigError(
            f"intrinsic_bonus = 'count': {spec.name} has no numbered states to count. "
            "Use intrinsic_bonus = 'rnd', or pass an environment whose spec has "
            "num_states and state_index."
        )

    def init(key: Key, example: Step) -> Array:
        del key, example
        return jnp.zeros(rows, jnp.int32)

    def reward(visits: Array, rollout: Step) -> tuple[Array, Array]:
        state = jax.vmap(jax.vmap(index))(rollout.next_observation)
        visits = visits.at[state].add(1, mode="clip")
        return intrinsic.count_bonus(visits.at[state].get(mode="clip")), visits

    return Bonus(init, reward)


class DistillationState(NamedTuple):
    """State of random network distillation."""

    target: PyTree  # parameters, which are never trained
    predictor: PyTree  # parameters
    opt_state: PyTree
    inputs: intrinsic.Moments  # of the features of an observation
    returns: intrinsic.Moments  # of `totals`
    totals: Array  # [E] discounted sums of past errors


def distillation_bonus(config: Config, spec: EnvSpec) -> Bonus:
    """Random network distillation: the error in predicting a fixed random network.

    error = |f(s') - f_target(s')|^2,   bonus = error / std(discounted sums of errors)

    The features of s' are standardised by their running moments. The predictor takes
    one step of Adam per rollout, on all its steps.

    Differs in that the bonus and the reward are learned as one sum, which ends with the
    episode, and that the predictor has the torso that the agent would be given.

    Reference: Burda et al., arXiv:1810.12894, sections 2.2 to 2.4 and algorithm 1.
    """
    # Orthogonal weights keep the scale of the features, so that the target varies.
    style = layers.LayerConfig("orthogonal", activation=config.activation)
    torso, size = torso_factory.make_torso(config, spec, style), config.rnd_size
    target = distillation.embedder(distillation.Embedding(torso, size, (), style))
    predictor = distillation.embedder(
        distillation.Embedding(torso, size, (size, size), style)
    )
    features = from_flax.features(spec)
    optimizer = optax.scale_by_adam()

    def init(key: Key, example: Step) -> DistillationState:
        target_key, predictor_key = jax.random.split(key)
        x = features(example.observation)
        params = predictor.init(predictor_key, x)
        return DistillationState(
            target=target.init(target_key, x),
            predictor=params,
            opt_state=optimizer.init(params),
            inputs=intrinsic.initial_moments(x),
            returns=intrinsic.initial_moments(jnp.zeros(())),
            totals=jnp.zeros(config.num_envs),
        )

    def errors(params: PyTree, state: DistillationState, x: PyTree) -> Array:
        """Of features [N, ...]; [N]."""

        def one(x: PyTree) -> Array:
            x = intrinsic.standardise(state.inputs, x)
            return intrinsic.distillation_error(
                predictor.apply(params, x), target.apply(state.target, x)
            )

        return jax.vmap(one)(x)

    def train(state: DistillationState, x: PyTree) -> DistillationState:
        """One step on the mean error of features [N, ...]."""

        def loss(params: PyTree) -> Array:
            return jnp.mean(errors(params, state, x)) / size

        _, gradient = matmul.value_and_grad(loss)(state.predictor)
        direction, opt_state = optimizer.update(gradient, state.opt_state)
        params = jax.tree.map(
            lambda p, d: p - config.rnd_learning_rate * d, state.predictor, direction
        )
        return state._replace(predictor=params, opt_state=opt_state)

    def reward(
        state: DistillationState, rollout: Step
    ) -> tuple[Array, DistillationState]:
        x = jax.vmap(jax.vmap(features))(rollout.next_observation)
        x = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), x)
        error = errors(state.predictor, state, x).reshape(rollout.reward.shape)
        totals, sums = intrinsic.discounted_sums(state.totals, error, config.discount)
        returns = intrinsic.update_moments(state.returns, sums.reshape(-1))
        inputs = intrinsic.update_moments(state.inputs, x)
        state = state._replace(inputs=inputs, returns=returns, totals=totals)
        return error * jax.lax.rsqrt(returns.variance + 1e-8), train(state, x)

    return Bonus(init, reward)


BONUSES: dict[str, Callable[[Config, EnvSpec], Bonus]] = {
    "count": counts,
    "rnd": distillation_bonus,
}
