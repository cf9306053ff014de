"""Every suite against stepping its own API by hand, with the same keys.

Each test needs the packages of its suite, and is skipped without them: `.ci/suites`
installs them in an environment of its own, and runs these tests.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import ConfigError
from jaxq.config import suites
from jaxq.envs import make, suite_env

pytestmark = pytest.mark.slow

STEPS = 250
ROUNDING = 1e-6  # of floats that two programs compute, relative


def needs(suite):
    missing = [
        module
        for module in suites.SUITES[suite].modules
        if importlib.util.find_spec(module) is None
    ]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not installed")


@pytest.fixture(autouse=True)
def rank_promotion():
    """Suites rely on it; the default tests do not allow it."""
    with jax.numpy_rank_promotion("allow"):
        yield


class ByHand:
    """A suite's own API: start and step return a dictionary of what they show."""

    def __init__(self, name, **arguments):
        self.suite, self.name = suites.split(name)
        self.arguments = arguments

    def encoded(self, observation):
        return observation


class Craftax(ByHand):
    def __init__(self, name, **arguments):
        super().__init__(name, **arguments)
        from craftax import craftax_env

        self.env = craftax_env.make_craftax_env_from_name(self.name, auto_reset=False)
        self.params = self.env.default_params.replace(**self.arguments)

    def start(self, key):
        return self.env.reset(key, self.params)

    def step(self, key, state, action):
        observation, state, reward, done, _ = self.env.step_env(
            key, state, action, self.params
        )
        dead = state.player_health <= 0
        if hasattr(state, "map") and state.map.ndim == 2:  # classic
            row, column = state.player_position
            dead |= state.map[row, column] == 14  # lava
        return observation, state, reward, dead, done & ~dead


class Navix(ByHand):
    def __init__(self, name, **arguments):
        super().__init__(name, **arguments)
        import navix

        self.env = navix.make(self.name, **arguments)

    def start(self, key):
        timestep = self.env.reset(key)
        return timestep.observation, timestep

    def step(self, key, state, action):
        timestep = self.env.step(state, action)
        return (
            timestep.observation,
            timestep,
            timestep.reward,
            timestep.step_type == 2,
            timestep.step_type == 1,
        )

    def encoded(self, observation):
        entities, colours, states = np.moveaxis(np.asarray(observation), -1, 0)
        return np.concatenate(
            [np.eye(11)[entities], np.eye(256)[colours][..., :6], np.eye(4)[states]], -1
        )


class XMiniGrid(ByHand):
    def __init__(self, name, **arguments):
        super().__init__(name, **arguments)
        import xminigrid

        self.env, self.params = xminigrid.make(self.name, **arguments)

    def start(self, key):
        timestep = self.env.reset(self.params, key)
        return timestep.observation, timestep

    def step(self, key, state, action):
        timestep = self.env.step(self.params, state, action)
        ended, terminated = timestep.step_type == 2, timestep.discount == 0
        return (
            timestep.observation,
            timestep,
            timestep.reward,
            ended & terminated,
            ended & ~terminated,
        )

    def encoded(self, observation):
        tiles, colours = np.moveaxis(np.asarray(observation), -1, 0)
        return np.concatenate([np.eye(13)[tiles], np.eye(12)[colours]], -1)


class Pgx(ByHand):
    def __init__(self, name, time_limit=None):
        super().__init__(name)
        import pgx

        self.env, self.limit = pgx.make(self.name), time_limit

    def start(self, key):
        state = self.env.init(key)
        return state.observation, state

    def step(self, key, state, action):
        state = self.env.step(state, action, key)
        late = self.limit is not None and state._step_count >= self.limit
        return (
            state.observation,
            state,
            state.rewards[0],
            state.terminated,
            late & ~state.terminated,
        )


class Jumanji(ByHand):
    """Most report the end of time as a termination: ask one with more of it as well."""

    def __init__(self, name, **arguments):
        super().__init__(name, **arguments)
        import jumanji

        self.env = self.patient = jumanji.make(self.name, **arguments)
        if hasattr(self.env, "time_limit"):
            arguments["time_limit"] = self.env.time_limit + 1_000
            self.patient = jumanji.make(self.name, **arguments)

    def start(self, key):
        state, timestep = self.env.reset(key)
        return timestep.observation, state

    def step(self, key, state, action):
        sizes = tuple(np.ravel(self.env.action_spec.num_values))
        if len(sizes) > 1:
            action = jnp.stack(jnp.unravel_index(action, sizes))
        _, unlimited = self.patient.step(state, action)
        state, timestep = self.env.step(state, action)
        failed = unlimited.last()
        return (
            timestep.observation,
            state,
            timestep.reward,
            failed,
            timestep.last() & ~failed,
        )

    def encoded(self, observation):
        if "2048" in self.name:
            return np.eye(18)[np.asarray(observation.board)]
        if "Rubik" in self.name:
            return np.eye(6)[np.asarray(observation.cube)]
        if "Minesweeper" in self.name:
            return np.eye(10)[np.asarray(observation.board) + 1]
        return observation.grid


class Octax(ByHand):
    def __init__(self, name, **arguments):
        super().__init__(name, **arguments)
        from octax import environments

        self.env, _ = environments.create_environment(self.name, **arguments)

    def start(self, key):
        state, observation, _ = self.env.reset(key)
        return observation, state

    def step(self, key, state, action):
        state, observation, reward, terminated, truncated, _ = self.env.step(
            state, action
        )
        return observation, state, reward, terminated, truncated & ~terminated


class Foragax(ByHand):
    def __init__(self, name, time_limit):
        super().__init__(name)
        from foragax import registry

        self.env, self.limit = registry.make(self.name), time_limit
        self.env.is_terminated = self.env.is_terminal

    def start(self, key):
        return self.env.reset(key, self.env.default_params)

    def step(self, key, state, action):
        observation, state, reward, done, _ = self.env.step_env(
            key, state, action, self.env.default_params
        )
        return observation, state, reward, done, state.time >= self.limit


CASES = {
    "craftax::Craftax-Classic-Symbolic-v1": (Craftax, ("max_timesteps=60",), None),
    "craftax::Craftax-Symbolic-v1": (Craftax, ("max_timesteps=60",), None),
    "navix::Navix-Empty-5x5-v0": (Navix, (), 30),
    "navix::Navix-DoorKey-5x5-v0": (Navix, (), 40),
    "navix::Navix-LavaGapS5-v0": (Navix, ("max_steps=20",), None),
    "xminigrid::MiniGrid-Empty-6x6": (XMiniGrid, (), 40),
    "xminigrid::MiniGrid-DoorKey-5x5": (XMiniGrid, ("max_steps=50",), None),
    "pgx::minatar-breakout": (Pgx, (), None),
    "pgx::minatar-freeway": (Pgx, (), 70),
    "pgx::2048": (Pgx, ("mask=false",), 60),
    "jumanji::Snake-v1": (Jumanji, ("num_rows=5", "num_cols=5", "mask=false"), 9),
    "jumanji::Game2048-v1": (Jumanji, ("board_size=4", "mask=false"), None),
    "jumanji::RubiksCube-partly-scrambled-v0": (Jumanji, (), None),
    "jumanji::Minesweeper-v0": (Jumanji, ("mask=false",), None),
    "octax::brix": (Octax, (), 80),
    "foragax::ForagaxTwoBiomeLarge-v1": (Foragax, (), 60),
}
LIMITS = {Navix: "max_steps", XMiniGrid: "max_steps",
          Octax: "max_num_steps_per_episodes"}  # fmt: skip


def by_hand(name):
    kind, args, limit = CASES[name]
    arguments = dict(arg.split("=") for arg in args if arg != "mask=false")
    arguments = {key: int(value) for key, value in arguments.items()}
    if limit is not None:
        arguments[LIMITS.get(kind, "time_limit")] = limit
    return kind(name, **arguments)


def assert_equal(observation, expected):
    if observation.dtype == np.float32:
        np.testing.assert_allclose(observation, expected, ROUNDING, 0)
    else:
        np.testing.assert_array_equal(observation, expected)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=needs(suites.split(name)[0])) for name in CASES],
)
def test_steps_equal_those_of_the_suite(name):
    _, args, limit = CASES[name]
    env = make.make(name, args, time_limit=limit)
    suite = by_hand(name)
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    start, own_step = jax.jit(suite.start), jax.jit(suite.step)
    keys = jax.random.split(jax.random.key(0), STEPS + 1)
    actions = jax.random.randint(jax.random.key(1), (STEPS,), 0, env.spec.num_actions)
    state = reset(keys[-1])
    shown, own_state = start(keys[-1])
    ends = {"terminated": 0, "truncated": 0}
    for key, action in zip(keys[:-1], actions, strict=True):
        step_key, reset_key = jax.random.split(key)
        assert_equal(state.observation, suite.encoded(shown))
        state, transition = step(key, state, action)
        shown, own_state, reward, terminated, truncated = own_step(
            step_key, own_state, action
        )
        assert_equal(transition.next_observation, suite.encoded(shown))
        assert transition.reward == pytest.approx(float(reward), ROUNDING)
        assert transition.terminated == terminated
        assert transition.truncated == truncated
        ends["terminated"] += bool(terminated)
        ends["truncated"] += bool(truncated)
        if terminated or truncated:
            shown, own_state = start(reset_key)
    assert sum(ends.values()) > 1, ends


MASKED = {
    "pgx::2048": lambda state: state.legal_action_mask,
    "jumanji::Snake-v1": lambda state: state[0].action_mask,
    "jumanji::Minesweeper-v0": lambda state: state[0].board.reshape(-1) == -1,
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=needs(suites.split(name)[0])) for name in MASKED],
)
def test_masks_are_those_of_the_suite(name):
    game = suite_env.build(name, time_limit=40)
    params, own_mask = game.default_params, MASKED[name]
    step, inner = jax.jit(game.step), lambda state: getattr(state, "state", state)
    observation, state = jax.jit(game.reset)(jax.random.key(0), params)
    ends = 0
    for key in jax.random.split(jax.random.key(1), STEPS):
        mask = np.asarray(observation.action_mask)
        assert mask.dtype == bool and mask.shape == (game.rules.num_actions,)
        np.testing.assert_array_equal(mask, own_mask(inner(state)))
        action = jax.random.choice(key, game.rules.num_actions, p=mask / mask.sum())
        observation, state, _, terminated, truncated, _ = step(
            key, state, action, params
        )
        ends += bool(terminated | truncated)
    assert ends


TEAMS = {
    "MPE_simple_spread_v3": (),
    "MPE_simple_speaker_listener_v4": (),
    "HeuristicEnemySMAX": (),
    "overcooked": (("max_steps", 40),),
    "switch_riddle": (),
    "hanabi": (),
}


@needs("jaxmarl")
@pytest.mark.parametrize("name", TEAMS)
def test_a_team_steps_as_jaxmarl_does(name):
    import jaxmarl

    arguments = dict(TEAMS[name])
    args = tuple(f"{key}={value}" for key, value in arguments.items())
    env, game = make.make(f"jaxmarl::{name}", args), jaxmarl.make(name, **arguments)
    agents, size = game.agents, env.spec.num_agents
    masks = getattr(game, "get_legal_moves", None) or game.get_avail_actions
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    own_step = jax.jit(game.step_env)
    keys = jax.random.split(jax.random.key(0), STEPS + 1)
    state, (seen, own_state) = reset(keys[-1]), game.reset(keys[-1])
    count = ends = 0
    for key in keys[:-1]:
        step_key, reset_key = jax.random.split(key)
        mask = np.ones((size, env.spec.num_actions), bool)
        values = state.observation
        if env.spec.valid_actions is not None:
            mask, values = np.asarray(values.action_mask), values.observation
        for i, agent in enumerate(agents):
            width = seen[agent].size
            if values.ndim == 2:
                np.testing.assert_allclose(values[i, :width], seen[agent], ROUNDING)
                assert np.argmax(values[i, -size:]) == i
                assert np.all(values[i, width:-size] == 0)
            else:
                np.testing.assert_array_equal(values[i], seen[agent])
            num_actions = game.action_space(agent).n
            assert not np.any(mask[i, num_actions:])
            if name in ("HeuristicEnemySMAX", "hanabi"):
                assert np.all(mask[i, :num_actions] == masks(own_state)[agent])
        rng = np.random.default_rng(count)
        action = np.array([rng.choice(np.flatnonzero(row)) for row in mask])
        state, transition = step(key, state, jnp.int32(action))
        named = {agent: jnp.int32(action[i]) for i, agent in enumerate(agents)}
        seen, own_state, rewards, dones, _ = own_step(step_key, own_state, named)
        count += 1
        late = count >= getattr(game, "max_steps", np.inf)
        for i, agent in enumerate(agents):
            assert transition.reward[i] == pytest.approx(float(rewards[agent]), 1e-5)
        assert np.all(transition.truncated == late)
        assert np.all(transition.terminated == (bool(dones["__all__"]) and not late))
        if late or dones["__all__"]:
            (seen, own_state), count, ends = game.reset(reset_key), 0, ends + 1
    assert ends


@needs("gxm")
@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("navix::", "Navix/Navix-LavaGapS5-v0"),
        ("xminigrid::", "XMiniGrid/MiniGrid-Empty-6x6"),
    ],
)
def test_gxm_steps_as_its_library_does(library, name):
    through = make.make(f"gxm::{name}", time_limit=40)
    direct = make.make(library + name.partition("/")[2], time_limit=40)

    def steps(env):
        keys = jax.random.split(jax.random.key(0), STEPS)
        actions = jax.random.randint(
            jax.random.key(1), (STEPS,), 0, env.spec.num_actions
        )
        _, rollout = jax.lax.scan(
            lambda state, inputs: env.step(inputs[0], state, inputs[1]),
            env.reset(jax.random.key(2)),
            (keys, actions),
        )
        return rollout

    rollout, expected = steps(through), steps(direct)
    assert rollout.truncated.any()
    jax.tree.map(np.testing.assert_array_equal, rollout, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("navix::Navix-Empty-5x6-v0",), r"Did you mean .*Navix-Empty-5x5-v0"),
        (("navix::Navix-Empty-5x5-v0", ("observation_fn=x",)), r"choose one of symbol"),
        (("xminigrid::MiniGrid-Empty-6x6", ("size=3",)), r"has no parameter 'size'"),
        (("craftax::Craftax-Symbolic-v1", ("max_timesteps=0",)), r"must be an integer"),
        (("pgx::go_9x9",), r"2 players; jaxq trains one.*minatar-breakout"),
        (("pgx::minatar-breakout", ("mask=false",)), r"has no mask of valid actions"),
        (("pgx::2048", ("mask=3",)), r"mask = 3 must be true or false"),
        (("pgx::minatar-asterix", ("ramping=1",)), r"rejects ramping=1.*ramping"),
        (("jumanji::Cleaner-v0",), r"several agents or machines"),
        (("jumanji::SearchAndRescue-v0",), r"not a finite set"),
        (("jumanji::Sokoban-v0",), r"downloads its levels"),
        (("octax::cavern",), r"'cavern' is unknown\. Did you mean cavern"),
        (("gxm::Pgx/2048",), r"unknown\..*Known: Navix/"),
        (("foragax::ForagaxTwoBiomeLarge-v1", ("colour=1",)), r"rejects colour=1"),
        (("jaxmarl::jaxnav",), r"actions of agent_0 are .* not a finite set"),
        (("jaxmarl::storm",), r"an observation that is one array"),
        (("jaxmarl::MPE_simple_spread_v3", ("mask=true",)), r"has no mask"),
        (("jaxmarl::coin_game", ("agent_ids=2",)), r"agent_ids = 2 must be true"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_bad_names_and_arguments_are_refused(arguments, message):
    suite = suites.split(arguments[0])[0]
    for module in suites.SUITES[suite].modules:
        pytest.importorskip(module)
    with pytest.raises(ConfigError, match=message):
        make.make(*arguments)
