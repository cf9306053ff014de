"""How the outputs of a network represent the return of an action."""

import jax.numpy as jnp
import optax

from jaxq.types import Array, Head


def scalar(loss: str = "squared", huber_delta: Array | float = 1.0) -> Head:
    """One output an action: its expected return.

    target = r + discount * q'   and   loss = l(target - q), with
    l(x) = x^2 / 2 (squared), or Huber's: x^2 / 2 up to delta and linear beyond.

    Args:
        loss: "squared" or "huber".
        huber_delta: [] where Huber's loss turns linear.

    Raises:
        ValueError: for any other loss.

    Reference: Watkins (1989); Mnih et al. (2015), doi:10.1038/nature14236, equation 2.
    """
    losses = {
        "squared": optax.losses.l2_loss,
        "huber": lambda error: optax.losses.huber_loss(error, delta=huber_delta),
    }
    if loss not in losses:
        raise ValueError(f"loss = {loss!r}: choose one of {', '.join(losses)}")

    def backup(reward: Array, discount: Array, next_output: Array) -> Array:
        return reward + discount * next_output[0]

    def td(output: Array, target: Array) -> tuple[Array, Array]:
        error = target - output[0]
        return losses[loss](error), jnp.abs(error)

    return Head(1, lambda output: output[:, 0], backup, td)
