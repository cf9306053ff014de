"""Losses of sequences for heads whose views sample different numbers of quantiles."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxq.rl import heads, munchausen, recurrent_losses
from jaxq.types import Network, Sequence

ACTIONS, LENGTH, BURN_IN, GAMMA, DELTA = 3, 12, 2, 0.9, 0.8
ONLINE, EVALUATE, SELECT = 4, 5, 3  # quantiles of each view
HEAD = heads.implicit_quantile(DELTA)


def plain_step(params, memory, observation, samples):
    """Quantiles [A, N] that are linear in a decaying sum of observations."""
    memory = 0.6 * memory + params["input"] * observation
    fraction = (np.arange(samples) + 0.5) / samples
    value = params["scale"][:, None] * (memory + fraction)[None, :]
    return value + params["bias"][:, None], memory


def view(samples):
    def step(key, params, memory, observation):
        value, memory = plain_step(params, memory, observation, samples)
        fraction = jnp.broadcast_to((jnp.arange(samples) + 0.5) / samples, value.shape)
        weight = jnp.full(value.shape, 1.0 / samples)
        return heads.Quantiles(value, fraction, weight), memory

    return Network(None, None, HEAD, step, lambda key: jnp.float32(0.0))


def random_params(rng):
    return {
        "input": np.float32(rng.normal()),
        "scale": rng.normal(size=ACTIONS).astype(np.float32),
        "bias": rng.normal(size=ACTIONS).astype(np.float32),
    }


def random_sequence(rng):
    terminated = rng.random(LENGTH) < 0.15
    return Sequence(
        memory=np.float32(rng.normal()),
        observation=rng.normal(size=LENGTH).astype(np.float32),
        action=rng.integers(ACTIONS, size=LENGTH).astype(np.int32),
        reward=rng.normal(size=LENGTH).astype(np.float32),
        terminated=terminated,
        truncated=(rng.random(LENGTH) < 0.15) & ~terminated,
    )


def plain_outputs(params, sequence, samples):
    """[L, A, N] of all steps, burn-in included."""
    params = {name: np.float64(leaf) for name, leaf in params.items()}
    outputs, memory = [], np.float64(sequence.memory)
    for t in range(LENGTH):
        output, memory = plain_step(params, memory, sequence.observation[t], samples)
        outputs.append(output)
        if sequence.terminated[t] or sequence.truncated[t]:
            memory = 0.0
    return np.stack(outputs)


SOFT = munchausen.Munchausen(0.7, 0.5, -0.4)


def plain_loss(params, target_params, sequence, double, soft):
    """Mean one-step loss after the burn-in."""
    online = plain_outputs(params, sequence, ONLINE)
    evaluate = plain_outputs(target_params, sequence, EVALUATE)
    select_params = params if double else target_params
    select = plain_outputs(select_params, sequence, SELECT).mean(axis=2)
    fractions = (np.arange(ONLINE) + 0.5) / ONLINE
    total = 0.0
    for t in range(BURN_IN, LENGTH - 1):
        if sequence.truncated[t]:  # its successor was not stored
            continue
        action, reward = sequence.action[t], sequence.reward[t]
        discount = 0.0 if sequence.terminated[t] else GAMMA
        if soft:
            now, after = (log_softmax(select[i] / SOFT.temperature) for i in (t, t + 1))
            reward += SOFT.alpha * max(SOFT.temperature * now[action], SOFT.clip)
            policy = np.exp(after)
            reward -= discount * SOFT.temperature * policy @ after
            following = policy @ evaluate[t + 1]
        else:
            following = evaluate[t + 1, np.argmax(select[t + 1])]
        total += definitions.quantile_loss(
            online[t, action],
            fractions,
            reward + discount * following,
            np.full(EVALUATE, 1 / EVALUATE),
            DELTA,
        )
    return total / (LENGTH - 1 - BURN_IN)


@pytest.mark.parametrize(
    ("double", "soft"), [(False, False), (True, False), (False, True)]
)
def test_views_estimate_evaluate_and_select_by_their_own_quantiles(double, soft, rng):
    loss = recurrent_losses.td_loss(
        view(ONLINE), BURN_IN, 1, GAMMA, double, evaluator=view(EVALUATE),
        selector=view(SELECT), soft=SOFT if soft else None,
    )  # fmt: skip
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(1, 2), has_aux=True))
    endings = set()
    for seed in range(12):
        params, target_params = random_params(rng), random_params(rng)
        sequence = random_sequence(rng)
        (value, info), gradients = compiled(
            jax.random.key(seed), params, target_params, sequence
        )
        expected = plain_loss(params, target_params, sequence, double, soft)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
        assert np.isfinite(info.priority) and np.any(gradients[0]["scale"])
        assert not any(np.any(leaf) for leaf in gradients[1].values())
        endings.add((sequence.terminated.any(), sequence.truncated.any()))
    assert len(endings) > 1


@pytest.mark.conformance
@pytest.mark.slow
def test_selection_and_evaluation_can_differ(rng):
    """The selector's quantiles, not the evaluator's, choose the next action."""

    def opposite(key, params, memory, observation):
        output, memory = view(SELECT).step(key, params, memory, observation)
        return output._replace(value=-output.value), memory

    trees = random_params(rng), random_params(rng)
    sequence = jax.tree.map(jnp.asarray, random_sequence(rng))
    values = set()
    for selector in (None, view(SELECT), view(SELECT)._replace(step=opposite)):
        loss = recurrent_losses.td_loss(
            view(ONLINE), BURN_IN, 1, GAMMA, evaluator=view(EVALUATE), selector=selector
        )
        values.add(float(loss(jax.random.key(0), *trees, sequence)[0]))
    # The views agree on the best action; the opposite of it has another value.
    assert len(values) == 2
