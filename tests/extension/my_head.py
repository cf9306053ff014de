"""A user-defined head: the expected return, with log cosh of the TD error as loss."""

import jax.numpy as jnp

from jaxq.types import Head


def log_cosh() -> Head:
    def q_values(output):
        return output[:, 0]

    def backup(reward, discount, next_output):
        return reward + discount * next_output[0]

    def loss(output, target):
        error = target - output[0]
        return jnp.logaddexp(error, -error) - jnp.log(2.0), jnp.abs(error)

    return Head(num_outputs=1, q_values=q_values, backup=backup, loss=loss)
