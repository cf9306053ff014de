"""Heads, losses and returns against DeepMind's rlax, if it is installed."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import table_network

from jaxq.rl import (
    categorical,
    exploration,
    heads,
    losses,
    off_policy,
    rescaling,
    returns,
)
from jaxq.rl.heads import QuantileTarget

rlax = pytest.importorskip("rlax")
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
CASES = 20


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def cases(rng, outputs):
    """Tuples (params, target_params, transition)."""
    batch = definitions.transitions(rng, CASES)
    for i in range(CASES):
        tables = floats(rng, 2, definitions.STATES, definitions.ACTIONS, outputs)
        yield *tables, definitions.example(batch, i)


def evaluate(head, **options):
    loss = jax.jit(losses.td_loss(table_network(head), **options))
    return lambda *inputs: loss(jax.random.key(0), *inputs)


def policy_of(name):
    return {"bootstrap_policy": losses.BOOTSTRAP_POLICIES[name]}


def expected_sarsa(q, t, step):
    next_q = t[step.next_observation]
    policy = rlax.epsilon_greedy().probs(next_q, step.epsilon)
    return rlax.expected_sarsa(
        q[step.observation], step.action, step.reward, step.discount, next_q, policy
    )


ERRORS = {
    "q_learning": (
        {},
        lambda q, t, s: rlax.q_learning(
            q[s.observation], s.action, s.reward, s.discount, t[s.next_observation]
        ),
    ),
    "double_q_learning": (
        {"double": True},
        lambda q, t, s: rlax.double_q_learning(
            q[s.observation],
            s.action,
            s.reward,
            s.discount,
            t[s.next_observation],
            q[s.next_observation],
        ),
    ),
    "sarsa": (
        policy_of("sarsa"),
        lambda q, t, s: rlax.sarsa(
            q[s.observation],
            s.action,
            s.reward,
            s.discount,
            t[s.next_observation],
            s.next_action,
        ),
    ),
    "expected_sarsa": (policy_of("expected_sarsa"), expected_sarsa),
}


@pytest.mark.parametrize("name", ERRORS)
def test_td_errors_of_scalar_heads_agree(name, rng):
    options, error = ERRORS[name]
    loss, oracle = evaluate(heads.scalar(), **options), jax.jit(error)
    for params, target_params, step in cases(rng, 1):
        value, info = loss(params, target_params, step)
        expected = oracle(params[..., 0], target_params[..., 0], step)
        np.testing.assert_allclose(info.priority, abs(expected), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(value, expected**2 / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("double", "low"), [(False, -2.0), (True, 0.0)])
def test_categorical_losses_agree(double, low, rng):
    atoms = jnp.linspace(low, 2.0, 7)
    loss = evaluate(categorical.categorical(7, low, 2.0), double=double)

    @jax.jit
    def oracle(params, target_params, s):
        next_logits = target_params[s.next_observation]
        first = (atoms, params[s.observation], s.action, s.reward, s.discount)
        if double:
            selector = jax.nn.softmax(params[s.next_observation]) @ atoms
            return rlax.categorical_double_q_learning(
                *first, atoms, next_logits, selector
            )
        return rlax.categorical_q_learning(*first, atoms, next_logits)

    for params, target_params, step in cases(rng, 7):
        value, _ = loss(params, target_params, step)
        expected = oracle(params, target_params, step)
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_categorical_projections_agree(rng):
    atoms = jnp.linspace(-1.0, 3.0, 9)
    backup = jax.jit(categorical.categorical(9, -1.0, 3.0).backup)
    project = jax.jit(rlax.categorical_l2_project)
    for _ in range(CASES):
        logits, reward = floats(rng, 9), 2 * floats(rng)
        expected = project(reward + 0.9 * atoms, jax.nn.softmax(logits), atoms)
        np.testing.assert_allclose(backup(reward, 0.9, logits), expected, atol=1e-5)


@pytest.mark.parametrize(("delta", "double"), [(0.3, False), (1.0, True)])
def test_quantile_losses_agree(delta, double, rng):
    """Up to the division by delta of the paper's equation 10, which rlax omits."""
    fraction = (jnp.arange(6) + 0.5) / 6
    loss = evaluate(heads.quantile(6, delta), double=double)

    @jax.jit
    def oracle(params, target_params, s):
        select = params if double else target_params
        return rlax.quantile_q_learning(
            params[s.observation].T,
            fraction,
            s.action,
            s.reward,
            s.discount,
            select[s.next_observation].T,
            target_params[s.next_observation].T,
            delta,
        )

    for params, target_params, step in cases(rng, 6):
        value, _ = loss(params, target_params, step)
        expected = oracle(params, target_params, step) / delta
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_quantile_losses_at_any_fractions_agree(rng):
    loss = jax.jit(heads.quantile_loss)
    oracle = jax.jit(lambda *inputs: rlax.quantile_regression_loss(*inputs, 0.4))
    for _ in range(CASES):
        value, samples = floats(rng, 5), floats(rng, 8)
        fraction = np.sort(rng.random(5)).astype(np.float32)
        target = QuantileTarget(samples, jnp.full(8, 1 / 8))
        result, _ = loss(value, fraction, target, 0.4)
        expected = oracle(value, fraction, samples) / 0.4
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_value_rescalings_agree():
    """Near zero in float64 only, because of cancellation in rlax."""
    sizes = np.geomspace(0.1, 1e5, 100)
    x = jnp.asarray(np.concatenate([-sizes, sizes]), jnp.float32)
    rescale, unrescale = jax.jit(rescaling.rescale), jax.jit(rescaling.unrescale)
    expected = jax.jit(rlax.signed_hyperbolic)(x, 1e-3)
    np.testing.assert_allclose(rescale(x), expected, rtol=1e-5)
    with jax.enable_x64(True):
        y = jnp.asarray(np.concatenate([-sizes, [0.0], sizes]), jnp.float64)
        expected = jax.jit(rlax.signed_parabolic)(y, 1e-3)
        np.testing.assert_allclose(unrescale(y), expected, rtol=1e-9)
        expected = jax.jit(rlax.signed_hyperbolic)(y, 1e-3)
        np.testing.assert_allclose(rescale(y), expected, rtol=1e-12)


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0, "varying"])
def test_lambda_returns_without_truncation_agree(trace, rng):
    lambda_returns = jax.jit(returns.lambda_returns)
    oracle = jax.jit(rlax.lambda_returns)
    for _ in range(CASES):
        reward, value = floats(rng, 15), floats(rng, 15)
        discount = jnp.asarray(0.9 * (rng.random(15) > 0.2), jnp.float32)
        weight = jnp.asarray(
            rng.random(15) if trace == "varying" else trace, jnp.float32
        )
        result = lambda_returns(reward, discount, jnp.zeros(15, bool), value, weight)
        expected = oracle(reward, discount, value, weight)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def squashing():
    """R2D2's transformation of values, which rlax inverts exactly in float64."""
    return rlax.TxPair(
        lambda x: rlax.signed_hyperbolic(x, 1e-3),
        lambda x: rlax.signed_parabolic(x, 1e-3),
    )


@pytest.mark.parametrize("rescaled", [False, True])
def test_retrace_errors_agree(rescaled, rng):
    """At every suffix of a window, whose first error is that of rlax at its start."""
    n, lambda_ = 6, 0.9
    loss = off_policy.corrected_loss(
        table_network(heads.scalar(rescaled=rescaled)),
        off_policy.Correction("retrace", lambda_),
        bootstrap_policy=losses.epsilon_greedy,
    )
    loss = jax.jit(loss)
    for _ in range(3):
        tables = floats(rng, 2, definitions.STATES, definitions.ACTIONS, 1)
        state = rng.integers(definitions.STATES, size=n + 1)
        action = rng.integers(definitions.ACTIONS, size=n + 1)
        reward, behaviour = floats(rng, n), rng.uniform(0.1, 1.0, n).astype("f")
        discount = np.float32(0.9 * (rng.random(n) > 0.2))
        values = tables[1][state[1:], :, 0]
        plain = heads.unrescale(values) if rescaled else values
        policy = jax.vmap(exploration.epsilon_greedy_policy, (0, None))(plain, 0.3)
        with jax.enable_x64(True):
            inputs = (
                tables[0][state[:-1], :, 0], values, action[:-1], action[1:], reward,
                discount, policy, behaviour,
            )  # fmt: skip
            inputs = [
                jnp.asarray(x, jnp.int32 if x.dtype == int else jnp.float64)
                for x in map(np.asarray, inputs)
            ]
            oracle = rlax.transformed_retrace if rescaled else rlax.retrace
            options = {"tx_pair": squashing()} if rescaled else {}
            expected = oracle(*inputs, lambda_, **options)
        for k in range(n):
            window = off_policy.Window(
                observation=state[k],
                action=action[k],
                reward=reward[k:],
                discount=discount[k:],
                continues=np.arange(k, n) < n - 1,
                next_observation=state[k + 1 :],
                next_action=action[k + 1 :],
                next_probability=behaviour[k:],
                epsilon=np.float32(0.3),
            )
            _, info = loss(jax.random.key(0), *tables, window)
            np.testing.assert_allclose(info.priority, abs(expected[k]), rtol=1e-3)


@pytest.mark.parametrize("name", ["tree_backup", "q_lambda"])
def test_off_policy_returns_agree(name, rng):
    """Harutyunyan's Q(lambda), whose trace never ends, as well."""
    oracle = jax.jit(rlax.general_off_policy_returns_from_action_values)
    result = jax.jit(off_policy.off_policy_return)
    for _ in range(CASES):
        q_values, reward = floats(rng, 5, 3), floats(rng, 5)
        policy = np.float32(rng.dirichlet(np.ones(3), 5))
        action = rng.integers(3, size=5).astype(np.int32)
        discount = np.float32(0.9 * (rng.random(5) > 0.2))
        taken, probability = q_values[range(5), action], policy[range(5), action]
        trace = probability if name == "tree_backup" else np.full(5, 0.7, np.float32)
        expected = oracle(q_values, action, reward, discount, trace, policy)
        next_value = np.sum(policy * q_values, axis=1)
        returned = result(reward, discount, trace, next_value, taken)
        np.testing.assert_allclose(returned, expected[0], rtol=1e-4, atol=1e-5)
