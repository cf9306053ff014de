"""The records that the layers pass to one another.

State, data and bundles of functions are NamedTuples. Shapes in comments are unbatched;
`vmap` adds axes in the order [H settings, S seeds, T time, E environments, B batch].
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

Array = jax.Array
Key = jax.Array  # a typed key of jax.random.key
PyTree = Any


class Counter(NamedTuple):
    """A count that is the same for every seed: `vmap` over seeds never batches it.

    A batched counter would turn every `lax.cond` on it into a select, which runs both
    branches, and every write to the replay buffer into a scatter.
    """

    value: Array  # [] int32


def counter(value: int = 0) -> Counter:
    """A counter that starts at `value`."""
    return Counter(jnp.asarray(value, jnp.int32))


def seed_axes(tree: PyTree) -> PyTree:
    """Prefix tree for `vmap`'s in_axes and out_axes: None for counters, 0 elsewhere."""
    return jax.tree.map(
        lambda leaf: None if isinstance(leaf, Counter) else 0,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, Counter),
    )


class Step(NamedTuple):
    """What the environment said about one step."""

    observation: Array  # [...]
    action: Array  # [] int32
    reward: Array  # [] float32
    terminated: Array  # [] bool: the task ended; do not bootstrap
    truncated: Array  # [] bool: the clock ran out; bootstrap, but end the window
    next_observation: Array  # [...] the true successor, before any reset


class Transition(NamedTuple):
    """What a TD loss consumes: up to n steps folded into one."""

    observation: Array  # [...]
    action: Array  # [] int32
    reward: Array  # [] float32: discounted sum of up to n rewards
    discount: Array  # [] float32: gamma^k (1 - terminated)
    next_observation: Array  # [...] k steps later


class Head(NamedTuple):
    """How K outputs of a network represent the return of one action.

    q_values: output[A, K] -> q_values[A]
    backup: (reward, discount, next_output[K]) -> target, what `loss` compares with
    loss: (output[K], target) -> (loss, priority), both scalar
    """

    num_outputs: int
    q_values: Callable[[Array], Array]
    backup: Callable[[Array, Array, Array], Any]
    loss: Callable[[Array, Any], tuple[Array, Array]]


class Network(NamedTuple):
    """A function from an observation to the outputs of all actions.

    init: (key, observation) -> params
    apply: (key, params, observation) -> output[A, K]; the key is for noise, if any
    """

    init: Callable[[Key, Array], PyTree]
    apply: Callable[[Key, PyTree, Array], Array]
    head: Head


class LossInfo(NamedTuple):
    """What a loss reports about a transition besides its value."""

    priority: Array  # [] absolute TD error, or what stands for it
    q_value: Array  # [] online estimate of the action taken


class LossFunction(Protocol):
    """The loss of one transition."""

    def __call__(
        self, key: Key, params: PyTree, target_params: PyTree, transition: Transition
    ) -> tuple[Array, LossInfo]:
        """Scalar loss and what it reports."""


class LearnerState(NamedTuple):
    """What a gradient step changes: online and target params are separate pytrees."""

    params: PyTree
    target_params: PyTree
    opt_state: PyTree
    diverged_at: Array  # [] int32: gradient step at which the seed was frozen, or -1


class UpdateMetrics(NamedTuple):
    """What a gradient step reports."""

    loss: Array  # [] float32
    td_error: Array  # [] float32: mean priority
    q_value: Array  # [] float32: mean estimate of the actions replayed
    grad_norm: Array  # [] float32: global norm before clipping


class Agent(NamedTuple):
    """An algorithm as four pure functions; the training loop knows nothing else.

    init: (key, example: Step) -> AgentState
    act: (key, state, observation[E, ...], epsilon[E]) -> action[E]
    observe: (state, rollout: Step[T, E]) -> AgentState
    update: (key, state) -> (AgentState, UpdateMetrics)

    An AgentState is any pytree with a field `learner: LearnerState`. Counts that are
    the same for every seed are wrapped in `Counter`.
    """

    init: Callable[[Key, Step], Any]
    act: Callable[[Key, Any, Array, Array], Array]
    observe: Callable[[Any, Step], Any]
    update: Callable[[Key, Any], tuple[Any, UpdateMetrics]]


class EnvSpec(NamedTuple):
    """What an algorithm needs to know about the steps it will see."""

    name: str
    observation: jax.ShapeDtypeStruct
    num_actions: int
    num_categories: int | None = None  # of a scalar integer observation
    num_states: int | None = None  # rows of a table, where one is known
    state_index: Callable[[Array], Array] | None = None  # observation -> row

    def example(self) -> Step:
        """A step of zeros with the right shapes and dtypes."""
        observation = jnp.zeros(self.observation.shape, self.observation.dtype)
        no = jnp.zeros((), bool)
        action = jnp.zeros((), jnp.int32)
        return Step(observation, action, jnp.zeros(()), no, no, observation)
