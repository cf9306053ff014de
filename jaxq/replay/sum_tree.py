"""A tree of sums, to draw places in proportion to their mass.

Every node is the sum of BRANCHES children, so seven levels serve two million places. A
change recomputes the sums above it from their children and never adds a difference:
there is nothing that could drift, however many changes there are.

The cost of a draw or a change grows with the number of levels, log_BRANCHES(capacity).
"""

import jax
import jax.numpy as jnp

from jaxq.types import Array, Key

# Steps/s of 8 seeds of CartPole with minibatches of 128 (two CPU cores), at 10^4 and
# 10^6 places: 104,000 and 56,000 with 64 branches, 114,000 and 88,000 with 32, 129,000
# and 78,000 with 16, at least 143,000 and 108,000 with 8; 4 are no better.
BRANCHES = 8

Tree = tuple[Array, ...]  # level 0 holds the masses; the last has at most BRANCHES


def init(capacity: int) -> Tree:
    """A tree of zeros for `capacity` places."""
    levels = []
    size = capacity
    while True:
        size = -(-size // BRANCHES)
        levels.append(jnp.zeros(size * BRANCHES))
        if size == 1:
            return tuple(levels)


def update(tree: Tree, place: Array, mass: Array) -> Tree:
    """Set the masses of some places.

    Args:
        tree: to change.
        place: [N] int32; of equal ones, the largest mass is kept, in any order.
        mass: [N] float32, not negative.
    """
    # A zero made of the masses: the write then follows all that they were computed
    # from, which the constant does not, and XLA copies no leaves to keep what was read.
    zero = jnp.minimum(mass, 0.0)
    leaves = tree[0].at[place].set(zero, mode="promise_in_bounds")
    levels = [leaves.at[place].max(mass, mode="promise_in_bounds")]
    for level in tree[1:]:
        place = place // BRANCHES
        sums = jax.vmap(lambda p, low=levels[-1]: jnp.sum(_children(low, p)))(place)
        levels.append(level.at[place].set(sums, mode="promise_in_bounds"))
    return tuple(levels)


def total(tree: Tree) -> Array:
    """Mass of all places; []."""
    return jnp.sum(tree[-1])


def draw(tree: Tree, uniform: Array) -> Array:
    """The place where the running sum of masses passes a share of the total.

    Args:
        tree: with some mass.
        uniform: [] share, in [0, 1).

    Returns:
        [] int32 place, always one of positive mass.
    """
    place = jnp.int32(0)
    rest = uniform * total(tree)
    for level in reversed(tree):
        masses = _children(level, place)
        cumulative = jnp.cumsum(masses)
        positive = masses > 0.0
        # Rounding may leave `rest` beyond the sum of the children: take the last.
        last = jnp.max(jnp.where(positive, jnp.arange(BRANCHES), 0))
        found = jnp.argmax((cumulative > rest) & positive)
        child = jnp.where(jnp.any((cumulative > rest) & positive), found, last)
        rest = jnp.maximum(rest - (cumulative[child] - masses[child]), 0.0)
        place = place * BRANCHES + child.astype(jnp.int32)
    return place


def sample(key: Key, tree: Tree, count: int) -> Array:
    """Draw places in proportion to their masses, one in each of `count` equal shares.

    Reference: Schaul et al., arXiv:1511.05952, appendix B.2.1.
    """
    jitter = jax.random.uniform(key, (count,))
    return jax.vmap(draw, in_axes=(None, 0))(tree, (jnp.arange(count) + jitter) / count)


def _children(level: Array, parent: Array) -> Array:
    """[BRANCHES] nodes below a parent."""
    return jax.lax.dynamic_slice_in_dim(level, parent * BRANCHES, BRANCHES)
