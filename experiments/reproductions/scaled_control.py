"""Classic control with observations in [-1, 1], as Dopamine's agents see them.

The bounds are those that Dopamine divides by; velocities of CartPole may exceed theirs.
"""

import math
from typing import Any

import jax.numpy as jnp
from gymnax.environments.classic_control import acrobot, cartpole, mountain_car

from jaxq.types import Array


class CartPole(cartpole.CartPole):
    """CartPole with scaled observations."""

    def get_obs(self, *args: Any, **kwargs: Any) -> Array:
        """[4] float32."""
        bounds = jnp.array([2.4, 5.0, math.pi / 12, 2 * math.pi])
        return super().get_obs(*args, **kwargs) / bounds


class Acrobot(acrobot.Acrobot):
    """Acrobot with scaled observations."""

    def get_obs(self, *args: Any, **kwargs: Any) -> Array:
        """[6] float32."""
        bounds = jnp.array([1.0, 1.0, 1.0, 1.0, 5.0, 5.0])
        return super().get_obs(*args, **kwargs) / bounds


class MountainCar(mountain_car.MountainCar):
    """MountainCar with scaled observations."""

    def get_obs(self, *args: Any, **kwargs: Any) -> Array:
        """[2] float32."""
        observation = super().get_obs(*args, **kwargs)
        return (observation - jnp.array([-0.3, 0.0])) / jnp.array([0.9, 0.07])
