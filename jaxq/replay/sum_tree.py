"""A tree of sums, to sample indices in proportion to their mass.

Every node is the sum of BRANCHES children; seven levels hold two million leaves. An
update recomputes the sums above a leaf from their children and never adds a difference,
so that rounding errors do not accumulate, however many updates there are.

The cost of sampling and updating grows with the number of levels,
log_BRANCHES(capacity).
"""

import jax
import jax.numpy as jnp

from jaxq.types import Array, Key
from jaxq.xla import indexing

BRANCHES = 8  # the fastest of 4 to 64; see results/performance.md#sum-tree

Tree = tuple[Array, ...]  # level 0 holds the masses; the last has at most BRANCHES


def init(capacity: int) -> Tree:
    """A tree of `capacity` zero masses."""
    levels = []
    size = capacity
    while True:
        size = -(-size // BRANCHES)
        levels.append(jnp.zeros(size * BRANCHES))
        if size == 1:
            return tuple(levels)


def of(mass: Array) -> Tree:
    """A tree of given masses.

    Args:
        mass: [capacity] float32, not negative.
    """
    levels: list[Array] = []
    while not levels or levels[-1].size > BRANCHES:
        mass = jnp.pad(mass, (0, -mass.size % BRANCHES))
        levels.append(mass)
        mass = jnp.sum(mass.reshape(-1, BRANCHES), axis=1)
    return tuple(levels)


def update(tree: Tree, place: Array, mass: Array) -> Tree:
    """Set the masses of some leaves.

    Args:
        tree: to update.
        place: [N] int32 leaves; if one repeats, it gets the largest of its masses.
        mass: [N] float32, not negative.
    """
    levels = [indexing.set_largest(tree[0], place, mass)]
    for level in tree[1:]:
        place = place // BRANCHES
        sums = jax.vmap(lambda p, low=levels[-1]: jnp.sum(_children(low, p)))(place)
        levels.append(level.at[place].set(sums, mode="promise_in_bounds"))
    return tuple(levels)


def total(tree: Tree) -> Array:
    """Sum of all masses; []."""
    return jnp.sum(tree[-1])


def draw(tree: Tree, uniform: Array) -> Array:
    """The leaf where the cumulative mass exceeds a fraction of the total.

    Args:
        tree: with a positive total.
        uniform: [] fraction, in [0, 1).

    Returns:
        [] int32 leaf, always of positive mass.
    """
    place = jnp.int32(0)
    rest = uniform * total(tree)
    for level in reversed(tree):
        child, rest = _descend(_children(level, place), rest)
        place = place * BRANCHES + child.astype(jnp.int32)
    return place


def _descend(masses: Array, rest: Array) -> tuple[Array, Array]:
    """The child where the cumulative mass exceeds `rest`, and the rest within it."""
    cumulative = jnp.cumsum(masses)
    positive = masses > 0.0
    # Rounding may leave `rest` beyond the sum of the children: then take the last.
    last = jnp.max(jnp.where(positive, jnp.arange(BRANCHES), 0))
    exceeds = (cumulative > rest) & positive
    child = jnp.where(jnp.any(exceeds), jnp.argmax(exceeds), last)
    return child, jnp.maximum(rest - (cumulative[child] - masses[child]), 0.0)


def sample(key: Key, tree: Tree, count: int) -> Array:
    """Sample leaves in proportion to their masses, one in each of `count` strata.

    Args:
        key: consumed.
        tree: with a positive total.
        count: N.

    Returns:
        [N] int32 leaves.

    Reference: Schaul et al., arXiv:1511.05952, appendix B.2.1.
    """
    jitter = jax.random.uniform(key, (count,))
    return jax.vmap(draw, in_axes=(None, 0))(tree, (jnp.arange(count) + jitter) / count)


def _children(level: Array, parent: Array) -> Array:
    """[BRANCHES] nodes below a parent."""
    return jax.lax.dynamic_slice_in_dim(level, parent * BRANCHES, BRANCHES)
