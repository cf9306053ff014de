"""Agents that learn from every step once, as it happens, by eligibility traces."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxq.agents import (
    acting,
    gradient_correction,
    learner,
    plasticity,
    reward_scale,
    schedules,
)
from jaxq.config.config import Config
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


class StreamAgentState(NamedTuple):
    """State of an agent without replay."""

    learner: LearnerState
    trace: PyTree  # like the parameters
    bias: Array | tuple[()]  # [] trace of the correction, if there is one
    previous: Step  # waits for the action that follows it, for SARSA; () otherwise
    current: Step
    reward_scale: reward_scale.RewardScale | tuple[()]
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
    correction = None
    if config.gradient_correction:
        network, correction = gradient_correction.with_correction(network)

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
            bias=jnp.zeros(()) if correction else (),
            previous=example if sarsa else (),  # type: ignore[arg-type]
            current=example,
            reward_scale=reward_scale.empty() if config.normalize_rewards else (),
            updates=counter(),
        )

    def observe(key: Key, state: StreamAgentState, rollout: Step) -> StreamAgentState:
        del key
        step = jax.tree.map(lambda leaf: leaf[0, 0], rollout)
        step = step._replace(memory=())
        scale = state.reward_scale
        if isinstance(scale, reward_scale.RewardScale):
            scale, reward = reward_scale.scaled(scale, step, config.discount)
            step = step._replace(reward=reward)
        previous = state.current if sarsa else state.previous
        return state._replace(previous=previous, current=step, reward_scale=scale)

    def update(
        key: Key, state: StreamAgentState, epsilon: Array
    ) -> tuple[StreamAgentState, UpdateMetrics]:
        del key, epsilon
        updates, old = state.updates.value, state.learner
        params = _with_statistics(network, old.params, state.current)
        step = state.previous if sarsa else state.current
        follow = _action_value(network, state.current) if sarsa else _best(network)
        learned, traces_, metrics = _learn(
            params, state, step, follow, updates, network, correction, config, step_rule
        )
        if sarsa:  # there is no step to learn from before the second one
            learned, traces_ = jax.tree.map(
                lambda new, before: jnp.where(updates == 0, before, new),
                (learned, traces_),
                (old, (state.trace, state.bias)),
            )
        finite = jnp.isfinite(metrics.td_error) & jnp.isfinite(metrics.grad_norm)
        healthy = (old.diverged_at < 0) & finite
        learned = learner.freeze(learned, old.params, healthy, updates)
        trace, bias = traces_
        state = state._replace(learner=learned, trace=trace, bias=bias)
        return state._replace(updates=Counter(updates + 1)), metrics

    return acting.assemble(network, config, init, observe, update)


def _with_statistics(network: Network, params: PyTree, step: Step) -> PyTree:
    """Parameters whose statistics of observations include that of a step."""
    if network.update_batch_stats is None:
        return params
    observation = jax.tree.map(lambda x: x[None], step.observation)
    return network.update_batch_stats(params, observation)


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
    correction: Callable[..., PyTree] | None,
    config: Config,
    step_rule: traces.TraceRule,
) -> tuple[LearnerState, tuple[PyTree, PyTree], UpdateMetrics]:
    """One step of the parameters, and the traces that the next step starts from."""
    head, action = network.head, step.action

    def estimate(params: PyTree) -> tuple[Array, Array]:
        q_values = head.q_values(network.apply(None, params, step.observation))
        return _of_action(q_values, action), q_values

    def td(params: PyTree) -> Array:
        # A terminal state may have no valid action; 0 * -inf would be NaN.
        future = jnp.where(step.terminated, 0.0, follow(params, step))
        return step.reward + config.discount * future - estimate(params)[0]

    (q_value, q_values), gradient = jax.value_and_grad(estimate, has_aux=True)(params)
    td_error = td(params)
    explored = (q_value < jnp.max(q_values)) & (config.next_value == "max")
    decay = config.discount * config.trace_decay
    error = td_error
    if config.loss == "huber":
        error = jnp.clip(td_error, -config.huber_delta, config.huber_delta)
    rate = schedules.step_size(config, updates)
    bias, opt_state = state.bias, state.learner.opt_state
    if correction is None:
        trace = traces.accumulate(state.trace, gradient, decay, cut=explored)
        change, opt_state = step_rule.update(opt_state, gradient, trace, error, rate)
    else:

        def h(params: PyTree) -> Array:
            output = correction(params, step.observation)
            return _of_action(head.q_values(output), action)

        h_value, h_gradient = jax.value_and_grad(h)(params)
        gradient = optax.tree.add(gradient, h_gradient)
        trace, bias = traces.accumulate(
            (state.trace, state.bias), (gradient, h_value), decay, cut=explored
        )
        change = gradient_correction.corrected_step(
            plasticity.learned(params), trace, gradient, jax.grad(td)(params), error,
            h_value, bias, config.correction_penalty, rate, config.correction_rate,
        )  # fmt: skip
    params = plasticity.decay(config, params, rate)
    learned = state.learner._replace(
        params=optax.tree.add(params, change), opt_state=opt_state
    )
    ended = step.terminated | step.truncated
    kept = jax.tree.map(lambda z: jnp.where(ended, 0.0, z), (trace, bias))
    metrics = UpdateMetrics(
        loss=td_error**2 / 2,
        td_error=jnp.abs(td_error),
        q_value=q_value,
        grad_norm=optax.tree.norm(gradient),
    )
    return learned, kept, metrics
