import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import heads, losses
from jaxq.types import Network, Transition


def table_network(head):
    """Outputs are rows of a parameter table: observation [] -> output[A, 1]."""
    return Network(
        lambda key, observation: None,
        lambda key, params, observation: params[observation][:, None],
        head,
    )


def make_case(rng):
    transition = Transition(
        observation=jnp.int32(rng.integers(4)),
        action=jnp.int32(rng.integers(3)),
        reward=jnp.float32(rng.normal()),
        discount=jnp.float32(rng.choice([0.0, 0.9])),
        next_observation=jnp.int32(rng.integers(4)),
    )
    online, target = rng.normal(size=(2, 4, 3)).astype(np.float32)
    return transition, jnp.asarray(online), jnp.asarray(target)


def plain_error(transition, online, target, double):
    s, a, r, discount, after = (np.asarray(field) for field in transition)
    online, target = np.asarray(online), np.asarray(target)
    best = np.argmax(online[after] if double else target[after])
    return r + discount * target[after, best] - online[s, a]


def plain_loss(kind, error, delta):
    if kind == "squared" or abs(error) <= delta:
        return error**2 / 2
    return delta * (abs(error) - delta / 2)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("kind", ["squared", "huber"])
def test_td_loss_equals_its_definition(kind, double, rng, strict):
    delta = 0.7
    network = table_network(heads.scalar(kind, jnp.float32(delta)))
    loss = losses.td_loss(network, double)
    with_gradient = jax.jit(jax.value_and_grad(loss, argnums=1, has_aux=True))
    for _ in range(50):
        transition, online, target = make_case(rng)
        (value, info), gradient = with_gradient(
            jax.random.key(0), online, target, transition
        )
        error = plain_error(transition, online, target, double)
        np.testing.assert_allclose(value, plain_loss(kind, error, delta), rtol=1e-4)
        np.testing.assert_allclose(info.priority, abs(error), rtol=1e-4)
        s, a = int(transition.observation), int(transition.action)
        assert info.q_value == online[s, a]
        # Semi-gradient: only the entry of the action taken, and not the target.
        expected = np.zeros((4, 3))
        slope = error if kind == "squared" else np.clip(error, -delta, delta)
        expected[s, a] = -slope
        np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_loss_uses_the_target_params(rng):
    loss = losses.td_loss(table_network(heads.scalar()))
    transition, online, target = make_case(rng)
    transition = transition._replace(discount=jnp.float32(0.9))
    key = jax.random.key(0)
    before = loss(key, online, target, transition)[1].priority
    after = loss(key, online, target + 10, transition)[1].priority
    assert abs(before - after) > 1
    gradient = jax.grad(lambda t: loss(key, online, t, transition)[0])(target)
    assert not np.any(gradient)


def test_a_terminal_transition_ignores_its_successor(rng):
    loss = losses.td_loss(table_network(heads.scalar()))
    transition, online, target = make_case(rng)
    transition = transition._replace(discount=jnp.float32(0))
    key = jax.random.key(0)
    other = transition._replace(next_observation=(transition.next_observation + 1) % 4)
    assert loss(key, online, target, transition) == loss(key, online, target, other)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="'cubed': choose one of squared, huber"):
        heads.scalar("cubed")


def test_equal_to_rlax(rng):
    rlax = pytest.importorskip("rlax")
    for double in (False, True):
        loss = losses.td_loss(table_network(heads.scalar()), double)
        transition, online, target = make_case(rng)
        s, a, r, discount, after = transition
        if double:
            error = rlax.double_q_learning(
                online[s], a, r, discount, target[after], online[after]
            )
        else:
            error = rlax.q_learning(online[s], a, r, discount, target[after])
        value, _ = loss(jax.random.key(0), online, target, transition)
        np.testing.assert_allclose(value, error**2 / 2, rtol=1e-5)
