"""Exact models of the small environments of gymnax, as Markov decision processes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs import gymnax_env, gymnax_facts
from jaxq.envs.mdp import MDP
from jaxq.types import PyTree


def from_config(config: Config) -> MDP:
    """Model of the environment that a configuration names.

    Raises:
        ConfigError: if it has no exact model.
    """
    altered = config.sticky_actions or config.timeout_is_terminal
    if config.environment not in _MODELS or altered:
        known = ", ".join(_MODELS)
        raise ConfigError(
            f"environment = {config.environment!r} has no exact model. Those with one, "
            "as long as sticky_actions and timeout_is_terminal are not set, are: "
            f"{known}."
        )
    base = gymnax_env.build(
        config.environment, config.environment_args, time_limit=config.time_limit
    )
    return _MODELS[config.environment](base.env, base.params)


class _Outcomes(NamedTuple):
    """Outcome of each action in each state, in a deterministic environment."""

    successor: np.ndarray  # [S, A] int
    reward: np.ndarray  # [S, A] float
    terminated: np.ndarray  # [S, A] bool


def _tabulate(
    env: Any, params: Any, index: Callable[[Any], Any], num_states: int, states: PyTree
) -> _Outcomes:
    """Tabulate the step function of a deterministic environment.

    Args:
        env: a gymnax environment.
        params: its parameters.
        index: observation -> state number.
        num_states: S.
        states: environment states, stacked along a leading axis; state numbers that
            do not occur among them get zeros.
    """
    actions = jnp.arange(env.num_actions)
    key = jax.random.key(0)

    def step(state: PyTree, action: jax.Array) -> tuple[Any, ...]:
        observation, _, reward, terminated, _ = env.step_env(key, state, action, params)
        return index(observation), jnp.float32(reward), terminated

    def row(state: PyTree) -> Any:
        return index(env.observe(key, state, None, params))

    rows = jax.jit(jax.vmap(row))(states)
    outcomes = jax.jit(jax.vmap(jax.vmap(step, (None, 0)), (0, None)))(states, actions)
    shape = (num_states, env.num_actions)
    tables = _Outcomes(*(np.zeros(shape, dtype) for dtype in (int, float, bool)))
    for table, values in zip(tables, outcomes, strict=True):
        table[np.asarray(rows)] = values
    return tables


def _mix(
    outcomes: _Outcomes, execution: np.ndarray, start: np.ndarray, limit: int
) -> MDP:
    """Model in which the chosen action a is replaced by b at random.

    Args:
        outcomes: of the executed actions.
        execution: [A, A] probability that b is executed when a is chosen.
        start: [S] distribution of the initial state.
        limit: time limit, steps.
    """
    num_states, num_actions = outcomes.reward.shape
    transition = np.zeros((num_states, num_actions, num_states))
    reward = np.zeros((num_states, num_actions))
    states = np.arange(num_states)
    for action in range(num_actions):
        for executed, probability in enumerate(execution[action]):
            continues = probability * ~outcomes.terminated[:, executed]
            transition[states, action, outcomes.successor[:, executed]] += continues
            reward[:, action] += probability * outcomes.reward[:, executed]
    return MDP(transition, reward, start, limit)


def _grid(fresh: PyTree, **axes: range) -> PyTree:
    """States for all combinations of values of some fields, stacked."""
    grids = np.meshgrid(*axes.values(), indexing="ij")
    values = {name: jnp.asarray(g.ravel()) for name, g in zip(axes, grids, strict=True)}
    count = grids[0].size
    tiled = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))), fresh
    )
    return tiled.replace(**values)


def _frozen_lake(env: Any, params: Any) -> MDP:
    execution = intended = np.eye(env.num_actions)
    if env.is_slippery:
        sideways = np.roll(intended, 1, axis=1) + np.roll(intended, -1, axis=1)
        slip_rate = (1 - env.success_rate) / 2  # to either side
        execution = env.success_rate * intended + slip_rate * sideways
    deterministic = type(env)(
        _frozen_map(env), is_slippery=False, reward_schedule=tuple(env.reward_schedule)
    )
    _, fresh = env.reset_env(jax.random.key(0), params)
    states = _grid(fresh, position=range(env.n_states))
    outcomes = _tabulate(
        deterministic, params, lambda position: position, env.n_states, states
    )
    start = np.eye(env.n_states)[int(fresh.position)]
    return _mix(outcomes, execution, start, int(params.max_steps_in_episode))


def _frozen_map(env: Any) -> list[str]:
    """Rows of the map as letters, the form in which the constructor accepts it."""
    from gymnax.environments.misc import frozen_lake

    letters = {
        getattr(frozen_lake, name): name[0]
        for name in ("START", "FROZEN", "HOLE", "GOAL")
    }
    return ["".join(letters[int(tile)] for tile in row) for row in np.asarray(env.desc)]


def _four_rooms(env: Any, params: Any) -> MDP:
    if params.resample_goal_pos or params.resample_init_pos or env.use_visual_obs:
        raise ConfigError(
            "FourRooms-misc: an exact model needs fixed start and goal "
            "positions and symbolic observations."
        )
    table = gymnax_facts.table_index("FourRooms-misc", env, params)
    assert table is not None
    _, fresh = env.reset_env(jax.random.key(0), params)
    cells = jnp.asarray(env.coords)
    states = jax.vmap(lambda pos: fresh.replace(pos=pos))(cells)
    deterministic = params.replace(fail_prob=0.0)
    outcomes = _tabulate(env, deterministic, table.row, table.num_states, states)
    # The rate at which gymnax replaces the action by a uniform one, perhaps the same.
    random_rate = min(1.0, params.fail_prob * 4 / 3)
    execution = (1 - random_rate) * np.eye(4) + random_rate / 4
    start = np.eye(table.num_states)[int(table.row(env.get_obs(fresh)))]
    return _mix(outcomes, execution, start, int(params.max_steps_in_episode))


def _deep_sea(env: Any, params: Any) -> MDP:
    if not params.deterministic or params.sample_action_map:
        raise ConfigError(
            "DeepSea-bsuite: an exact model needs deterministic = True and "
            "sample_action_map = False."
        )
    table = gymnax_facts.table_index("DeepSea-bsuite", env, params)
    assert table is not None
    _, fresh = env.reset_env(jax.random.key(0), params)
    states = _grid(fresh, row=range(env.size), column=range(env.size))
    outcomes = _tabulate(env, params, table.row, table.num_states, states)
    start = np.eye(table.num_states)[0]
    return _mix(outcomes, np.eye(2), start, int(params.max_steps_in_episode))


def _catch(env: Any, params: Any) -> MDP:
    table = gymnax_facts.table_index("Catch-bsuite", env, params)
    assert table is not None
    _, fresh = env.reset_env(jax.random.key(0), params)
    columns = range(env.columns)
    states = _grid(fresh, ball_y=range(env.rows - 1), ball_x=columns, paddle_x=columns)
    outcomes = _tabulate(env, params, table.row, table.num_states, states)
    start = np.zeros(table.num_states)
    middle = int(fresh.paddle_x)
    for ball in columns:
        grid = np.zeros((env.rows, env.columns))
        grid[0, ball] = grid[-1, middle] = 1
        start[int(table.row(jnp.asarray(grid)))] = 1 / env.columns
    return _mix(outcomes, np.eye(3), start, int(params.max_steps_in_episode))


_MODELS: dict[str, Callable[[Any, Any], MDP]] = {
    "FrozenLake-misc": _frozen_lake,
    "FourRooms-misc": _four_rooms,
    "DeepSea-bsuite": _deep_sea,
    "Catch-bsuite": _catch,
}
