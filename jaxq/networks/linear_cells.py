"""Recurrent cells that are linear in their memory, as flax modules.

A whole sequence is computed by an associative scan instead of step by step.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxq.types import Array, Key

SMALLEST, LARGEST = 0.9, 0.999  # radii of the ring of initial eigenvalues of the LRU


class LinearCell(nn.Module):
    """A cell whose state follows a diagonal linear recurrence.

    h_t = a(x_t) h_{t-1} + b(x_t),  y_t = output(h_t, x_t)

    Subclasses define `affine`, which returns a and b, and `output`. The memory is the
    state as a float32 array.
    """

    memory_size: int

    def affine(self, x: Array) -> tuple[Array, Array]:
        """[D] -> decay [M], drive [M]."""
        raise NotImplementedError

    def output(self, state: Array, x: Array) -> Array:
        """[M], [D] -> [D']."""
        raise NotImplementedError

    def memory_shape(self) -> tuple[int, ...]:
        """Shape of the memory, which is zero at the start of an episode."""
        return (self.memory_size,)

    def to_state(self, memory: Array) -> Array:
        """The state [M] that a memory stands for."""
        return memory

    def to_memory(self, state: Array) -> Array:
        """The inverse of `to_state`."""
        return state

    def __call__(self, memory: Array, x: Array) -> tuple[Array, Array]:
        """One step: memory, [D] -> memory, [D']."""
        decay, drive = self.affine(x)
        state = decay * self.to_state(memory) + drive
        return self.to_memory(state), self.output(state, x)


class MinGRU(LinearCell):
    """A GRU whose gate and candidate depend on the input alone.

    h_t = (1 - z_t) h_{t-1} + z_t c_t,  z_t = sigmoid(W_z x_t),  c_t = W_h x_t

    Differs from the paper's log-space form, which keeps the state positive so that its
    logarithm exists; this scan needs no logarithms.

    Reference: Feng et al., arXiv:2410.01201, section 3.1.
    """

    def setup(self) -> None:  # noqa: D102
        self.gate = nn.Dense(self.memory_size)
        self.candidate = nn.Dense(self.memory_size)

    def affine(self, x: Array) -> tuple[Array, Array]:
        """[D] -> 1 - z, z c."""
        gate = nn.sigmoid(self.gate(x))
        return 1.0 - gate, gate * self.candidate(x)

    def output(self, state: Array, x: Array) -> Array:
        """The state itself."""
        del x
        return state


class LRU(LinearCell):
    """The Linear Recurrent Unit, and the gated linear unit that follows it.

    h_t = lambda h_{t-1} + gamma B x_t,  lambda = exp(-exp(nu) + i exp(theta))
    y_t = Re(C h_t) + D x_t,  output = x_t + (W_1 g) sigmoid(W_2 g),  g = gelu(y_t)

    nu, theta and log gamma are learned. At first lambda is uniform on a ring, and
    gamma = sqrt(1 - |lambda|^2). The memory is [2, M]: real and imaginary parts.

    Differs in that the torso's normalisation, if any, stands in for the block's own.

    Reference: Orvieto et al., arXiv:2303.06349, section 3 and appendix A.
    """

    def setup(self) -> None:  # noqa: D102
        self.recurrence = Diagonal(self.memory_size)
        self.readout = GatedReadout()

    def affine(self, x: Array) -> tuple[Array, Array]:
        """[D] -> lambda, gamma B x; complex."""
        return self.recurrence(x)

    def output(self, state: Array, x: Array) -> Array:
        """[M] complex, [D] -> [D]."""
        return self.readout(state, x)

    def memory_shape(self) -> tuple[int, ...]:
        """Two real numbers per unit."""
        return (2, self.memory_size)

    def to_state(self, memory: Array) -> Array:
        """[2, M] -> [M] complex."""
        return jax.lax.complex(memory[0], memory[1])

    def to_memory(self, state: Array) -> Array:
        """[M] complex -> [2, M]."""
        return jnp.stack([jnp.real(state), jnp.imag(state)])


class Diagonal(nn.Module):
    """The recurrence of an LRU: its eigenvalues and its input."""

    memory_size: int

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """[D] -> lambda [M], gamma B x [M]; complex."""
        shape = (self.memory_size,)
        nu = self.param("nu", ring, shape)
        theta = self.param("theta", phases, shape)
        # 1 - |lambda|^2 without cancellation.
        log_gamma = self.param(
            "log_gamma", lambda key: 0.5 * jnp.log(-jnp.expm1(-2.0 * jnp.exp(nu)))
        )
        radius, phase = jnp.exp(-jnp.exp(nu)), jnp.exp(theta)
        decay = jax.lax.complex(radius * jnp.cos(phase), radius * jnp.sin(phase))
        # Real and imaginary rows of B, each of variance 1 / (2 D).
        init = nn.initializers.variance_scaling(0.5, "fan_in", "normal")
        parts = nn.Dense(2 * self.memory_size, use_bias=False, kernel_init=init)(x)
        real, imaginary = jnp.split(parts, 2)
        gamma = jnp.exp(log_gamma)
        return decay, jax.lax.complex(gamma * real, gamma * imaginary)


def ring(key: Key, shape: tuple[int, ...]) -> Array:
    """Initial nu, of eigenvalues that are uniform on the area of the ring.

    Reference: Orvieto et al., arXiv:2303.06349, lemma 3.2.
    """
    square = jax.random.uniform(
        key, shape, minval=SMALLEST**2, maxval=LARGEST**2, dtype=jnp.float32
    )
    return jnp.log(-0.5 * jnp.log(square))


def phases(key: Key, shape: tuple[int, ...]) -> Array:
    """Initial theta, of eigenvalues whose phase is uniform on the circle."""
    tiny = 1e-6  # whose logarithm is finite
    phase = jax.random.uniform(
        key, shape, minval=tiny, maxval=2.0 * jnp.pi, dtype=jnp.float32
    )
    return jnp.log(phase)


class GatedReadout(nn.Module):
    """Output of an LRU block: a gated linear unit beside a skip connection."""

    @nn.compact
    def __call__(self, state: Array, x: Array) -> Array:
        """[M] complex, [D] -> [D]."""
        width = x.shape[-1]
        parts = jnp.concatenate([jnp.real(state), jnp.imag(state)])
        # Re(C h) is a real product with [Re C, -Im C]; parts of C have variance 1 / M.
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        y = nn.Dense(width, use_bias=False, kernel_init=init)(parts)
        y += self.param("D", nn.initializers.normal(1.0), (width,)) * x
        y = nn.gelu(y, approximate=False)
        return x + nn.Dense(width)(y) * nn.sigmoid(nn.Dense(width)(y))
