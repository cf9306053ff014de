"""Corrected returns of replayed steps: Retrace, tree backup and Peng's Q(lambda).

The steps of a window were chosen by some earlier behaviour policy mu, and the estimate
should converge to the value of a target policy pi. A trace coefficient c sets how much
of what followed an action counts.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxq.rl import losses, mixtures
from jaxq.types import Array, Key, LossFunction, LossInfo, Network, PyTree, Step

_TINY = 1e-30  # keeps the ratio of two probabilities finite


class Window(NamedTuple):
    """Input of a loss with a corrected return: n consecutive steps."""

    observation: PyTree  # [...] before the first step
    action: Array  # [] int32, of the first step
    reward: Array  # [n]
    discount: Array  # [n] gamma (1 - terminated)
    continues: (
        Array  # [n] bool: the next step of the window belongs to the same episode
    )
    next_observation: PyTree  # [n, ...]
    next_action: Array  # [n] int32: action taken in next_observation
    next_probability: Array | None = None  # [n] with which it was chosen; see `retrace`
    epsilon: Array | None = None  # [] of the policy that is evaluated
    following: PyTree = None  # see `rl.self_prediction.Following`


# (pi(a | s), mu(a | s)) of the action taken -> its trace coefficient, for lambda = 1
Trace = Callable[[Array, Array | None], Array]


def retrace(target: Array, behaviour: Array | None) -> Array:
    """min(1, pi / mu): an importance ratio, but never above one.

    For a greedy pi, which is 0 or 1, it is pi itself, and mu may be None.
    """
    if behaviour is None:
        return target
    return jnp.minimum(1.0, target / jnp.maximum(behaviour, _TINY))


def tree_backup(target: Array, behaviour: Array | None) -> Array:
    """The probability pi itself; the behaviour policy need not be known."""
    del behaviour
    return target


def peng(target: Array, behaviour: Array | None) -> Array:
    """One: the trace continues whatever the action."""
    del behaviour
    return jnp.ones_like(target)


class Correction(NamedTuple):
    """Coefficients of the traces, and their decay."""

    estimator: str  # a name in `TRACES`
    lambda_: Array | float  # []


TRACES: dict[str, Trace] = {
    "retrace": retrace,
    "tree_backup": tree_backup,
    "peng": peng,
}


def off_policy_return(
    reward: Array, discount: Array, trace: Array, next_value: Array, baseline: Array
) -> Array:
    """The return of the first of n steps, from traced errors of the later ones.

    G = r_0 + d_0 v_1 + sum_{k=1}^{n-1} (prod_{i<k} d_i c_{i+1}) error_k,
    error_k = r_k + d_k v_{k+1} - b_k

    It solves G_k = r_k + d_k (v_{k+1} + c_{k+1} (G_{k+1} - b_{k+1})). With b = Q(s, a)
    it is Q(s_0, a_0) plus the sum of all traced TD errors, that of step 0 included.

    Args:
        reward: [n] r_0 to r_{n-1}.
        discount: [n] d_0 to d_{n-1}.
        trace: [n] c_1 to c_n; 0 ends the return. The last is not used.
        next_value: [n] v_1 to v_n, expected values of the successors under pi.
        baseline: [n] b_1 to b_n; the last is not used.

    Returns:
        [].

    Reference: Munos et al., arXiv:1606.02647, section 2.
    """
    arrays = [reward, discount, trace, next_value, baseline]
    chex.assert_rank(arrays, 1)
    chex.assert_equal_shape(arrays)
    later = jnp.cumprod(discount * trace)[:-1]
    error = reward + discount * next_value
    # A baseline may be minus infinity after the trace has ended.
    traced = jnp.where(later > 0.0, later * (error[1:] - baseline[:-1]), 0.0)
    return error[0] + jnp.sum(traced)


def corrected_return(
    window: Window,
    q_values: Array,
    policy: Array,
    correction: Correction,
) -> Array:
    """The return of the first step of a window, as an estimate of the value of pi.

    estimator     coefficient c           baseline b
    retrace       lambda min(1, pi/mu)    Q(s, a)
    tree_backup   lambda pi               Q(s, a)
    peng          lambda                  sum_a pi(a | s) Q(s, a)

    Retrace and tree backup have the value of pi as their fixed point, whatever mu is.
    Peng's Q(lambda), the mean of the uncorrected n-step returns with weights (1 -
    lambda) lambda^(n-1), has that of a mixture of pi and mu.

    Args:
        window: n steps.
        q_values: [n, A] estimates of the successors.
        policy: [n, A] probabilities pi in the successors.
        correction: the estimator and its lambda.

    Returns:
        [].

    Reference: Munos et al., arXiv:1606.02647 (Retrace); Precup, Sutton and Singh (2000)
    (tree backup); Kozuno et al., arXiv:2103.00107 (Peng's Q(lambda)).
    """
    next_value = jax.vmap(mixtures.average)(q_values, policy)
    taken, probability = (
        jax.vmap(losses.select_action)(table, window.next_action)
        for table in (q_values, policy)
    )
    coefficient = TRACES[correction.estimator](probability, window.next_probability)
    return off_policy_return(
        window.reward,
        window.discount,
        jnp.where(window.continues, correction.lambda_ * coefficient, 0.0),
        next_value,
        next_value if correction.estimator == "peng" else taken,
    )


def corrected_loss(
    network: Network,
    correction: Correction,
    double: bool = False,
    *,
    evaluator: Network | None = None,
    bootstrap_policy: losses.BootstrapPolicy = losses.greedy,
) -> LossFunction:
    """The loss of the first step of a window against its corrected return.

    pi = bootstrap_policy(q'(s_k, .))        (double: q(s_k, .), the online parameters)
    loss = head.loss(Z(s_0, a_0), G),  G: `corrected_return` of q' and pi

    Returns are those of the environment also if the head rescales its outputs: the
    target is then h(G), where G is computed from h^-1(output') (transformed Retrace).

    Args:
        network: the network that learns; its head represents an expected return.
        correction: the estimator and its lambda.
        double: let pi follow the online parameters.
        evaluator: computes q', and defaults to `network`; see `losses.td_loss`.
        bootstrap_policy: the target policy, `losses.greedy` or `losses.epsilon_greedy`.

    Reference: Munos et al., arXiv:1606.02647; Kapturowski et al. (2019), equation 1,
    for rescaled values.
    """
    head, evaluator = network.head, evaluator or network

    def loss(
        key: Key, params: PyTree, target_params: PyTree, window: Window
    ) -> tuple[Array, LossInfo]:
        online_key, target_key, select_key = jax.random.split(key, 3)
        output = network.apply(online_key, params, window.observation)

        def q_values(key: Key, params: PyTree) -> Array:
            apply = jax.vmap(evaluator.apply, in_axes=(None, None, 0))
            outputs = apply(key, params, window.next_observation)
            return jax.lax.stop_gradient(jax.vmap(head.q_values)(outputs))

        evaluate = q_values(target_key, target_params)
        select = q_values(select_key, params) if double else evaluate
        policy = jax.vmap(bootstrap_policy, in_axes=(None, 0))(window, select)
        target = corrected_return(window, evaluate, policy, correction)
        return losses.regress(head, output, window.action, target)

    return loss


def continues_in_ring(truncated: Array, limit: Array | None = None) -> Array:
    """Whether the window continues after each of its steps, [n] bool, in a replay ring.

    The successor of a truncated step is not stored: the window ends just before it, and
    bootstraps from its observation. See `returns.n_step_return_from_ring`.

    Args:
        truncated: [n] bool.
        limit: [] int32: length of the window, if it is shorter than n.
    """
    continues = jnp.concatenate([~truncated[1:], jnp.zeros(1, bool)])
    if limit is None:
        return continues
    return continues & (jnp.arange(truncated.size) < limit - 1)


def window(steps: Step, gamma: Array | float, limit: Array | None = None) -> Window:
    """The window of consecutive steps whose true successors are known.

    Args:
        steps: Step with a leading axis [n].
        gamma: [] discount factor.
        limit: [] int32: length of the window, if it is shorter than n.
    """
    last = jnp.arange(steps.reward.size) == steps.reward.size - 1
    if limit is not None:
        last = jnp.arange(steps.reward.size) >= limit - 1
    probability = steps.action_probability
    return Window(
        observation=jax.tree.map(lambda leaf: leaf[0], steps.observation),
        action=steps.action[0],
        reward=steps.reward,
        discount=jnp.where(steps.terminated, 0.0, gamma),
        continues=~(steps.terminated | steps.truncated | last),
        next_observation=steps.next_observation,
        next_action=jnp.roll(steps.action, -1),
        next_probability=None if probability is None else jnp.roll(probability, -1),
    )
