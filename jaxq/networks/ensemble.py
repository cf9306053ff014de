"""Ensembles of networks with fixed random priors."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.networks import masking
from jaxq.types import Array, Key, Network, PyTree

Acting = Literal["member", "mean", "minimum", "ucb", "ids"]


class Member(NamedTuple):
    """The memory of an ensemble during an episode."""

    member: Array  # [] int32: the member that acts
    mask: Array  # [M] float32: the members that learn from the next step


def upper_confidence_bound(outputs: Array, scale: Array | float) -> Array:
    """The mean of all members plus a multiple of their standard deviation.

    mean_m Q_m(a) + scale * std_m Q_m(a), where the variance is divided by M.

    Args:
        outputs: [A, M]; minus infinity marks an invalid action.
        scale: [] lambda.

    Returns:
        [A].

    Reference: Chen et al., arXiv:1706.01502; Lee et al., arXiv:2007.04938, section 4
    (SUNRISE).
    """
    valid = jnp.all(outputs > -jnp.inf, axis=1)
    # Infinities must not turn into NaN.
    finite = jnp.where(valid[:, None], outputs, 0.0)
    bound = jnp.mean(finite, axis=1) + scale * jnp.std(finite, axis=1)
    return jnp.where(valid, bound, -jnp.inf)


def information_ratio(
    outputs: Array, scale: Array | float, noise: Array | float
) -> Array:
    """The squared regret of every action over the information that it yields.

    Regret(a)^2 / I(a), with mu and sigma the mean and the standard deviation over the
    members, as in `upper_confidence_bound`:
    Regret(a) = max_b (mu(b) + scale * sigma(b)) - (mu(a) - scale * sigma(a))
    I(a) = log(1 + sigma(a)^2 / noise^2) + 1e-5

    Args:
        outputs: [A, M]; minus infinity marks an invalid action.
        scale: [] lambda.
        noise: [] rho, the standard deviation of an observed return.

    Returns:
        [A]; infinity for an invalid action.

    Reference: Nikolov et al., arXiv:1812.07544, section 4.1 (deterministic IDS, with
    the same noise for all actions).
    """
    valid = jnp.all(outputs > -jnp.inf, axis=1)
    finite = jnp.where(valid[:, None], outputs, 0.0)
    lowest = jnp.mean(finite, axis=1) - scale * jnp.std(finite, axis=1)
    regret = jnp.max(upper_confidence_bound(outputs, scale)) - lowest
    gain = jnp.log1p(jnp.var(finite, axis=1) / noise**2) + 1e-5
    return jnp.where(valid, regret**2 / gain, jnp.inf)


def ensemble(
    network: Network,
    size: int,
    prior_scale: Array | float,
    mask_probability: Array | float,
    prior: Network | None = None,
    acting: Acting = "member",
    ucb_scale: Array | float = 0.0,
    ids_noise: Array | float = 1.0,
    distributional: bool = False,
) -> Network:
    """Several networks, each added to its own fixed random network, its prior.

    output[a, m] = Q_m(s, a) + prior_scale * P_m(s, a)

    The output of a distributional ensemble is that of every member, [M, A, ...], each
    with its prior's added, and its head is a member's. The output of `step` is that of
    a scalar head nevertheless: members act by their expected returns.

    Exploration follows one member, drawn for each episode, the upper confidence bound
    or the smallest ratio of regret to information, and evaluation the mean of all. With
    `acting` "mean" or "minimum", both follow that.

    Args:
        network: the architecture of every member, with one output per action, unless
            the ensemble is distributional.
        size: M.
        prior_scale: [] weight of the priors P, which are never trained.
        mask_probability: [] probability that a member learns from a step.
        prior: the network of the priors; `network` by default. If the ensemble is
            distributional and `network` masks actions, the same without the mask.
        acting: "member", "mean", "minimum", "ucb" or "ids".
        ucb_scale: [] see `upper_confidence_bound` and `information_ratio`.
        ids_noise: [] see `information_ratio`.
        distributional: whether members may have any head with an array as its output.

    Reference: Osband et al., arXiv:1602.04621 (bootstrap); arXiv:1806.03335 (priors).
    """

    def init(key: Key, observation: PyTree) -> PyTree:
        def init_all(key: Key, network: Network) -> PyTree:
            keys = jax.random.split(key, size)
            return jax.vmap(network.init, in_axes=(0, None))(keys, observation)

        member_key, prior_key = jax.random.split(key)
        return {
            "members": init_all(member_key, network),
            "priors": init_all(prior_key, prior or network),
        }

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        del key
        apply_all = jax.vmap(network.apply, in_axes=(None, 0, None))
        fixed = jax.lax.stop_gradient(params["priors"])
        if distributional:
            apply_priors = jax.vmap((prior or network).apply, in_axes=(None, 0, None))
            added = prior_scale * apply_priors(None, fixed, observation)
            return _add(apply_all(None, params["members"], observation), added)
        priors = apply_all(None, fixed, observation)
        # Minus infinity marks an invalid action, and must not turn into NaN (0 * -inf).
        priors = jnp.where(jnp.isfinite(priors), prior_scale * priors, 0.0)
        outputs = apply_all(None, params["members"], observation) + priors
        return outputs[..., 0].T

    def draw_mask(key: Key) -> Array:
        return jax.random.bernoulli(key, mask_probability, (size,)).astype(jnp.float32)

    def initial_memory(key: Key) -> Member:
        index_key, mask_key = jax.random.split(key)
        return Member(jax.random.randint(index_key, (), 0, size), draw_mask(mask_key))

    def step(
        key: Key | None, params: PyTree, memory: Member, observation: PyTree
    ) -> tuple[Array, Member]:
        outputs = apply(None, params, observation)
        if distributional:
            outputs = jax.vmap(network.head.q_values, out_axes=1)(outputs)
        if key is None:
            return _reduced(outputs, acting), memory
        if acting == "member":
            output = jnp.take(outputs, memory.member[None], axis=1)
        elif acting in ("ucb", "ids"):
            output = _bound(outputs, acting, ucb_scale, ids_noise)
        else:
            output = _reduced(outputs, acting)
        return output, memory._replace(mask=draw_mask(key))

    def activations(
        params: PyTree, memory: Member, observation: PyTree
    ) -> dict[str, Array]:
        del memory
        assert network.activations is not None
        read = jax.vmap(network.activations, in_axes=(0, None, None))
        layers = read(params["members"], (), observation)
        return {f"{m}/{k}": x[m] for k, x in layers.items() for m in range(size)}

    reads = activations if network.activations else None
    return Network(init, apply, network.head, step, initial_memory, activations=reads)


def _bound(
    outputs: Array, acting: Acting, scale: Array | float, noise: Array | float
) -> Array:
    """The quantity that "ucb" or "ids" maximises: [A, M] -> [A, 1]."""
    if acting == "ucb":
        return upper_confidence_bound(outputs, scale)[:, None]
    return -information_ratio(outputs, scale, noise)[:, None]


def _reduced(outputs: Array, acting: Acting) -> Array:
    """Mean or minimum over the members: [A, M] -> [A, 1]."""
    reduce = jnp.min if acting == "minimum" else jnp.mean
    return reduce(outputs, axis=1, keepdims=True)


def _add(outputs: PyTree, priors: Array) -> PyTree:
    """The outputs of a distributional head, masked or not, plus those of priors."""
    if isinstance(outputs, masking.MaskedOutput):
        return outputs._replace(output=outputs.output + priors)
    return outputs + priors


def averaged(network: Network) -> Network:
    """The mean output of several sets of parameters, with a leading axis [K].

    Reference: Anschel et al., arXiv:1611.01929, equation 9 (Averaged-DQN).
    """

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        outputs = jax.vmap(network.apply, in_axes=(None, 0, None))
        # Minus infinity marks an invalid action of all alike.
        return jax.tree.map(
            lambda x: jnp.mean(x, axis=0), outputs(key, params, observation)
        )

    return network._replace(apply=apply)
