import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import returns
from jaxq.types import Step


def plain_fold(reward, terminated, truncated, gamma):
    """The definition, step by step."""
    total, power = 0.0, 1.0
    for length, (r, end, cut) in enumerate(
        zip(reward, terminated, truncated, strict=True), start=1
    ):
        total += power * r
        power *= gamma
        if end:
            return total, 0.0, length
        if cut:
            break
    return total, power, length


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_fold_equals_its_definition(n, rng, strict):
    fold = jax.jit(jax.vmap(returns.fold, in_axes=(0, 0, 0, None)))
    reward = rng.normal(size=(200, n)).astype(np.float32)
    terminated, truncated = rng.random((2, 200, n)) < 0.2
    folded = fold(reward, terminated, truncated, jnp.float32(0.9))
    for i in range(200):
        expected = plain_fold(reward[i], terminated[i], truncated[i], 0.9)
        found = [np.asarray(field)[i] for field in folded]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_one_step_discount_is_gamma_exactly():
    folded = returns.fold(
        jnp.ones(1), jnp.zeros(1, bool), jnp.zeros(1, bool), jnp.float32(0.99)
    )
    assert folded.discount == np.float32(0.99)
    assert folded.reward == 1


def test_n_step_bootstraps_from_the_successor_of_its_last_step(strict):
    window = Step(
        observation=jnp.arange(4.0),
        action=jnp.arange(4),
        reward=jnp.ones(4),
        terminated=jnp.zeros(4, bool),
        truncated=jnp.array([False, True, False, False]),
        next_observation=jnp.array([1.0, 50.0, 3.0, 4.0]),
    )
    folded = returns.n_step(window, jnp.float32(0.5))
    assert folded.observation == 0 and folded.action == 0
    assert folded.reward == 1.5 and folded.discount == 0.25
    assert folded.next_observation == 50.0


def test_fold_refuses_other_shapes():
    with pytest.raises(AssertionError):
        returns.fold(jnp.ones((2, 2)), jnp.zeros(2, bool), jnp.zeros(2, bool), 0.9)
