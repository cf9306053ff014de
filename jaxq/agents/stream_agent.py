"""Agents that learn from every step once, as it happens, by eligibility traces."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxq.agents import acting, learner, plasticity, schedules
from jaxq.config.config import Config
from jaxq.networks import running_statistics
from jaxq.rl import losses, traces
from jaxq.types import (
    Agent,
    Array,
    Counter,
    Key,
    LearnerState,
    Network,
    PyTree,
    Step,
    UpdateMetrics,
    counter,
)


class RewardScale(NamedTuple):
    """Running statistics of the discounted return, by which rewards are divided."""

    running_return: Array  # [] float32, of the current episode
    statistics: running_statistics.Statistics


class StreamAgentState(NamedTuple):
    """State of an agent without replay."""

    learner: LearnerState
    trace: PyTree  # like the parameters
    previous: Step  # waits for the action that follows it, for SARSA; () otherwise
    current: Step
    reward_scale: RewardScale | tuple[()]
    updates: Counter  # steps learned from


def rule(config: Config) -> traces.TraceRule:
    """The rule that turns a trace and a TD error into a step of the parameters."""
    decay = jnp.asarray(config.discount * config.trace_decay)
    if config.optimizer == "obgd":
        return traces.overshooting_bounded(config.overshoot_bound)
    if config.optimizer == "adaptive":
        return traces.adaptive(decay, config.optimizer_eps)
    if config.optimizer == "intentional":
        return traces.intentional(decay, config.adam_b2, config.optimizer_eps)
    return traces.gradient_descent()


def stream_agent(network: Network, config: Config) -> Agent:
    """Q(lambda) or SARSA(lambda) with eligibility traces, online.

    delta = r + gamma max Q(s', .) - Q(s, a)        (SARSA: Q(s', a'), one step later)
    z <- gamma lambda z + grad Q(s, a)
    params <- params + step(z, delta)

    Traces start anew with every episode and, for Q(lambda), before an action that is
    not greedy. A truncated step bootstraps.

    Args:
        network: with a scalar head.
        config: exploration, traces, and the rule of the steps.

    Reference: Watkins (1989); Rummery and Niranjan (1994); Elsayed et al.,
    arXiv:2410.14606 (networks).
    """
    step_rule, sarsa = rule(config), config.next_value == "sarsa"

    def init(key: Key, example: Step) -> StreamAgentState:
        params = network.init(key, example.observation)
        # The step before the first is as if an episode had ended with it.
        example = example._replace(terminated=jnp.ones((), bool))
        return StreamAgentState(
            learner=LearnerState(
                params=params,
                target_params=(),
                opt_state=step_rule.init(params),
                diverged_at=jnp.asarray(-1, jnp.int32),
            ),
            trace=jax.tree.map(jnp.zeros_like, params),
            previous=example if sarsa else (),  # type: ignore[arg-type]
            current=example,
            reward_scale=_no_returns() if config.normalize_rewards else (),
            updates=counter(),
        )

    def observe(key: Key, state: StreamAgentState, rollout: Step) -> StreamAgentState:
        del key
        step = jax.tree.map(lambda leaf: leaf[0, 0], rollout)
        step = step._replace(memory=())
        scale = state.reward_scale
        if isinstance(scale, RewardScale):
            scale, reward = scaled(scale, step, config.discount)
            step = step._replace(reward=reward)
        previous = state.current if sarsa else state.previous
        return state._replace(previous=previous, current=step, reward_scale=scale)

    def update(
        key: Key, state: StreamAgentState, epsilon: Array
    ) -> tuple[StreamAgentState, UpdateMetrics]:
        del key, epsilon
        updates, old = state.updates.value, state.learner
        params = old.params
        if network.update_batch_stats is not None:
            observation = jax.tree.map(lambda x: x[None], state.current.observation)
            params = network.update_batch_stats(params, observation)
        step = state.previous if sarsa else state.current
        follow = _action_value(network, state.current) if sarsa else _best(network)
        learned, trace, metrics = _learn(
            params, state, step, follow, updates, network, config, step_rule
        )
        if sarsa:  # there is no step to learn from before the second one
            learned, trace = jax.tree.map(
                lambda new, before: jnp.where(updates == 0, before, new),
                (learned, trace),
                (old, state.trace),
            )
        finite = jnp.isfinite(metrics.td_error) & jnp.isfinite(metrics.grad_norm)
        healthy = (old.diverged_at < 0) & finite
        learned = learner.freeze(learned, old.params, healthy, updates)
        return (
            state._replace(learner=learned, trace=trace, updates=Counter(updates + 1)),
            metrics,
        )

    return acting.assemble(network, config, init, observe, update)


def _best(network: Network) -> Callable[[PyTree, Step], Array]:
    """Value of the best action in the successor of a step."""

    def value(params: PyTree, step: Step) -> Array:
        output = network.apply(None, params, step.next_observation)
        return jnp.max(network.head.q_values(output))

    return value


def _action_value(network: Network, following: Step) -> Callable[[PyTree, Step], Array]:
    """Value of the action taken in the successor; of the best one if truncated."""
    best = _best(network)

    def value(params: PyTree, step: Step) -> Array:
        output = network.apply(None, params, step.next_observation)
        taken = _of_action(network.head.q_values(output), following.action)
        return jnp.where(step.truncated, best(params, step), taken)

    return value


def _of_action(q_values: Array, action: Array) -> Array:
    return losses.select_action(q_values[:, None], action)[0]


def _learn(
    params: PyTree,
    state: StreamAgentState,
    step: Step,
    follow: Callable[[PyTree, Step], Array],
    updates: Array,
    network: Network,
    config: Config,
    step_rule: traces.TraceRule,
) -> tuple[LearnerState, PyTree, UpdateMetrics]:
    """One step of the parameters, and the trace that the next step starts from."""

    def estimate(params: PyTree) -> tuple[Array, Array]:
        output = network.apply(None, params, step.observation)
        q_values = network.head.q_values(output)
        return _of_action(q_values, step.action), q_values

    (q_value, q_values), gradient = jax.value_and_grad(estimate, has_aux=True)(params)
    # A terminal state may have no valid action; 0 * -inf would be NaN.
    future = jnp.where(step.terminated, 0.0, follow(params, step))
    td_error = step.reward + config.discount * future - q_value
    explored = (q_value < jnp.max(q_values)) & (config.next_value == "max")
    decay = config.discount * config.trace_decay
    trace = traces.accumulate(state.trace, gradient, decay, cut=explored)
    error = td_error
    if config.loss == "huber":
        error = jnp.clip(td_error, -config.huber_delta, config.huber_delta)
    rate = schedules.step_size(config, updates)
    change, opt_state = step_rule.update(
        state.learner.opt_state, gradient, trace, error, rate
    )
    params = plasticity.decay(config, params, rate)
    learned = state.learner._replace(
        params=optax.tree.add(params, change), opt_state=opt_state
    )
    ended = step.terminated | step.truncated
    trace = jax.tree.map(lambda z: jnp.where(ended, 0.0, z), trace)
    metrics = UpdateMetrics(
        loss=td_error**2 / 2,
        td_error=jnp.abs(td_error),
        q_value=q_value,
        grad_norm=optax.tree.norm(gradient),
    )
    return learned, trace, metrics


def _no_returns() -> RewardScale:
    return RewardScale(jnp.zeros(()), running_statistics.empty())


def scaled(
    scale: RewardScale, step: Step, discount: Array | float
) -> tuple[RewardScale, Array]:
    """A reward over the standard deviation of the running discounted return.

    u <- discount u + r;  r / sqrt(var(u) + 1e-8), with u anew in every episode

    Args:
        scale: statistics before the step.
        step: the newest step.
        discount: [] gamma.

    Reference: Engstrom et al., arXiv:2005.12729; Elsayed et al., arXiv:2410.14606.
    """
    total = discount * scale.running_return + step.reward
    statistics = running_statistics.add(scale.statistics, total[None])
    deviation = jnp.sqrt(running_statistics.variance(statistics) + 1e-8)
    ended = step.terminated | step.truncated
    running = jnp.where(ended, 0.0, total)
    return RewardScale(running, statistics), step.reward / deviation
