"""The textbook's environments against their descriptions and exact values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq.envs import adapter, sutton_barto

UP, RIGHT, DOWN, LEFT = range(4)
START, GOAL = 36, 47
CLIFF = range(37, 47)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def cliff():
    """(successor, next observation, reward, terminated), each [48, 4]."""
    env = sutton_barto.CliffWalking()

    def step(number, action):
        state = sutton_barto.State(number, jnp.int32(0))
        observation, following, reward, terminated, truncated, info = env.step(
            KEY, state, action, env.default_params
        )
        successor = info["final_observation"]
        return successor, observation, following, reward, terminated, truncated

    all_steps = jax.vmap(jax.vmap(step, (None, 0)), (0, None))
    out = jax.jit(all_steps)(jnp.arange(48), jnp.arange(4))
    successor, observation, following, reward, terminated, truncated = out
    assert (following.number == observation).all()
    assert (following.time == jnp.where(terminated, 0, 1)).all()
    assert not truncated.any()
    return tuple(np.asarray(x) for x in (successor, observation, reward, terminated))


def walk(env, actions, **changes):
    """(observation, final observation, reward, terminated, truncated) of each step."""
    params = env.default_params.replace(**changes)
    step = jax.jit(env.step)
    _, state = env.reset(KEY, params)
    steps = []
    for action in actions:
        observation, state, reward, terminated, truncated, info = step(
            KEY, state, jnp.int32(action), params
        )
        final = info["final_observation"]
        steps.append((observation, final, reward, terminated, truncated))
    return [tuple(np.asarray(x).item() for x in row) for row in steps]


def optimal_q_values(cliff):
    successor, _, reward, terminated = cliff
    q_values = np.zeros((48, 4))
    for _ in range(100):
        next_values = np.where(terminated, 0.0, q_values.max(axis=1)[successor])
        q_values = reward + next_values
    return q_values


def test_the_shortest_path_along_the_cliff_has_13_steps():
    path = walk(sutton_barto.CliffWalking(), [UP] + 11 * [RIGHT] + [DOWN])
    assert len(path) == 13
    assert sum(reward for _, _, reward, _, _ in path) == -13
    assert [final for _, final, *_ in path] == [*range(24, 36), GOAL]
    assert [terminated for *_, terminated, _ in path] == 12 * [False] + [True]
    assert path[-1][:2] == (START, GOAL)


def test_a_new_episode_starts_after_the_goal():
    path = walk(sutton_barto.CliffWalking(), [UP] + 11 * [RIGHT] + [DOWN, UP])
    assert path[-1] == (24, 24, -1.0, False, False)


def test_falling_costs_100_and_returns_to_the_start_without_ending_the_episode(cliff):
    successor, observation, reward, terminated = cliff
    falls = [(24 + column, DOWN) for column in range(1, 11)] + [(START, RIGHT)]
    for number, action in falls:
        assert successor[number, action] == observation[number, action] == START
        assert reward[number, action] == -100
        assert not terminated[number, action]
    cells = [n for n in range(48) if n not in CLIFF and n != GOAL]
    assert (reward[cells] == -100).sum() == len(falls)
    assert set(np.unique(reward)) == {-100, -1}
    assert not set(successor.ravel().tolist()) & set(CLIFF)


def test_moves_off_the_grid_have_no_effect(cliff):
    successor = cliff[0]
    assert (successor[:12, UP] == np.arange(12)).all()
    assert (successor[[11, 23, 35], RIGHT] == [11, 23, 35]).all()
    assert (successor[[0, 12, 24, 36], LEFT] == [0, 12, 24, 36]).all()
    assert successor[START, DOWN] == START
    assert successor[17].tolist() == [5, 18, 29, 16]


def test_only_the_goal_ends_an_episode_of_the_cliff(cliff):
    successor, observation, _, terminated = cliff
    assert (terminated == (successor == GOAL)).all()
    assert terminated[35, DOWN]
    assert (observation[terminated] == START).all()


def test_a_time_limit_truncates_the_cliff():
    path = walk(sutton_barto.CliffWalking(), 3 * [UP], max_steps_in_episode=2)
    assert path == [
        (24, 24, -1.0, False, False),
        (START, 12, -1.0, False, True),
        (24, 24, -1.0, False, False),
    ]


def test_the_optimal_return_of_the_cliff_is_minus_13(cliff):
    assert optimal_q_values(cliff)[START].max() == -13


def test_epsilon_greedy_with_optimal_values_has_the_known_return_on_the_cliff(cliff):
    # -50.800047666768926 was computed independently, by dynamic programming on a NumPy
    # model written from the description of Example 6.6.
    successor, _, reward, terminated = cliff
    q_values = optimal_q_values(cliff)
    maximal = q_values == q_values.max(axis=1, keepdims=True)
    policy = 0.9 * maximal / maximal.sum(axis=1, keepdims=True) + 0.1 / 4
    continues = np.zeros((48, 48))
    for action in range(4):
        probability = policy[:, action] * ~terminated[:, action]
        np.add.at(continues, (np.arange(48), successor[:, action]), probability)
    values = np.linalg.solve(np.eye(48) - continues, (policy * reward).sum(axis=1))
    np.testing.assert_allclose(values[START], -50.800047666768926, rtol=1e-9)


MAZE = """
.......WG
..W....W.
S.W....W.
..W......
.....W...
.........
"""


def test_every_step_in_the_maze_is_that_of_its_picture():
    env, rows = sutton_barto.DynaMaze(), MAZE.split()
    moves = {UP: (-1, 0), RIGHT: (0, 1), DOWN: (1, 0), LEFT: (0, -1)}
    step = jax.jit(env.step)
    cells = [(i, j) for i in range(6) for j in range(9) if rows[i][j] != "W"]
    for i, j in cells:
        assert (rows[i][j] == "S") == (9 * i + j == env.start)
        for action, (di, dj) in moves.items():
            to = (i + di, j + dj) if (i + di, j + dj) in cells else (i, j)
            state = sutton_barto.State(jnp.int32(9 * i + j), jnp.int32(0))
            _, _, reward, terminated, _, info = step(
                KEY, state, jnp.int32(action), env.default_params
            )
            goal = rows[to[0]][to[1]] == "G"
            assert info["final_observation"] == 9 * to[0] + to[1]
            assert (reward, terminated) == (float(goal), goal)


def test_the_shortest_way_through_the_maze_has_14_steps():
    rows, frontier, steps = MAZE.split(), {(2, 0)}, 0
    while not any(rows[i][j] == "G" for i, j in frontier):
        frontier |= {
            (i + di, j + dj)
            for i, j in frontier
            for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1))
            if 0 <= i + di < 6 and 0 <= j + dj < 9 and rows[i + di][j + dj] != "W"
        }
        steps += 1
    assert steps == 14


@pytest.mark.parametrize("action", range(10))
def test_only_left_in_a_leads_to_b_and_all_else_terminates(action):
    env = sutton_barto.MaximizationBias()
    [(observation, final, reward, terminated, truncated)] = walk(env, [action])
    assert reward == 0 and not truncated
    if action == 0:
        assert (observation, final, terminated) == (1, 1, False)
    else:
        assert (observation, final, terminated) == (0, 2, True)
    _, (observation, final, reward, terminated, truncated) = walk(env, [0, action])
    assert (observation, final, terminated, truncated) == (0, 2, True, False)
    assert reward != 0


def test_rewards_in_b_are_normal_with_mean_minus_0_1_and_variance_1():
    env = sutton_barto.MaximizationBias()
    state = sutton_barto.State(jnp.int32(1), jnp.int32(1))
    count = 20_000

    def reward(key, action):
        return env.step(key, state, action, env.default_params)[2]

    keys = jax.random.split(jax.random.key(1), count)
    rewards = np.asarray(jax.jit(jax.vmap(reward))(keys, jnp.arange(count) % 10))
    standard_error = 1 / np.sqrt(count)
    assert abs(rewards.mean() + 0.1) < 4 * standard_error
    assert abs(rewards.std() - 1) < 4 * standard_error / np.sqrt(2)
    by_action = rewards.reshape(-1, 10)
    assert np.abs(by_action.mean(axis=0) + 0.1).max() < 4 * standard_error * np.sqrt(10)


def test_a_has_two_valid_actions_and_b_ten():
    mask = jax.vmap(sutton_barto.MaximizationBias().action_mask)(jnp.arange(3))
    assert mask.dtype == bool
    assert mask.tolist() == [2 * [True] + 8 * [False], 10 * [True], 10 * [True]]


@pytest.mark.parametrize(
    ("env", "num_states", "num_actions"),
    [(sutton_barto.CliffWalking(), 48, 4), (sutton_barto.MaximizationBias(), 3, 10)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_textbook_environments_are_adapted_with_their_state_numbers(
    env, num_states, num_actions
):
    adapted = adapter.adapt(env)
    spec = adapted.spec
    assert (spec.name, spec.num_states) == (env.name, num_states)
    assert (spec.num_categories, spec.num_actions) == (num_states, num_actions)
    assert spec.observation == jax.ShapeDtypeStruct((), jnp.int32)
    assert adapted.time_limit == 2**30
    assert [int(spec.state_index(n)) for n in range(num_states)] == [*range(num_states)]
    state = jax.jit(adapted.reset)(KEY)
    assert state.observation == env.start
    state, step = jax.jit(adapted.step)(KEY, state, jnp.int32(0))
    assert step.next_observation == state.observation == (24 if num_actions == 4 else 1)
    assert step.reward.dtype == jnp.float32
    assert not step.terminated and not step.truncated
