"""Every tuned function agrees with its plain reference, alone and in training."""

import importlib
import inspect
import math
import pathlib
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import SLOW, mark_others

from jaxq import xla
from jaxq.agents import factory
from jaxq.config.config import Config
from jaxq.envs import make
from jaxq.training import compiled
from jaxq.xla import indexing, loops, matmul, ops, prng, switch

# No tricks in themselves, or parts of one: of `matmul.rewrite_products`.
BUILDING_BLOCKS = {"platforms", "primitives", "small_products", "switch"}


def public_functions():
    for module in pkgutil.iter_modules(xla.__path__):
        if module.name in BUILDING_BLOCKS:
            continue
        loaded = importlib.import_module(f"jaxq.xla.{module.name}")
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if function.__module__ == loaded.__name__ and not name.startswith("_"):
                yield name


def test_every_function_of_the_package_has_a_plain_reference_and_a_test():
    functions = list(public_functions())
    assert len(functions) == len(set(functions))
    assert set(functions) == set(switch.PLAIN)
    assert set(switch.PLAIN) == set(EXACT) | set(ROUNDED) | set(RANDOM)


def test_references_to_the_performance_page_name_its_sections():
    root = pathlib.Path(switch.__file__).parent.parent.parent
    lines = (root / "results" / "performance.md").read_text().splitlines()
    titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
    anchors = {title.replace(" ", "-") for title in titles}
    files = [root / "README.md", *(root / "jaxq").rglob("*.py")]
    for path in [*files, *(root / "experiments").rglob("*.py")]:
        names = re.findall(r"results/performance\.md#([\w-]+)", path.read_text())
        assert set(names) <= anchors, path


def normal(rng, *shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def integers(rng, bound, *shape):
    return jnp.asarray(rng.integers(0, bound, shape), jnp.int32)


def mean_square(w, x):
    return jnp.mean(jnp.square(jnp.tanh(x @ w)))


def last_and_sum_of_a_scan(weights, carry, x):
    def step(weights, carry, x, sign):
        carry = jnp.tanh(weights @ carry + x)
        return carry, sign * carry**2

    sign = jnp.array([1, -1, 2, 1, 1, 3])
    last, outputs = loops.scan_with_weights(step, weights, carry, x, sign)
    return jnp.sum(last) + jnp.sum(outputs)


# name -> (rng) -> (function of arrays that calls it, arrays)
EXACT = {
    "key": lambda rng: (
        lambda seed: jax.random.normal(prng.key(seed), (7,)), (jnp.uint32(3),)
    ),
    "fence": lambda rng: (lambda x: indexing.fence({"x": x}), (normal(rng, 5),)),
    "gather": lambda rng: (
        lambda x, i: indexing.gather(lambda j: x[j], i),
        (normal(rng, 9, 4), integers(rng, 9, 6)),
    ),
    "column_major_rows": lambda rng: (indexing.column_major_rows, (normal(rng, 9, 4),)),
    "row_and_column": lambda rng: (
        lambda i: indexing.row_and_column(i, 7), (integers(rng, 1000, 50),)
    ),
    "ring_get": lambda rng: (
        indexing.ring_get,
        (normal(rng, 5, 3, 2), integers(rng, 40, 6), integers(rng, 3, 6)),
    ),
    "set_largest": lambda rng: (
        indexing.set_largest,
        (normal(rng, 8), integers(rng, 8, 20), jnp.abs(normal(rng, 20))),
    ),
    "fori_loop": lambda rng: (
        lambda x, clock: loops.fori_loop(4, lambda i, x: x * 0.5 + i, x, clock),
        (normal(rng, 3), jnp.int32(11)),
    ),
    "chunked_vmap": lambda rng: (
        lambda x: loops.chunked_vmap(lambda x: (x[0] + x[1], x * 2), 100)(x),
        (normal(rng, 7, 2),),
    ),
    "vmap_members": lambda rng: (
        lambda x, y: loops.vmap_members(lambda x, y: x * y, (0, None), 0, 1)(x, y),
        (normal(rng, 1, 4), normal(rng, 4)),
    ),
    "unroll_of_platform": lambda rng: (
        loops.unroll_of_platform(lambda x: x * 2.0, lambda x: x + x), (normal(rng, 4),)
    ),
    "patches": lambda rng: (lambda x: ops.patches(x, 3), (normal(rng, 10, 9, 4),)),
}  # fmt: skip
ROUNDED = {
    "scan_with_weights": lambda rng: (
        jax.value_and_grad(last_and_sum_of_a_scan, argnums=(0, 1, 2)),
        (normal(rng, 3, 3), normal(rng, 3), normal(rng, 6, 3)),
    ),
    "global_norm": lambda rng: (ops.global_norm, (normal(rng, 9, 4),)),
    "cos_multiples": lambda rng: (
        lambda t: ops.cos_multiples(t, 64), (jnp.float32(rng.random()),)
    ),
    "layer_norm": lambda rng: (
        ops.layer_norm, (normal(rng, 5, 8), normal(rng, 8), normal(rng, 8))
    ),
    "value_and_grad": lambda rng: (
        matmul.value_and_grad(mean_square), (normal(rng, 7, 5), normal(rng, 32, 7))
    ),
    "rewrite_products": lambda rng: (
        matmul.rewrite_products(jax.grad(mean_square)),
        (normal(rng, 7, 5), normal(rng, 32, 7)),
    ),
    "sum_of_outer_products": lambda rng: (
        matmul.sum_of_outer_products, (normal(rng, 32, 7), normal(rng, 32, 5))
    ),
}  # fmt: skip


def samples_of_randint():
    keys = jax.random.split(jax.random.key(0), 200)
    draw = jax.jit(jax.vmap(lambda key: ops.randint(key, 50, jnp.int32(13))))
    return np.bincount(np.asarray(draw(keys)).reshape(-1), minlength=13)


def samples_of_permutation():
    keys = jax.random.split(jax.random.key(0), 6_000)
    orders = jax.jit(jax.vmap(lambda key: ops.permutation(key, 4)))(keys)
    counts = np.unique(np.asarray(orders), axis=0, return_counts=True)[1]
    assert counts.size == math.factorial(4)
    return counts


def samples_of_orthogonal():
    """Angles of random rotations and reflections of the plane, in twelve bins."""
    keys = jax.random.split(jax.random.key(0), 3_000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: ops.orthogonal(key, (2, 2))))(keys))
    np.testing.assert_allclose(
        drawn @ drawn.swapaxes(1, 2), np.broadcast_to(np.eye(2), drawn.shape), atol=1e-5
    )
    angle = np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0])
    return np.histogram(angle, bins=12, range=(-np.pi, np.pi))[0]


RANDOM = {
    "randint": samples_of_randint,
    "permutation": samples_of_permutation,
    "orthogonal": samples_of_orthogonal,
}


def tuned_and_plain(rng, make_case):
    """Results of the tuned function and, after a new trace, of its reference."""
    function, arguments = make_case(rng)
    tuned = jax.device_get(jax.jit(function)(*arguments))
    with switch.plain():
        function, _ = make_case(np.random.default_rng(0))
        return tuned, jax.device_get(jax.jit(function)(*arguments))


@pytest.mark.parametrize("name", EXACT)
def test_functions_that_equal_their_references(name, rng):
    tuned, plain = tuned_and_plain(rng, EXACT[name])
    jax.tree.map(np.testing.assert_array_equal, tuned, plain)


@pytest.mark.parametrize("name", ROUNDED)
def test_functions_that_equal_their_references_up_to_rounding(name, rng):
    tuned, plain = tuned_and_plain(rng, ROUNDED[name])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5),
        tuned,
        plain,
    )


@pytest.mark.parametrize("name", RANDOM)
def test_functions_that_equal_their_references_in_distribution(name):
    tuned = RANDOM[name]()
    with switch.plain():
        plain = RANDOM[name]()
    assert (tuned != plain).any()
    assert scipy.stats.chisquare(tuned).pvalue > 1e-4
    assert scipy.stats.chisquare(plain).pvalue > 1e-4


def test_the_switch_ends_with_its_context():
    x = jnp.zeros((10, 10, 4))
    kinds = []
    for context in (None, switch.plain(), None):
        if context:
            context.__enter__()
        trace = jax.make_jaxpr(lambda x: ops.patches(x, 3))(x)
        kinds.append("reduce_window" in str(trace))
        if context:
            context.__exit__(None, None, None)
    assert kinds == [True, False, True]


def trained_returns(config, iterations):
    """Returns of greedy episodes of two seeds, after training."""
    env = make.from_config(config)
    config, seeds = compiled.traced(config), np.arange(2, dtype=np.uint32)
    keys = jax.vmap(prng.key)(seeds)
    state = compiled.start(config, keys, env=env)
    state = compiled.chunk(config, keys, state, jnp.int32(iterations), env=env)
    evaluation = compiled.evaluate_block(config, keys, state, jnp.float32(0.0), env=env)
    return np.asarray(evaluation.episode_return)


SMALL = {
    "dqn": Config(
        defaults="plain",
        algorithm="dqn", num_envs=4, warmup_steps=500, hidden_sizes=(32,),
        batch_size=32, buffer_size=5_000, eval_episodes=8, eval_max_steps=200,
        learning_rate=2e-3, update_steps=4, target_period=100, epsilon_steps=4_000,
    ),
    "pqn": Config(
        defaults="plain",
        algorithm="pqn", num_envs=8, rollout_length=16, num_minibatches=4,
        num_epochs=4, hidden_sizes=(32,), eval_episodes=8, eval_max_steps=200,
        learning_rate=2e-3, epsilon_steps=10_000,
    ),
}  # fmt: skip
ITERATIONS = {"dqn": 3_000, "pqn": 150}
RANDOM_RETURN = 22.0  # of uniformly random actions in CartPole


@pytest.mark.parametrize("name", mark_others(SMALL, [], SLOW))
def test_training_learns_alike_with_everything_plain(name):
    tuned = trained_returns(SMALL[name], ITERATIONS[name])
    with switch.plain():
        plain = trained_returns(SMALL[name], ITERATIONS[name])
    assert tuned.shape == plain.shape == (2, 8)
    assert (tuned != plain).any()
    for returns in (tuned, plain):
        assert np.mean(returns) > 3 * RANDOM_RETURN
    assert 0.5 < np.mean(tuned) / np.mean(plain) < 2.0


def test_windows_of_bits_are_those_of_the_numbers(rng):
    """On an accelerator they pass through memory as bytes."""
    x = jnp.asarray(rng.random((10, 9, 4)) < 0.3, jnp.float32)
    expected = jax.jit(lambda x: ops._windows(x, 3))(x)
    for windows in (ops._windows_of_bits(x, 3), ops.patches(x, 3, binary=True)):
        assert windows.dtype == jnp.float32
        np.testing.assert_array_equal(windows, expected)


def test_only_observations_of_bits_have_windows_of_bits():
    games = ["Breakout-MinAtar", "FourRooms-misc"]
    torsos = [
        factory.make_parts(Config(environment=name), make.make(name).spec).torso
        for name in games
    ]
    assert torsos[0].binary and not getattr(torsos[1], "binary", False)
    spec = make.make("Breakout-MinAtar").spec
    pixels = jax.ShapeDtypeStruct(spec.observation.shape, jnp.uint8)
    config = Config(environment="Breakout-MinAtar")
    grey = factory.make_parts(config, spec._replace(observation=pixels)).torso
    assert not grey.binary
