"""The records that packages share.

State, data and bundles of functions are NamedTuples. Shapes in comments are unbatched;
`vmap` adds axes in the order [H settings, S seeds, T time, E environments, B batch].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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


class MaskedObservation(NamedTuple):
    """An observation, and the actions that are valid after it."""

    observation: PyTree
    action_mask: Array  # [A] bool


class Step(NamedTuple):
    """One environment step, before n-step accumulation."""

    observation: PyTree  # [...], an array or a pytree of arrays
    action: Array  # [] int32
    reward: Array  # [] float32
    terminated: Array  # [] bool: the task ended; do not bootstrap
    truncated: Array  # [] bool: the clock ran out; bootstrap, but end the window
    next_observation: PyTree  # [...] the true successor, before any reset
    memory: PyTree = ()  # the agent's memory before it chose the action; see Agent
    life_lost: Array | None = None  # [] bool, if the environment reports it
    action_probability: Array | None = None  # [] float32, if the agent needs it


class Transition(NamedTuple):
    """Input of a TD loss: up to n steps accumulated into one."""

    observation: PyTree  # [...]
    action: Array  # [] int32
    reward: Array  # [] float32: discounted sum of up to n rewards
    discount: Array  # [] float32: gamma^k (1 - terminated)
    next_observation: PyTree  # [...] k steps later
    next_action: Array | None = None  # [] int32: action taken in next_observation
    epsilon: Array | None = None  # [] of the policy that is evaluated
    memory: PyTree = ()  # of the agent, before the action
    duration: Array | None = None  # [] sum_{j<k} gamma^j, if rewards are centred
    following: PyTree = None  # see `rl.self_prediction.Following`


class Regression(NamedTuple):
    """Input of a regression loss: an action and its target return."""

    observation: PyTree  # [...]
    action: Array  # [] int32
    target_return: Array  # [] float32


class Sequence(NamedTuple):
    """Consecutive steps of one environment, for a recurrent network."""

    memory: PyTree  # before the first step
    observation: PyTree  # [L, ...]
    action: Array  # [L] int32
    reward: Array  # [L] float32, or the return to regress to
    terminated: Array  # [L] bool
    truncated: Array  # [L] bool
    epsilon: Array | None = None  # [] of the policy that is evaluated
    action_probability: Array | None = None  # [L] float32, if the loss needs it
    horizon: PyTree = ()  # `returns.Horizon`, if it is annealed


class Head(NamedTuple):
    """The representation of the return of every action by a network's output.

    An output is an array [A, K], or a pytree of arrays whose first axis is A.

    q_values: output[A, ...] -> q_values[A]
    backup: (reward, discount, next_output[...]) -> target of `loss`
    loss: (output[...], target) -> (loss, priority), both scalar
    mix: (output[A, ...], policy[A]) -> next_output, of the mixture of all actions'
        returns; None: targets must select one action
    td_error: (output[...], target) -> expected target minus estimate, signed
    penalty: (q_values[A], action) -> added to the loss of the estimate of the action
    """

    num_outputs: int  # K, outputs of the last layer per action
    q_values: Callable[[PyTree], Array]
    backup: Callable[[Array, Array, PyTree], Any]
    loss: Callable[[PyTree, Any], tuple[Array, Array]]
    mix: Callable[[PyTree, Array], PyTree] | None = None
    td_error: Callable[[PyTree, Any], Array] | None = None
    penalty: Callable[[Array, Array], Array] | None = None


class Network(NamedTuple):
    """A function from an observation to the output for all actions.

    init: (key, observation) -> params
    apply: (key, params, observation) -> output from the initial memory; None: no noise
    head: how the output represents returns
    step: (key, params, memory, observation) -> (output, memory)
    initial_memory: (key) -> memory at the start of an episode
    update_batch_stats: (params, observation[B]) -> params with new statistics of inputs
    activations: (params, memory, observation) -> name -> [..., units] of hidden layers;
        "features" is the input of the output layers
    unroll: (key, params, memory, observation[T], ended[T]) -> (output[T], memory), with
        resets where an episode ended; None: `step` by `step`
    """

    init: Callable[[Key, PyTree], PyTree]
    apply: Callable[[Key | None, PyTree, PyTree], PyTree]
    head: Head
    step: Callable[[Key | None, PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    initial_memory: Callable[[Key], PyTree] = lambda key: ()
    update_batch_stats: Callable[[PyTree, Array], PyTree] | None = None
    activations: Callable[[PyTree, PyTree, PyTree], dict[str, Array]] | None = None
    unroll: Callable[..., tuple[PyTree, PyTree]] | None = None


def feed_forward(
    init: Callable[[Key, Array], PyTree],
    apply: Callable[[Key | None, PyTree, Array], PyTree],
    head: Head,
) -> Network:
    """A network without memory: `step` passes the empty memory through."""

    def step(key: Key | None, params: PyTree, memory: PyTree, x: Array) -> Any:
        return apply(key, params, x), memory

    return Network(init, apply, head, step)


class LossInfo(NamedTuple):
    """Metrics of one example, besides its loss."""

    priority: Array  # [] absolute TD error, or its substitute
    q_value: Array  # [] online estimate of the action taken
    td_error: Array | None = None  # [] signed, if the head computes it


# (key, params, target_params, Transition, Regression or Sequence) -> (loss[], LossInfo)
LossFunction = Callable[[Key, PyTree, PyTree, Any], tuple[Array, LossInfo]]


class LearnerState(NamedTuple):
    """State of learning: online and target params are separate pytrees."""

    params: PyTree
    target_params: PyTree
    opt_state: PyTree
    diverged_at: Array  # [] int32: gradient step at which the seed was frozen, or -1
    initial_params: PyTree = ()  # kept only for L2 Init
    average_reward: PyTree = ()  # see `jaxq.agents.average_reward`


class UpdateMetrics(NamedTuple):
    """Metrics of one gradient step."""

    loss: Array  # [] float32
    td_error: Array  # [] float32: mean priority
    q_value: Array  # [] float32: mean estimate of the replayed actions
    grad_norm: Array  # [] float32: global norm before clipping


class Agent(NamedTuple):
    """An algorithm as pure functions; the training loop knows nothing else.

    init: (key, example: Step) -> AgentState
    initial_memory: (key) -> memory of one environment at the start of an episode
    act: (key, state, memory, observation, epsilon, explore: bool) -> (action, memory)
    observe: (key, state, rollout: Step[T, E]) -> AgentState
    update: (key, state, epsilon) -> (AgentState, UpdateMetrics)
    q_values: (state, memory, observation) -> q_values[A], without noise
    activations: (state, memory, observation) -> name -> [..., units]; see Network
    act_with_probability: `act` with explore = True, and the action's probability
    remember: (memory, action, reward) -> memory, after a step; None: it needs neither

    An AgentState has a field `learner: LearnerState`; its shared counts are `Counter`s.
    """

    init: Callable[[Key, Step], Any]
    initial_memory: Callable[[Key], PyTree]
    act: Callable[[Key, Any, PyTree, Array, Array, bool], tuple[Array, PyTree]]
    observe: Callable[[Key, Any, Step], Any]
    update: Callable[[Key, Any, Array], tuple[Any, UpdateMetrics]]
    q_values: Callable[[Any, PyTree, Array], Array]
    activations: Callable[[Any, PyTree, PyTree], dict[str, Array]] | None = None
    act_with_probability: Callable[..., tuple[Array, PyTree, Array]] | None = None
    remember: Callable[[PyTree, Array, Array], PyTree] | None = None


def unmasked(observation: PyTree) -> PyTree:
    """An observation without its mask, if it has one."""
    masked = isinstance(observation, MaskedObservation)
    return observation.observation if masked else observation


class EnvSpec(NamedTuple):
    """Shapes and sizes that an algorithm needs to know about its environment."""

    name: str
    observation: PyTree  # of ShapeDtypeStruct; usually of a single array
    num_actions: int
    num_categories: int | None = None  # of a scalar integer observation
    num_states: int | None = None  # rows of a table of values, if states are numbered
    state_index: Callable[[Array], Array] | None = None  # observation -> row
    valid_actions: Callable[[PyTree], Array] | None = None  # observation -> [A] bool
    frame: PyTree | None = None  # of ShapeDtypeStruct, if the observation stacks frames
    reports_lives: bool = False  # whether steps have `life_lost`
    num_agents: int = 1  # N, which share one environment; each is a row of the loop

    def __hash__(self) -> int:
        """For programs cached by environment; dictionaries have no hash themselves."""
        return hash((self.name, self.num_actions, jax.tree.structure(self.observation)))

    def example(self) -> Step:
        """A step of zeros with the right shapes and dtypes."""
        observation = jax.tree.map(jnp.zeros_like, self.observation)
        action, false = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        return Step(observation, action, jnp.zeros(()), false, false, observation)


def is_key(leaf: Any) -> bool:
    """Whether an array, or its shape and dtype, holds PRNG keys."""
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
