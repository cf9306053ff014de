"""Signed TD errors of every head, against the definition of its mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import ALL

from jaxq.networks import masking
from jaxq.rl import double_q, heads, losses, recurrent_losses, rescaling
from jaxq.rl.heads import ProposedQuantiles, Quantiles, QuantileTarget
from jaxq.types import Sequence, feed_forward


def mean_of(name, head, target):
    """The expected return that a target stands for."""
    if isinstance(target, QuantileTarget):
        values = np.asarray(target.value)
        if "rescaled" in name:
            values = np.asarray(rescaling.unrescale(values))
        return float(np.dot(target.weight, values))
    if head.num_outputs > 1:  # probabilities of a histogram, whose logits give its mean
        logits = jnp.log(jnp.maximum(target, 1e-30))
        return float(head.q_values(logits[None])[0])
    return float(rescaling.unrescale(target)) if "rescaled" in name else float(target)


@pytest.mark.parametrize("name", ALL)
def test_the_error_is_the_mean_of_the_target_minus_the_estimate(name, rng):
    head = ALL[name].head
    masked = masking.masked_head(head)
    for _ in range(20):
        output, after = rng.normal(size=(2, head.num_outputs)).astype(np.float32)
        target = head.backup(*np.float32([2 * rng.normal(), 0.9]), jnp.asarray(after))
        output = jnp.asarray(output)
        error = head.td_error(output, target)
        expected = mean_of(name, head, target) - head.q_values(output[None])[0]
        np.testing.assert_allclose(error, expected, rtol=1e-4, atol=2e-5)
        with_mask = masked.td_error(masking.MaskedOutput(output, jnp.ones(3)), target)
        assert with_mask == error
    assert masking.masked_head(head._replace(td_error=None)).td_error is None


def test_the_error_of_sampled_quantiles_is_the_signed_priority(rng):
    head, proposing = heads.implicit_quantile(), heads.fully_parameterized()
    for _ in range(20):
        value, fraction = rng.random((2, 5)).astype(np.float32)
        weight = rng.dirichlet(np.ones(5)).astype(np.float32)
        output = Quantiles(jnp.asarray(value), jnp.asarray(fraction), weight)
        target = QuantileTarget(
            jnp.asarray(rng.random(4), jnp.float32), jnp.full(4, 0.25)
        )
        error = float(head.td_error(output, target))
        expected = target.value.mean() - np.dot(weight, value)
        np.testing.assert_allclose(error, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(abs(error), head.loss(output, target)[1], atol=1e-6)
        proposed = ProposedQuantiles(output, jnp.ones(4), jnp.ones(4), jnp.ones(()))
        assert float(proposing.td_error(proposed, target)) == error


def test_the_error_of_double_q_learning_is_that_of_the_table_that_learns():
    head = double_q.double_table()
    output = jnp.array([3.0, -1.0])
    assert head.td_error(output, (jnp.int32(0), jnp.float32(5))) == 2.0
    assert head.td_error(output, (jnp.int32(1), jnp.float32(5))) == 6.0


def test_a_sequence_reports_the_mean_over_the_steps_that_count():
    """And it bootstraps from the next episode, if the task is continuing."""
    reward = jnp.array([1.0, 2.0, 3.0, 4.0, 0.0])
    ends = jnp.arange(5) == 1
    cut = jnp.arange(5) == 3  # this step has weight 0, and so has no error
    sequence = Sequence((), jnp.arange(5.0), jnp.zeros(5, jnp.int32), reward, ends, cut)
    network = feed_forward(
        lambda key, observation: (),
        lambda key, params, observation: 10.0 * observation[None, None],
        heads.scalar(),
    )

    def errors(continuing):
        loss = recurrent_losses.td_loss(network, 0, 1, 0.5, continuing=continuing)
        _, info = loss(jax.random.key(0), (), (), sequence)
        return float(info.td_error)

    first, third = 1 + 5 - 0, 3 + 15 - 20
    assert errors(False) == pytest.approx((first + (2 - 10) + third) / 3)
    assert errors(True) == pytest.approx((first + (2 + 10 - 10) + third) / 3)


def test_a_head_without_an_error_leaves_the_loss_as_it_was():
    head = heads.scalar()
    output, target = jnp.array([[1.0], [2.0]]), jnp.float32(5)
    value, info = losses.compare(head, output, jnp.int32(1), target)
    assert info.td_error == 3.0
    plain = head._replace(td_error=None)
    other, without = losses.compare(plain, output, jnp.int32(1), target)
    assert other == value and without == info._replace(td_error=None)
