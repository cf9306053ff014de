"""Tests of the published results that are reproduced, and of how they are judged."""

import dataclasses
import json
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from family import TINY
from flax import linen as nn
from scipy import stats

from experiments import reproduce
from experiments.reproductions import (
    bsuite,
    criteria,
    lambda_returns,
    noisy_grid,
    purejaxql,
    records,
    registry,
    scaled_control,
)
from experiments.reproductions.criteria import (
    Equivalent,
    Exact,
    Ordered,
    Published,
    SameOrder,
)
from experiments.reproductions.target import (
    Cost,
    Quantity,
    Run,
    Target,
    evaluation_return,
    last_episodes,
    training_return,
    verdict,
)
from experiments.support import first_episodes, search, tables_reproduced
from jaxq import Config
from jaxq.config import validate
from jaxq.config.fields import ConfigError
from jaxq.runs import results, run
from jaxq.training import checks
from jaxq.types import Step

RNG = np.random.default_rng(0)
TOY = Target(
    title="a toy",
    source="none",
    trust="A",
    runs={"one": Config(num_seeds=3), "two": Config(num_seeds=3, discount=0.5)},
    quantities={
        "one": Quantity("one", training_return(1)),
        "two": Quantity("two", evaluation_return(1)),
    },
    criterion=Exact({"one": 1.0, "two": 2.0}, 0.5),
    cost=Cost(1),
)


def a_run(train_return, episodes, evaluation=None):
    """A run whose points are a thousand steps apart."""
    train_return = np.array(train_return, float)
    return Run(
        Config(),
        1_000 * np.arange(1, 1 + train_return.shape[1]),
        train_return,
        np.array(episodes),
        train_return if evaluation is None else np.array(evaluation, float),
    )


@pytest.mark.parametrize("seeds", [3, 30])
def test_the_interval_of_a_difference_is_welchs(seeds):
    ours, theirs = RNG.normal(5, 2, 12), RNG.normal(4, 1, seeds)
    published = Published(theirs.mean(), 1.0, theirs.std(ddof=1), seeds)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose(criteria.difference(ours, published), expected)


def test_a_published_number_without_spread_is_exact():
    ours = RNG.normal(5, 2, 12)
    expected = stats.ttest_1samp(ours, 4.0).confidence_interval(0.9)
    interval = criteria.difference(ours, Published(4.0, 1.0))
    np.testing.assert_allclose(interval, np.array(expected) - 4.0)


@pytest.mark.parametrize(
    ("margin", "passed"), [(1.01, True), (0.99, False)], ids=["within", "outside"]
)
def test_equivalence_needs_the_whole_interval_within_the_margin(margin, passed):
    ours = RNG.normal(0, 1, 20)
    low, high = criteria.difference(ours, Published(0.0, 1.0))
    test = Equivalent({"x": Published(0.0, margin * max(-low, high))})
    assert test.judge({"x": ours}).passed is passed


def test_numbers_without_any_spread_are_compared_as_they_are():
    test = Equivalent({"x": Published(3.0, 0.5)})
    assert test.judge({"x": np.full(5, 3.0)}).passed
    assert not test.judge({"x": np.full(5, 3.6)}).passed


def test_one_of_two_labels_outside_its_margin_fails_the_test():
    test = Equivalent({"x": Published(0.0, 9.0), "y": Published(50.0, 9.0)})
    ours = RNG.normal(0, 1, 20)
    assert not test.judge({"x": ours, "y": ours}).passed
    assert test.judge({"x": ours, "y": ours + 50}).passed


def test_an_order_needs_a_significant_difference_in_the_right_direction():
    low, high = RNG.normal(0, 1, 30), RNG.normal(3, 1, 30)
    assert Ordered((("high", "low"),)).judge({"high": high, "low": low}).passed
    assert not Ordered((("low", "high"),)).judge({"high": high, "low": low}).passed
    assert not Ordered((("a", "b"),)).judge({"a": low, "b": low + 0.01}).passed
    one_sided = stats.ttest_ind(high, low, equal_var=False, alternative="greater")
    assert criteria.larger_p(high, low) == pytest.approx(one_sided.pvalue)
    one_sided = stats.ttest_ind(low, high, equal_var=False, alternative="greater")
    assert criteria.larger_p(low, high) == pytest.approx(one_sided.pvalue)


def test_the_order_of_many_counts_pairs_that_are_clearly_apart():
    test = SameOrder({"a": 30.0, "b": 20.0, "c": 15.0}, 10.0, 1.0)
    assert test.clear_pairs() == [("a", "b"), ("a", "c")]
    values = {"a": np.array([3.0]), "b": np.array([1.0]), "c": np.array([2.0])}
    assert test.judge(values).passed  # b and c are too near to count
    assert not test.judge(values | {"c": np.array([4.0])}).passed
    half = dataclasses.replace(test, share=0.5)
    assert half.judge(values | {"c": np.array([4.0])}).passed


def test_a_landscape_is_the_same_if_ranks_agree_and_nothing_differs():
    means = np.linspace(0, 50, 12)
    ours = {str(i): RNG.normal(mean, 5, 10) for i, mean in enumerate(means)}
    test = criteria.SameLandscape(
        {str(i): Published(mean, 0.0, 5.0, 10) for i, mean in enumerate(means)}, 0.9
    )
    outcome = test.judge(ours)
    expected = stats.spearmanr([x.mean() for x in ours.values()], means).statistic
    assert outcome.passed and f"correlation {expected:.2f} over 12" in outcome.sentence
    assert not test.judge(ours | {"3": ours["3"] + 20}).passed
    backwards = dict(zip(ours, reversed(ours.values()), strict=True))
    wide = {k: dataclasses.replace(v, std=500.0) for k, v in test.published.items()}
    assert not criteria.SameLandscape(wide, 0.9).judge(backwards).passed
    assert criteria.SameLandscape(wide, -1.0).judge(backwards).passed


def test_tiny_p_values_are_bounded():
    assert criteria.p_value(0.0123) == "= 0.012" and criteria.p_value(0.0) == "< 1e-6"


def test_an_exact_value_has_a_tolerance():
    test = Exact({"x": 1.0}, 0.1)
    assert test.judge({"x": np.array([0.8, 1.0])}).passed
    assert not test.judge({"x": np.array([0.7, 1.0])}).passed


def test_a_failed_test_needs_a_reason():
    assert verdict(TOY, True) == "reproduced"
    with pytest.raises(ValueError, match="a toy is not reproduced, and no reason"):
        verdict(TOY, False)
    explained = dataclasses.replace(TOY, reason="because")
    assert verdict(explained, False) == "not reproduced"
    differs = dataclasses.replace(explained, protocol_differs=True)
    assert verdict(differs, False) == "differs by protocol"


def test_training_returns_are_means_over_episodes():
    run = a_run([[1, 2, np.nan, 5], [1, 2, 3, 4]], [[9, 1, 0, 3], [9, 1, 1, 1]])
    np.testing.assert_allclose(training_return(3)(run), [(2 + 15) / 4, 3])
    np.testing.assert_allclose(training_return(2, until=2_500)(run), [1.1, 1.1])
    assert np.isnan(training_return(1, until=3_000)(run)[0])
    np.testing.assert_allclose(last_episodes(3)(run), [5, 3])
    np.testing.assert_allclose(evaluation_return(2)(run)[1], 3.5)


def test_catch_is_scored_by_the_regret_of_every_episode():
    returns = RNG.choice([-1, 1], size=(4, 10, 100), p=[0.2, 0.8])
    run = a_run(returns.mean(axis=2), np.full((4, 10), 100))
    plain = [
        (1.6 - sum(1 - r for r in seed.reshape(-1)) / 1_000) / 1.6 for seed in returns
    ]
    np.testing.assert_allclose(bsuite.catch_score(run), plain)


@pytest.mark.parametrize(("first", "solved"), [(80, 1.0), (120, 0.0)])
def test_deep_sea_is_solved_by_a_tenth_of_good_episodes_in_time(first, solved):
    found = np.where(np.arange(400) >= first, 0.99, -0.003)  # one point per episode
    run = a_run(found[None], np.ones((1, 400), int))
    # A tenth of the episodes is good after first / 0.9 of them; 2^4 + 100 is the limit.
    assert bsuite.deep_sea_solved(4)(run) == [solved]
    assert bsuite.deep_sea_solved(10)(run) == [1.0]


def returns_of(make_returns, reward, done, values, config):
    """Returns of a rollout in which state t has the value values[t]."""
    policy = types.SimpleNamespace(
        apply=lambda key, params, x: x[None],
        head=types.SimpleNamespace(q_values=lambda output: output),
    )
    steps = Step(
        observation=None,
        action=jnp.zeros(len(reward), jnp.int32),
        reward=jnp.array(reward),
        terminated=jnp.array(done),
        truncated=jnp.zeros(len(reward), bool),
        next_observation=jnp.array(values[1:]),
        memory=None,
    )
    return make_returns(policy, None, steps, config, config.discount)


@pytest.fixture
def rollout():
    """Rewards, ends of episodes and values of a rollout, and its configuration."""
    config = Config(
        algorithm="pqn", num_envs=1, rollout_length=9, num_minibatches=1,
        discount=0.97, trace_decay=0.65,
    )  # fmt: skip
    reward = RNG.normal(size=9).astype(np.float32)
    done = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0], bool)
    return reward, done, RNG.normal(size=10).astype(np.float32), config


@pytest.mark.parametrize("ends", [False, True])
def test_the_notebooks_returns_are_its_recursion(rollout, ends):
    reward, done, values, config = rollout
    done[-1] = ends
    gamma, trace = config.discount, config.trace_decay
    last = values[-1] * (1 - done[-1])
    total, successor = reward[-1] + gamma * last, last
    expected = [total]
    for t in reversed(range(len(reward) - 1)):
        bootstrap = reward[t] + gamma * (1 - done[t]) * successor
        total = bootstrap + gamma * trace * (total - successor)
        total = (1 - done[t]) * total + done[t] * reward[t]
        successor = values[t]
        expected.append(total)
    ours = returns_of(lambda_returns.shifted, *rollout)
    np.testing.assert_allclose(ours, expected[::-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ends", [False, True])
def test_cleanrls_returns_run_on_through_the_end_of_an_episode(rollout, ends):
    reward, done, values, config = rollout
    done[-1] = ends
    gamma, trace = config.discount, config.trace_decay
    total = reward[-1] + gamma * values[-1] * (1 - done[-1])
    expected = [total]
    for t in reversed(range(len(reward) - 1)):
        value = values[t + 1] * (1 - done[t])
        total = reward[t] + gamma * (trace * total + (1 - trace) * value)
        expected.append(total)
    ours = returns_of(lambda_returns.leaking, *rollout)
    np.testing.assert_allclose(ours, expected[::-1], rtol=1e-5, atol=1e-5)


def test_the_notebooks_network_is_a_convolution_with_layer_normalisation():
    module = purejaxql.PureJaxQLNetwork(num_actions=5)
    image = jnp.array(RNG.random((10, 10, 4)) < 0.2, jnp.float32)
    params = module.init(jax.random.key(0), image)["params"]

    kernel = params["Dense_0"]["kernel"].reshape(3, 3, 4, 16)
    x = nn.Conv(16, (3, 3), padding="VALID").apply(
        {"params": {"kernel": kernel, "bias": params["Dense_0"]["bias"]}}, image / 255
    )
    for name, layer in (("LayerNorm_0", "Dense_1"), ("LayerNorm_1", "Dense_2")):
        x = nn.LayerNorm(epsilon=1e-6).apply({"params": params[name]}, x)
        x = jnp.maximum(x, 0).reshape(-1)
        x = x @ params[layer]["kernel"] + params[layer]["bias"]
    output = module.apply({"params": params}, image)
    assert output.shape == (5, 1)
    np.testing.assert_allclose(output[:, 0], x, rtol=1e-4, atol=1e-5)
    spread = float(params["Dense_1"]["kernel"].std())
    assert spread == pytest.approx((2 / 1024) ** 0.5, rel=0.02)  # He et al. (2015)


def test_first_episodes_have_their_actions_returns_and_lengths():
    runs, steps, episodes = 3, 60, 4
    actions = RNG.integers(0, 5, (runs, steps))
    rewards, done = RNG.normal(size=(runs, steps)), RNG.random((runs, steps)) < 0.2
    record = first_episodes.FirstEpisodes(runs, episodes)
    for part in range(0, steps, 15):
        chunk = slice(part, part + 15)
        record.add(actions[:, chunk], rewards[:, chunk], done[:, chunk])
    assert record.complete
    for row in range(runs):
        ends = np.flatnonzero(done[row])[:episodes]
        starts = [0, *(ends[:-1] + 1)]
        for n, (start, end) in enumerate(zip(starts, ends, strict=True)):
            assert record.actions[row, n] == actions[row, start]
            assert record.lengths[row, n] == end - start + 1
            total = rewards[row, start : end + 1].sum()
            assert record.returns[row, n] == pytest.approx(total)


def test_rewards_of_the_noisy_grid_are_those_of_the_paper():
    env = noisy_grid.NoisyGrid()
    keys = jax.random.split(jax.random.key(0), 4_000)
    _, state = env.reset(keys[0], env.default_params)
    assert state.number == env.start
    step = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))
    _, _, rewards, ended, _, info = step(keys, state, jnp.int32(0), env.default_params)
    assert set(np.unique(rewards)) == {-12.0, 10.0} and not ended.any()
    assert abs(float(rewards.mean()) + 1) < 4 * 11 / 4_000**0.5
    assert (info["final_observation"] == 3).all()
    goal = state.replace(number=jnp.int32(env.goal))
    for action in range(4):
        _, _, reward, ended, _, _ = env.step(
            keys[0], goal, jnp.int32(action), env.default_params
        )
        assert (float(reward), bool(ended)) == (5.0, True)


@pytest.mark.parametrize("name", ["CartPole", "Acrobot", "MountainCar"])
def test_scaled_observations_lie_between_minus_1_and_1(name):
    env = getattr(scaled_control, name)()
    params, keys = env.default_params, jax.random.split(jax.random.key(0), 200)
    observation, state = env.reset(keys[0], params)
    plain = super(type(env), env)

    def step(carry, key):
        state, seen = carry
        action = jax.random.randint(key, (), 0, env.num_actions)
        observation, state, _, _, _, _ = env.step(key, state, action, params)
        return (state, jnp.maximum(seen, jnp.abs(observation))), observation

    start = state, jnp.abs(observation)
    (_, largest), path = jax.jit(lambda: jax.lax.scan(step, start, keys))()
    assert path.shape == (200, len(scaled_control.__dict__[name]().reset(keys[0])[0]))
    assert (largest <= 1.001).all() and (largest > 0).all()
    assert not np.allclose(plain.get_obs(state), env.get_obs(state))


def finished(label, directory, final):
    """A result of a toy's run, as `run` returns it, whose last returns are `final`."""
    path = directory / label
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"commit": "abc"}))
    shape = (3, 4)
    fields = dict.fromkeys(results.Curve._fields, np.zeros(shape))
    fields |= {
        "steps": np.arange(4),
        "train_return": np.full(shape, final),
        "train_episodes": np.ones(shape, int),
        "eval_return": np.full(shape, final),
    }
    return results.Result(
        TOY.runs[label], results.Curve(**fields), np.zeros((3, 4, 1)), {}, {},
        {"seconds": 1.0}, path,
    )  # fmt: skip


@pytest.fixture
def committed(tmp_path):
    """A directory with the record of the toy target."""
    runs = {
        label: finished(label, tmp_path, value)
        for label, value in {"one": 1.0, "two": 2.25}.items()
    }
    records.write("toy", TOY, runs, tmp_path)
    return tmp_path


def test_a_record_is_judged_again_from_its_curves(committed):
    record = records.read("toy", TOY, committed)
    assert record.facts["passed"] and record.values["two"].tolist() == [2.25] * 3
    assert record.runs["two"].config == TOY.runs["two"]
    assert records.problems("toy", TOY, committed) == []


def test_a_changed_curve_is_found(committed):
    path = committed / "toy.npz"
    arrays = dict(np.load(path))
    arrays["one/train_return"] += 0.25
    np.savez(path, **arrays)
    [problem] = records.problems("toy", TOY, committed)
    assert problem.startswith("toy: the means are recorded as {'one': 1.0, 'two'")


def test_a_changed_verdict_is_found(committed):
    path = committed / "toy.json"
    path.write_text(path.read_text().replace('"passed": true', '"passed": false'))
    [problem] = records.problems("toy", TOY, committed)
    assert problem.startswith("toy: recorded as not passed, but the curves give one: 1")


def test_a_changed_declaration_is_found(committed):
    changed = dataclasses.replace(
        TOY, runs={**TOY.runs, "two": Config(num_seeds=3, discount=0.5, first_seed=9)}
    )
    assert records.problems("toy", changed, committed) == [
        "toy: the run 'two' had other first_seed"
    ]
    more = dataclasses.replace(TOY, runs={**TOY.runs, "three": Config()})
    assert records.problems("toy", more, committed) == ["toy: there is no run 'three'"]


def test_a_failure_without_a_reason_is_found(committed):
    strict = dataclasses.replace(TOY, criterion=Exact({"one": 1.0, "two": 2.0}, 0.1))
    found = records.problems("toy", strict, committed)
    assert any("no reason is stated" in line for line in found)


def test_a_record_that_cannot_be_read_is_found(committed):
    (committed / "toy.json").write_text("{")
    [problem] = records.problems("toy", TOY, committed)
    assert problem.startswith("toy: the record cannot be read")


@pytest.mark.parametrize("name", registry.TARGETS)
def test_every_target_declares_a_run_that_is_valid(name):
    target = registry.TARGETS[name]
    assert bool(target.runs) != bool(target.simulate)
    assert tables_reproduced.algorithms(target)
    assert {quantity.run for quantity in target.quantities.values()} == set(target.runs)
    assert min(c.num_seeds for c in target.runs.values() or [Config()]) >= 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for config in target.runs.values():
            validate.validate(config)
        for config in {c.environment: c for c in target.runs.values()}.values():
            checks.check(config, None)


def test_committed_records_agree_with_their_curves(capsys):
    assert reproduce.check(records.DIRECTORY) == 0
    assert "0 problems" in capsys.readouterr().out


def test_every_record_belongs_to_a_target():
    names = {
        path.stem for path in records.DIRECTORY.glob("*.*") if path.stem != "README"
    }
    assert names <= set(registry.TARGETS)


def test_the_list_has_a_line_per_target(tmp_path):
    lines = reproduce.listing(tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == list(registry.TARGETS)
    assert all("not run" in line for line in lines)


def test_an_unknown_target_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["reproduce.py", "--target", "cleanrl_dqn"])
    with pytest.raises(ConfigError, match=r"target = 'cleanrl_dqn': .*cleanrl_dqn_"):
        reproduce.main()


def test_nothing_to_do_is_an_error(monkeypatch):
    monkeypatch.setattr("sys.argv", ["reproduce.py"])
    with pytest.raises(ConfigError, match="use --all, --list or --check"):
        reproduce.main()


def test_a_finished_run_is_found_among_those_of_other_versions(tmp_path):
    config = dataclasses.replace(TINY, num_seeds=1, seed_block=1)
    assert search.latest(config, tmp_path) is None
    directory = run.run(config, output=tmp_path, plot=False).directory
    other = tmp_path / "dqn" / "of-another-version"
    other.mkdir()
    (other / "config.json").write_text('{"a_field_of_the_future": 1}')
    assert search.latest(config, tmp_path) == directory
    again = reproduce.train(config, tmp_path)
    assert again.directory == directory
    assert search.latest(dataclasses.replace(config, first_seed=5), tmp_path) is None
