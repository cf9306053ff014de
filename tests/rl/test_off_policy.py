"""Corrected returns against sums of traced TD errors, and their fixed points."""

import itertools

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import streams
from definitions import ACTIONS, STATES, table_network

from jaxq.replay import ring, transition_readers
from jaxq.rl import losses, off_policy
from jaxq.types import Step

ESTIMATORS = tuple(off_policy.TRACES)
GAMMA, LAMBDA, EPSILON = 0.9, 0.8, 0.3
TIME, ENVS = 40, 2


def random_steps(rng):
    """Steps [T, E] between numbered states, with a probability for every action."""
    steps = streams.random_rollout(rng, TIME, ENVS, STATES)
    probability = rng.uniform(0.05, 1.0, (TIME, ENVS)).astype(np.float32)
    return steps._replace(action_probability=probability)


def target_policy(name, q_values):
    epsilon = 0.0 if name == "max" else EPSILON
    return definitions.epsilon_greedy(q_values, epsilon)


def plain_return(steps, t, e, n, evaluate, policy, estimator, in_ring):
    """Q(s, a) plus the sum of discounted and traced TD errors, term by term.

    None for a truncated step in a ring, which does not hold its successor.

    Args:
        evaluate, policy: [S, A].
        in_ring: whether a window ends before a truncated step, not after it.
    """
    if in_ring and steps.truncated[t, e]:
        return None
    value = np.sum(policy * evaluate, axis=1)
    first = evaluate[steps.observation[t, e], steps.action[t, e]]
    total, weight = first, 1.0
    for k in range(t, t + n):
        state, action = steps.observation[k, e], steps.action[k, e]
        baseline = evaluate[state, action]
        if estimator == "peng" and k > t:
            baseline = value[state]
        error = steps.reward[k, e] - baseline
        if not steps.terminated[k, e]:
            error += GAMMA * value[steps.next_observation[k, e]]
        total += weight * error
        if steps.terminated[k, e] or k == t + n - 1:
            break
        if steps.truncated[k + 1, e] if in_ring else steps.truncated[k, e]:
            break
        pi = policy[steps.observation[k + 1, e], steps.action[k + 1, e]]
        mu = steps.action_probability[k + 1, e]
        trace = {"retrace": min(1.0, pi / mu), "tree_backup": pi, "peng": 1.0}
        weight *= GAMMA * LAMBDA * trace[estimator]
    return total


def compiled_loss(head, estimator, policy="max", lambda_=LAMBDA, **options):
    """(params, target_params, windows[B]) -> (loss[B], LossInfo[B])."""
    correction = off_policy.Correction(estimator, jnp.float32(lambda_))
    loss = off_policy.corrected_loss(
        table_network(head),
        correction,
        bootstrap_policy=losses.BOOTSTRAP_POLICIES[policy],
        **options,
    )
    return jax.jit(jax.vmap(loss, in_axes=(None, None, None, 0)))


def with_epsilon(windows):
    size = windows.action.size
    return windows._replace(epsilon=jnp.full(size, EPSILON, jnp.float32))


def true_windows(steps, n):
    """Windows with true successors; leading axis [(T - n) E]."""
    times, envs = np.meshgrid(np.arange(TIME - n), np.arange(ENVS), indexing="ij")
    rows = times.reshape(-1, 1) + np.arange(n)
    part = jax.tree.map(lambda leaf: leaf[rows, envs.reshape(-1, 1)], steps)
    return jax.vmap(lambda window: off_policy.window(window, jnp.float32(GAMMA)))(part)


def ring_of(steps, probability=True):
    """A ring that holds all steps."""
    if not probability:
        steps = steps._replace(action_probability=None)
    example = jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), steps)
    empty = ring.init(example, TIME, ENVS, ACTIONS)
    return ring.add(empty, jax.tree.map(jnp.asarray, steps))


def read_all(reader, state, n):
    rows, envs = np.meshgrid(np.arange(TIME - n), np.arange(ENVS), indexing="ij")
    return ring.gather(
        state, reader, jnp.asarray(rows.reshape(-1)), jnp.asarray(envs.reshape(-1))
    )


def ring_windows(steps, n):
    """Windows as a replay ring yields them, and their weights."""
    reader = transition_readers.windows(jnp.int32(0), n, jnp.float32(GAMMA))
    sample = read_all(reader, ring_of(steps), n)
    return sample.example, np.asarray(sample.weight)


HEADS = {
    "squared": (definitions.scalar(), 1),
    "rescaled": (definitions.scalar(rescaled=True), 1),
    "two_hot": (definitions.two_hot(9, -5.0, 5.0), 9),
    "hl_gauss": (definitions.hl_gauss(8, -5.0, 5.0), 8),
}
SETTINGS = (
    ("retrace", "expected_sarsa", False),
    ("retrace", "max", True),
    ("tree_backup", "expected_sarsa", True),
    ("tree_backup", "max", False),
    ("peng", "expected_sarsa", True),
    ("peng", "max", False),
)
CASES = [("squared", 5, SETTINGS), ("squared", 2, SETTINGS[:1])]
CASES += [(name, 3, SETTINGS[:1]) for name in ("rescaled", "two_hot", "hl_gauss")]


@pytest.mark.parametrize("in_ring", [False, True])
@pytest.mark.parametrize(("head_name", "n", "settings"), CASES)
def test_the_loss_equals_explicit_sums(head_name, n, settings, in_ring, rng, strict):
    plain, outputs = HEADS[head_name]
    for estimator, policy, double in settings:
        loss = compiled_loss(plain.head, estimator, policy, double=double)
        steps = random_steps(rng)
        tables = definitions.tables(rng, outputs)
        if in_ring:
            windows, weights = ring_windows(steps, n)
        else:
            windows, weights = true_windows(steps, n), np.ones((TIME - n) * ENVS)
        value, info = loss(
            jax.random.key(0), *np.float32(tables), with_epsilon(windows)
        )
        online, evaluate = (
            np.array([plain.q_values(row) for row in table]) for table in tables
        )
        select = online if double else evaluate
        pi = np.array([target_policy(policy, row) for row in select])
        for i, (t, e) in enumerate(np.ndindex(TIME - n, ENVS)):
            expected = plain_return(steps, t, e, n, evaluate, pi, estimator, in_ring)
            if expected is None:
                assert weights[i] == 0
                continue
            assert weights[i] == 1
            output = tables[0][steps.observation[t, e], steps.action[t, e]]
            target = plain.backup(expected, 0.0, output)
            expected_loss, priority = plain.loss(output, target)
            close = {"rtol": 2e-3, "atol": 2e-4}
            np.testing.assert_allclose(value[i], expected_loss, **close)
            np.testing.assert_allclose(info.priority[i], priority, **close)


@pytest.mark.parametrize("double", [False, True])
def test_peng_without_decay_is_the_uncorrected_n_step_return(double, rng):
    n, plain = 4, definitions.scalar()
    steps = random_steps(rng)
    tables = np.float32(definitions.tables(rng, 1))
    reader = transition_readers.transitions(jnp.int32(0), n, jnp.float32(GAMMA))
    transitions = read_all(reader, ring_of(steps), n)
    windows, weights = ring_windows(steps, n)
    np.testing.assert_array_equal(transitions.weight, weights)
    td_loss = losses.td_loss(table_network(plain.head), double)
    _, uncorrected = jax.jit(jax.vmap(td_loss, (None, None, None, 0)))(
        jax.random.key(0), *tables, transitions.example
    )
    peng = compiled_loss(plain.head, "peng", lambda_=1.0, double=double)
    _, corrected = peng(jax.random.key(0), *tables, windows)
    np.testing.assert_allclose(corrected.priority, uncorrected.priority, atol=1e-5)
    _, decayed = compiled_loss(plain.head, "peng", double=double)(
        jax.random.key(0), *tables, windows
    )
    assert np.abs(decayed.priority - uncorrected.priority).max() > 0.1


@pytest.mark.parametrize("estimator", ["tree_backup", "retrace"])
def test_with_a_greedy_policy_the_return_ends_before_a_non_greedy_action(
    estimator, rng
):
    """This is Watkins's Q(1): retrace and tree backup coincide, whatever mu is."""
    n, plain = 5, definitions.scalar()
    steps = random_steps(rng)
    tables = definitions.tables(rng, 1)
    evaluate = tables[1][..., 0]
    is_greedy = steps.action == np.argmax(evaluate, axis=1)[steps.observation]

    def watkins(t, e, last):
        value = np.max(evaluate[steps.next_observation[t, e]])
        if steps.terminated[t, e]:
            value = 0.0
        elif t < last and not steps.truncated[t, e] and is_greedy[t + 1, e]:
            value = watkins(t + 1, e, last)
        return steps.reward[t, e] + GAMMA * value

    windows = true_windows(steps, n)
    loss = compiled_loss(plain.head, estimator, lambda_=1.0)
    for probability in (windows.next_probability, None):
        if estimator == "tree_backup" or probability is None:
            windows = windows._replace(next_probability=None)
        _, info = loss(jax.random.key(0), *np.float32(tables), windows)
        for i, (t, e) in enumerate(np.ndindex(TIME - n, ENVS)):
            estimate = tables[0][steps.observation[t, e], steps.action[t, e], 0]
            error = abs(watkins(t, e, t + n - 1) - estimate)
            np.testing.assert_allclose(info.priority[i], error, rtol=1e-4, atol=1e-5)


def test_the_target_receives_no_gradient(rng):
    """Not even through the online parameters that select its actions."""
    head = definitions.scalar().head
    loss = off_policy.corrected_loss(
        table_network(head), off_policy.Correction("retrace", LAMBDA), double=True
    )
    windows = true_windows(random_steps(rng), 3)
    tables = np.float32(definitions.tables(rng, 1))
    gradient = jax.grad(lambda *args: loss(*args)[0], argnums=(1, 2))
    online, target = jax.jit(jax.vmap(gradient, (None, None, None, 0)))(
        jax.random.key(0), *tables, windows
    )
    assert not np.any(target)
    for i, row in enumerate(np.asarray(online)):
        entries = np.argwhere(row)
        expected = [[windows.observation[i], windows.action[i], 0]]
        np.testing.assert_array_equal(entries, expected)


def test_invalid_actions_of_a_successor_do_not_matter(rng):
    """Where a window has ended, the action taken next may have the value -infinity."""
    steps = random_steps(rng)
    windows = true_windows(steps, 3)
    q_values = rng.normal(size=(*windows.next_action.shape, ACTIONS))
    ended = ~np.asarray(windows.continues)
    taken = np.asarray(windows.next_action)[..., None] == np.arange(ACTIONS)
    masked = np.where(ended[..., None] & taken, -np.inf, q_values)
    masked[..., 0] = np.where(np.isinf(masked).all(-1), 0.0, masked[..., 0])

    def returns(estimator):
        def one(window, q_values):
            policy = jax.vmap(losses.greedy, in_axes=(None, 0))(window, q_values)
            correction = off_policy.Correction(estimator, LAMBDA)
            return off_policy.corrected_return(window, q_values, policy, correction)

        return jax.jit(jax.vmap(one))(windows, jnp.float32(masked))

    for estimator in ESTIMATORS:
        assert np.all(np.isfinite(returns(estimator)))


# A small MDP with exact expectations over all trajectories of n steps.
N, NUM_STATES, NUM_ACTIONS = 3, 3, 2


def random_mdp(rng):
    """Transition probabilities [S, A, S], rewards [S, A], behaviour policy [S, A]."""
    transition = rng.dirichlet(np.full(NUM_STATES, 0.3), (NUM_STATES, NUM_ACTIONS))
    reward = rng.normal(size=(NUM_STATES, NUM_ACTIONS))
    behaviour = rng.dirichlet(np.ones(NUM_ACTIONS), NUM_STATES)
    return transition, reward, behaviour


def trajectories(transition, reward, behaviour):
    """All windows of N steps, with first state and action, and their probabilities."""
    pairs = list(itertools.product(range(NUM_STATES), range(NUM_ACTIONS)))
    rows, probabilities = [], []
    for path in itertools.product(pairs, repeat=N):
        for last in range(NUM_STATES):
            states = [state for state, _ in path] + [last]
            actions = [action for _, action in path] + [0]
            p = transition[states[N - 1], actions[N - 1], last]
            for k in range(N - 1):
                p *= transition[states[k], actions[k], states[k + 1]]
                p *= behaviour[states[k + 1], actions[k + 1]]
            if p > 0:
                rows.append((states, actions))
                probabilities.append(p)
    states, actions = (np.array(x) for x in zip(*rows, strict=True))
    next_probability = behaviour[states[:, 1:], actions[:, 1:]]
    windows = off_policy.Window(
        observation=states[:, 0],
        action=actions[:, 0],
        reward=reward[states[:, :-1], actions[:, :-1]],
        discount=np.full((len(rows), N), GAMMA),
        continues=np.broadcast_to(np.arange(N) < N - 1, (len(rows), N)),
        next_observation=states[:, 1:],
        next_action=actions[:, 1:],
        next_probability=next_probability,
        epsilon=np.full(len(rows), EPSILON),
    )
    return windows, np.array(probabilities)


def fixed_point(estimator, policy, windows, probabilities, lambda_=0.9):
    """Limit [S, A] of the expected return, as the new estimate of every pair."""
    correction = off_policy.Correction(estimator, lambda_)

    def one(window, q_values):
        q_values = q_values[window.next_observation]
        pi = jax.vmap(losses.BOOTSTRAP_POLICIES[policy], (None, 0))(window, q_values)
        return off_policy.corrected_return(window, q_values, pi, correction)

    @jax.jit
    def operator(q_values):
        returns = jax.vmap(one, in_axes=(0, None))(windows, q_values)
        entries = windows.observation, windows.action
        return jnp.zeros_like(q_values).at[entries].add(probabilities * returns)

    q_values = jnp.zeros((NUM_STATES, NUM_ACTIONS))
    for _ in range(250):
        q_values = operator(q_values)
    np.testing.assert_allclose(operator(q_values), q_values, atol=1e-4)
    return np.asarray(q_values)


def optimum(transition, reward, policy):
    """Values [S, A] of the target policy, which is greedy but for epsilon."""
    q_values = np.zeros((NUM_STATES, NUM_ACTIONS))
    for _ in range(500):
        pi = np.array([target_policy(policy, row) for row in q_values])
        q_values = reward + GAMMA * transition @ np.sum(pi * q_values, axis=1)
    return q_values


@pytest.mark.parametrize("policy", ["max", "expected_sarsa"])
def test_the_fixed_point_is_that_of_the_target_policy_if_the_trace_corrects(
    policy, rng
):
    """Off-policy, uncorrected returns have another fixed point: peng with lambda 1."""
    mdp = random_mdp(rng)
    windows, probabilities = trajectories(*mdp)
    sums = np.zeros((NUM_STATES, NUM_ACTIONS))
    np.add.at(sums, (windows.observation, windows.action), probabilities)
    np.testing.assert_allclose(sums, 1.0)
    best = optimum(*mdp[:2], policy)
    windows, probabilities = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32 if x.dtype == np.float64 else None),
        (windows, probabilities),
    )
    for estimator in ("retrace", "tree_backup"):
        found = fixed_point(estimator, policy, windows, probabilities)
        np.testing.assert_allclose(found, best, atol=2e-3)
    for lambda_ in (1.0, 0.9):
        uncorrected = fixed_point("peng", policy, windows, probabilities, lambda_)
        assert np.abs(uncorrected - best).max() > 0.1


def test_a_step_without_probabilities_makes_a_window_without():
    steps = Step(
        *(jnp.zeros(3, int), jnp.zeros(3, int), jnp.zeros(3)),
        *(jnp.zeros(3, bool), jnp.zeros(3, bool), jnp.zeros(3, int)),
    )
    assert off_policy.window(steps, 0.9).next_probability is None
