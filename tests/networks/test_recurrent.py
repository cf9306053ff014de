"""Recurrent networks: a sequence at once equals its steps; the equations of cells."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxq.agents import factory, loss_factory
from jaxq.config.config import Config
from jaxq.networks import linear_cells
from jaxq.rl import unrolling
from jaxq.types import EnvSpec, MaskedObservation, Sequence
from jaxq.xla import platforms

KEY = jax.random.key(0)
LINEAR = ("min_gru", "lru")
KINDS = ("lstm", "gru", *LINEAR)
SPEC = EnvSpec("test", jax.ShapeDtypeStruct((4,), jnp.float32), 3)
LENGTH = 9


def config(kind, **changes):
    return Config(
        defaults="plain",
        recurrent=kind,
        memory_size=6,
        hidden_sizes=(5,),
        **changes,
    )


def make_network(kind, spec=SPEC, **changes):
    return factory.make_networks(config(kind, **changes), spec).online


def randomised(network, observation, rng):
    """Random numbers in the shapes of the parameters, small enough to be stable."""
    params = jax.jit(network.init)(KEY, observation)
    return jax.tree.map(
        lambda x: np.asarray(x) + np.float32(0.3 * rng.normal(size=x.shape)), params
    )


def random_memory(network, rng):
    return jax.tree.map(
        lambda x: np.float32(rng.normal(size=x.shape)), network.initial_memory(KEY)
    )


def plain_unroll(network, key, params, memory, observation, ended):
    """Outputs and final memory, by the steps that an agent acts by."""
    outputs = []
    step = jax.jit(network.step)
    for t in range(len(ended)):
        row = jax.tree.map(lambda x, t=t: x[t], observation)
        output, memory = step(key, params, memory, row)
        outputs.append(output)
        if ended[t]:
            memory = network.initial_memory(KEY)
    return jax.tree.map(lambda *x: np.stack(x), *outputs), memory


def assert_close(actual, expected, **tolerance):
    actual, expected = map(jax.tree.leaves, (actual, expected))
    for left, right in zip(actual, expected, strict=True):
        np.testing.assert_allclose(left, right, **tolerance)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noisy": True, "dueling": True, "normalization": "layer"},
        {"normalize_observations": True},
    ],
    ids=["plain", "noisy", "normalized"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_at_once_equals_its_steps(kind, changes, rng, strict):
    """Also with the same noise at all steps, and from any memory."""
    assert_equals_its_steps(kind, changes, rng)


@pytest.mark.parametrize("head", ["implicit_quantile", "fully_parameterized"])
@pytest.mark.parametrize("kind", ["gru", *LINEAR])
def test_quantiles_of_a_sequence_at_once_equal_those_of_its_steps(kind, head, rng):
    """The fractions are drawn once for all steps."""
    small = {"quantile_samples": 4, "num_quantiles": 5, "num_cosines": 3}
    assert_equals_its_steps(kind, {"head": head, **small}, rng)


def assert_equals_its_steps(kind, changes, rng):
    network = make_network(kind, **changes)
    x = np.float32(rng.normal(size=(LENGTH, 4)))
    params = randomised(network, x[0], rng)
    memory = random_memory(network, rng)
    noisy = "noisy" in changes or changes.get("head") == "implicit_quantile"
    key = jax.random.key(3) if noisy else None
    unroll = jax.jit(
        lambda x, ended: unrolling.unroll(network, key, params, memory, x, ended)
    )
    # The cells that are not linear go step by step on a CPU.
    with (
        platforms.tracing("default") as chose,
        jax.debug_key_reuse(False),  # every step draws the same noise
    ):
        for ended in (rng.random(LENGTH) < 0.3, np.arange(LENGTH) == LENGTH - 1):
            actual = unroll(x, ended)
            expected = plain_unroll(network, key, params, memory, x, ended)
            assert_close(actual, expected, rtol=1e-4, atol=1e-5)
        if noisy:
            quiet = jax.jit(network.unroll)(None, params, memory, x, ended)
            pairs = zip(jax.tree.leaves(quiet), jax.tree.leaves(actual), strict=True)
            assert max(np.abs(x - y).max() for x, y in pairs) > 1e-3
        assert chose() == (kind not in LINEAR)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_gradient_of_a_sequence_at_once_is_that_of_its_steps(kind, rng):
    """With respect to the parameters, the memory and the observations."""
    network = make_network(kind)
    x = np.float32(rng.normal(size=(LENGTH, 4)))
    arguments = randomised(network, x[0], rng), random_memory(network, rng), x
    weights = np.float32(rng.normal(size=(LENGTH, 3, 1)))
    ended = np.arange(LENGTH) % 4 == 3

    def loss(params, memory, x):
        output, memory = unrolling.unroll(network, None, params, memory, x, ended)
        return jnp.sum(weights * output**2) + sum(map(jnp.sum, jax.tree.leaves(memory)))

    gradients = []
    for platform in ("cpu", "default"):
        with platforms.tracing(platform):
            grad = jax.grad(lambda *leaves: loss(*leaves), (0, 1, 2))
            gradients.append(jax.jit(grad)(*arguments))
    assert_close(*gradients, rtol=1e-4, atol=1e-5)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("kind", LINEAR)
def test_a_sequence_of_masked_observations(kind, rng):
    """The values of invalid actions are minus infinity, at every step."""
    shape = MaskedObservation(SPEC.observation, jax.ShapeDtypeStruct((3,), bool))
    spec = SPEC._replace(observation=shape, valid_actions=lambda o: o.action_mask)
    network = make_network(kind, spec)
    mask = np.arange(3) != np.arange(LENGTH)[:, None] % 3
    observation = MaskedObservation(np.float32(rng.normal(size=(LENGTH, 4))), mask)
    first = jax.tree.map(lambda x: x[0], observation)
    params = randomised(network, first, rng)
    memory, ended = random_memory(network, rng), np.arange(LENGTH) % 4 == 3
    actual = network.unroll(None, params, memory, observation, ended)
    expected = plain_unroll(network, None, params, memory, observation, ended)
    assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    q_values = jax.vmap(network.head.q_values)(actual[0])
    np.testing.assert_array_equal(np.isinf(q_values), ~mask)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def features(params, x):
    dense = params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]
    return np.maximum(x @ dense["kernel"] + dense["bias"], 0)


def values(params, y):
    dense = params["values"]["Dense_0"]["Dense_0"]
    return y @ dense["kernel"] + dense["bias"]


def double(params):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


def test_a_min_gru_remembers_by_feng_et_als_equations(rng):
    network = make_network("min_gru")
    x = np.float32(rng.normal(size=4))
    params = randomised(network, x, rng)
    memory = random_memory(network, rng)
    output, after = jax.jit(network.step)(None, params, memory, x)
    cell, y = double(params["cell"]), features(double(params), x)
    z = sigmoid(y @ cell["gate"]["kernel"] + cell["gate"]["bias"])
    candidate = y @ cell["candidate"]["kernel"] + cell["candidate"]["bias"]
    expected = (1 - z) * memory + z * candidate
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        output[:, 0], values(double(params), expected), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("head", ["implicit_quantile", "fully_parameterized"])
def test_quantiles_are_read_from_the_memory(head, rng):
    """f(h * phi(t)), Dabney et al., arXiv:1806.06923, with the cell's output h."""
    network = make_network(
        "min_gru", head=head, num_cosines=3, quantile_samples=4, num_quantiles=4
    )
    x = np.float32(rng.normal(size=4))
    params = randomised(network, x, rng)
    memory = random_memory(network, rng)
    output, after = jax.jit(network.step)(jax.random.key(5), params, memory, x)
    weights = double(params)
    h = np.float64(after)
    if head == "fully_parameterized":
        proposal = weights["fractions"]["Dense_0"]
        lengths = definitions.softmax(h @ proposal["kernel"] + proposal["bias"])
        ends = np.concatenate([[0.0], np.cumsum(lengths)])
        output = output.quantiles
        fractions = (ends[1:] + ends[:-1]) / 2
        np.testing.assert_allclose(output.weight[0], lengths, rtol=1e-4)
    else:
        fractions = np.float64(output.fraction[0])
        assert len(set(fractions)) == 4 and not np.allclose(
            fractions, (np.arange(4) + 0.5) / 4
        )
        np.testing.assert_allclose(output.weight, 1 / 4)
    np.testing.assert_allclose(output.fraction[1], fractions, rtol=1e-4)
    embedding = weights["FractionEmbedding_0"]["Dense_0"]["Dense_0"]
    for i, fraction in enumerate(fractions):
        cosines = np.cos(np.pi * fraction * np.arange(3))
        phi = np.maximum(cosines @ embedding["kernel"] + embedding["bias"], 0)
        expected = values(weights, h * phi)
        np.testing.assert_allclose(output.value[:, i], expected, rtol=1e-3, atol=1e-4)


def gelu(x):
    return x * scipy.stats.norm.cdf(x)


def test_an_lru_remembers_by_orvieto_et_als_equations(rng):
    network = make_network("lru")
    x = np.float32(rng.normal(size=4))
    params = randomised(network, x, rng)
    memory = random_memory(network, rng)
    output, after = jax.jit(network.step)(None, params, memory, x)
    cell, u = double(params["cell"]), features(double(params), x)
    part, read = cell["recurrence"], cell["readout"]
    eigenvalue = np.exp(-np.exp(part["nu"]) + 1j * np.exp(part["theta"]))
    B = part["Dense_0"]["kernel"]
    B = (B[:, :6] + 1j * B[:, 6:]).T
    state = memory[0] + 1j * memory[1]
    state = eigenvalue * state + np.exp(part["log_gamma"]) * (B @ u)
    np.testing.assert_allclose(after, [state.real, state.imag], rtol=1e-4, atol=1e-5)
    C = read["Dense_0"]["kernel"]
    C = (C[:6] - 1j * C[6:]).T
    y = gelu((C @ state).real + read["D"] * u)
    first, second = (
        y @ read[name]["kernel"] + read[name]["bias"] for name in ("Dense_1", "Dense_2")
    )
    expected = values(double(params), u + first * sigmoid(second))
    np.testing.assert_allclose(output[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_the_eigenvalues_of_an_lru_start_on_the_ring(rng):
    """Their area is uniform on it, and their inputs are normalised by gamma."""
    size, width = 4_000, 8
    cell = linear_cells.LRU(size)
    x = jnp.asarray(rng.normal(size=width), jnp.float32)
    params = jax.jit(cell.init)(KEY, jnp.zeros((2, size)), x)["params"]["recurrence"]
    radius = np.exp(-np.exp(np.asarray(params["nu"], np.float64)))
    low, high = linear_cells.SMALLEST, linear_cells.LARGEST
    assert radius.min() >= low - 1e-6 and radius.max() <= high + 1e-6
    area = (radius**2 - low**2) / (high**2 - low**2)
    turns = np.exp(params["theta"]) / (2 * np.pi)
    for uniform in (area, turns):
        counts = np.histogram(uniform, bins=10, range=(-1e-4, 1 + 1e-4))[0]
        assert np.abs(counts - size / 10).max() < 5 * np.sqrt(size / 10)
    gamma = np.exp(np.asarray(params["log_gamma"], np.float64))
    np.testing.assert_allclose(gamma, np.sqrt(1 - radius**2), rtol=1e-3)
    # With white inputs of unit variance, the state's variance is that of B x: 1.
    kernel = np.asarray(params["Dense_0"]["kernel"])
    assert kernel.shape == (width, 2 * size)
    assert np.var(kernel) == pytest.approx(1 / (2 * width), rel=0.03)


@pytest.mark.parametrize("kind", LINEAR)
def test_initialisation_calls_no_lapack(kind):
    network = make_network(kind, weight_init="orthogonal")
    start = jax.jit(jax.vmap(network.init, (0, None)))
    text = start.lower(jax.random.split(KEY, 5), jnp.zeros(4)).as_text()
    assert "lapack" not in text and "geqrf" not in text


def zero_sequence(network, length):
    step = SPEC.example()
    rows = jax.tree.map(lambda x: jnp.zeros((length, *x.shape), x.dtype), step)
    return Sequence(
        network.initial_memory(KEY), rows.observation, rows.action, rows.reward,
        rows.terminated, rows.truncated,
    )  # fmt: skip


def gradient_of_loss(name, kind, steps):
    """The jaxpr of the gradient of the loss of a sequence."""
    changes = {"algorithm": name, "n_step": 2, "sequence_length": steps, "burn_in": 4}
    if name == "pqn_rnn":
        changes = {"algorithm": name}
    full = config(kind, **changes)
    networks = factory.make_networks(full, SPEC)
    if name == "pqn_rnn":
        loss, length = loss_factory.make_regression_loss(full, networks.online), steps
    else:
        loss, length = loss_factory.make_loss(full, networks), steps + 4 + 2
    params = jax.eval_shape(networks.online.init, KEY, jnp.zeros(4))
    return jax.make_jaxpr(jax.grad(lambda *x: loss(KEY, *x)[0]))(
        params, params, zero_sequence(networks.online, length)
    ).jaxpr


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("name", ["r2d2", "pqn_rnn"])
def test_the_depth_of_learning_grows_with_the_logarithm_of_the_length(name, kind):
    jaxprs = [gradient_of_loss(name, kind, steps) for steps in (24, 48, 96, 192)]
    assert not {"scan", "while"} & definitions.primitives(jaxprs[0])
    depths = [definitions.longest_path(jaxpr) for jaxpr in jaxprs]
    assert max(np.diff(depths)) < 60 and depths[-1] < 3 * depths[0]
    # A cell that reads its own output is a loop, which the search does find.
    assert "scan" in definitions.primitives(gradient_of_loss(name, "gru", 24))
