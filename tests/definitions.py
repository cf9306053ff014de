"""Heads and losses, defined by the plainest NumPy loops in float64."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from jaxq.rl import categorical as categorical_heads
from jaxq.rl import heads
from jaxq.types import Transition, feed_forward


def softmax(x):
    exponential = np.exp(np.asarray(x, np.float64) - np.max(x))
    return exponential / exponential.sum()


def huber(error, delta):
    if abs(error) <= delta:
        return error**2 / 2
    return delta * (abs(error) - delta / 2)


def rescale(x):
    return np.sign(x) * (np.sqrt(abs(x) + 1) - 1) + 1e-3 * x


def unrescale(y):
    """The inverse of `rescale`, by bisection."""
    low, high = -1e7, 1e7
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rescale(middle) < y else (low, middle)
    return (low + high) / 2


def project(value, probability, atoms):
    """Projection onto equally spaced atoms.

    Bellemare et al., arXiv:1707.06887, algorithm 1.
    """
    spacing = (atoms[-1] - atoms[0]) / (len(atoms) - 1)
    mass = np.zeros(len(atoms))
    for z, p in zip(value, probability, strict=True):
        b = (min(max(z, atoms[0]), atoms[-1]) - atoms[0]) / spacing
        lower, upper = int(np.floor(b)), int(np.ceil(b))
        if lower == upper:  # the published algorithm loses this mass
            mass[lower] += p
        else:
            mass[lower] += p * (upper - b)
            mass[upper] += p * (b - lower)
    return mass


def cross_entropy(logits, target):
    """Cross-entropy and Kullback-Leibler divergence."""
    entropy, divergence = 0.0, 0.0
    for p, q in zip(target, softmax(logits), strict=True):
        entropy -= p * np.log(q)
        divergence += p * np.log(p / q) if p > 0 else 0.0
    return entropy, divergence


def quantile_loss(value, fraction, target, weight, delta):
    total = 0.0
    for theta, tau in zip(value, fraction, strict=True):
        for sample, w in zip(target, weight, strict=True):
            u = sample - theta
            total += w * abs(tau - (u < 0)) * huber(u, delta) / delta
    return total


def epsilon_greedy(q_values, epsilon):
    valid = [q > -np.inf for q in q_values]
    best = [q == max(q_values) for q in q_values]
    return np.array(
        [
            epsilon * v / sum(valid) + (1 - epsilon) * b / sum(best)
            for v, b in zip(valid, best, strict=True)
        ]
    )


class Weighted(NamedTuple):
    """Samples of a return that are not equally likely."""

    value: np.ndarray
    weight: np.ndarray


class Plain(NamedTuple):
    """A head, and the definition of its functions."""

    head: heads.Head
    q_values: Callable  # output[A, K] -> [A]
    backup: Callable  # reward, discount, next_output[K] -> target
    loss: Callable  # output[K], target -> (loss, priority)
    mixture: Callable  # reward, discount, next_output[A, K], policy[A] -> target


def scalar(loss="squared", delta=1.0, rescaled=False):
    h = rescale if rescaled else lambda x: x
    h_inverse = unrescale if rescaled else lambda y: y

    def compare(output, target):
        error = target - output[0]
        value = error**2 / 2 if loss == "squared" else huber(error, delta)
        return value, abs(error)

    def mixture(reward, discount, output, policy):
        returns = [h_inverse(y) for y in output[:, 0]]
        return h(reward + discount * np.dot(policy, returns))

    return Plain(
        heads.scalar(loss, delta, rescaled),
        lambda output: np.array([h_inverse(y) for y in output[:, 0]]),
        lambda r, d, output: h(r + d * h_inverse(output[0])),
        compare,
        mixture,
    )


def quantile(size, delta=1.0, rescaled=False):
    h = rescale if rescaled else lambda x: x
    h_inverse = unrescale if rescaled else lambda y: y
    fraction = [(2 * i + 1) / (2 * size) for i in range(size)]

    def compare(output, target):
        if not isinstance(target, Weighted):
            target = Weighted(target, np.full(len(target), 1 / len(target)))
        loss = quantile_loss(output, fraction, *target, delta)
        return loss, abs(np.dot(*target) - np.mean(output))

    def backup(reward, discount, output):
        return np.array([h(reward + discount * h_inverse(y)) for y in output])

    def mixture(reward, discount, output, policy):
        samples = [
            (y, p / len(z)) for z, p in zip(output, policy, strict=True) for y in z
        ]
        value, weight = np.array(samples).T
        return Weighted(backup(reward, discount, value), weight)

    return Plain(
        heads.quantile(size, delta, rescaled),
        lambda output: np.array([np.mean([h_inverse(y) for y in z]) for z in output]),
        backup,
        compare,
        mixture,
    )


def _histogram(head, centres, backup):
    def q_values(output):
        return np.array([softmax(z) @ centres for z in output])

    def mixture(reward, discount, output, policy):
        probabilities = sum(p * softmax(z) for p, z in zip(policy, output, strict=True))
        return backup(reward, discount, np.log(probabilities))

    return Plain(head, q_values, backup, cross_entropy, mixture)


def categorical(size, low, high):
    atoms = np.linspace(low, high, size)

    def backup(reward, discount, output):
        return project([reward + discount * z for z in atoms], softmax(output), atoms)

    return _histogram(categorical_heads.categorical(size, low, high), atoms, backup)


def two_hot(size, low, high):
    atoms = np.linspace(low, high, size)

    def backup(reward, discount, output):
        return project([reward + discount * softmax(output) @ atoms], [1.0], atoms)

    return _histogram(categorical_heads.two_hot(size, low, high), atoms, backup)


def hl_gauss(size, low, high, sigma=0.75):
    edges = np.linspace(low, high, size + 1)
    centres = (edges[1:] + edges[:-1]) / 2

    def backup(reward, discount, output):
        mean = np.clip(reward + discount * softmax(output) @ centres, low, high)
        width = (high - low) / size
        cumulative = scipy.stats.norm.cdf(edges, mean, sigma * width)
        return np.diff(cumulative) / (cumulative[-1] - cumulative[0])

    return _histogram(
        categorical_heads.hl_gauss(size, low, high, sigma), centres, backup
    )


ALL = {
    "squared": scalar(),
    "huber": scalar("huber", 0.7),
    "rescaled": scalar(rescaled=True),
    "quantile": quantile(5, 0.3),
    "quantile_rescaled": quantile(4, 1.0, True),
    "categorical": categorical(7, -2.0, 3.0),
    "categorical_from_0": categorical(6, 0.0, 2.5),
    "two_hot": two_hot(9, -3.0, 1.0),
    "hl_gauss": hl_gauss(8, 0.0, 4.0),
    "hl_gauss_narrow": hl_gauss(5, -4.0, 4.0, 0.3),
}


STATES, ACTIONS = 4, 3


def table_network(head, view=lambda row: row):
    """A network whose output is a view of a row of its parameters [S, A, K]."""
    return feed_forward(
        lambda key, observation: None,
        lambda key, params, observation: view(params[observation]),
        head,
    )


def transitions(rng, size):
    """A batch of random transitions between the rows of a table."""

    def index(limit):
        return jnp.asarray(rng.integers(limit, size=size), jnp.int32)

    def real(values):
        return jnp.asarray(values, jnp.float32)

    return Transition(
        observation=index(STATES),
        action=index(ACTIONS),
        reward=real(rng.normal(size=size)),
        discount=real(rng.choice([0.0, 0.5, 0.9], size)),
        next_observation=index(STATES),
        next_action=index(ACTIONS),
        epsilon=real(rng.random(size)),
    )


def example(batch, index):
    """One example of a batch, with NumPy leaves."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], batch)


def tables(rng, outputs):
    """Two random tables [S, A, outputs] of float32 values, in float64."""
    values = rng.normal(size=(2, STATES, ACTIONS, outputs))
    return values.astype(np.float32).astype(np.float64)


def slope(function, x, step=1e-6):
    """The gradient of a function of a vector, by central differences."""
    shifts = step * np.eye(x.size)
    return np.array([function(x + h) - function(x - h) for h in shifts]) / (2 * step)


def inner_jaxprs(equation):
    """The jaxprs that an equation calls."""
    for value in equation.params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                yield part


def primitives(jaxpr):
    """Names of all primitives of a jaxpr, inner ones included."""
    names = set()
    for equation in jaxpr.eqns:
        names.add(str(equation.primitive))
        names = names.union(*map(primitives, inner_jaxprs(equation)))
    return names


def longest_path(jaxpr):
    """Length of the longest chain of operations that depend on one another.

    A call counts as many operations as the longest chain inside it.
    """
    depth = {}
    for equation in jaxpr.eqns:
        before = [depth.get(x, 0) for x in equation.invars if not hasattr(x, "val")]
        inner = [longest_path(part) for part in inner_jaxprs(equation)]
        after = max(before, default=0) + max(inner, default=1)
        depth.update(dict.fromkeys(equation.outvars, after))
    return max(depth.values(), default=0)
