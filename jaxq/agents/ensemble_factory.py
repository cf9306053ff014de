"""The ensemble of a configuration."""

from jaxq.config.config import Config
from jaxq.networks import ensemble, masking
from jaxq.rl import heads
from jaxq.types import EnvSpec, Network

# How an ensemble acts by default, by its target.
ACTING: dict[str, ensemble.Acting] = {
    "own": "member",
    "minimum": "minimum",
    "mean": "mean",
    "mixture": "mean",
}


def views(
    network: Network, config: Config, spec: EnvSpec, prior: Network
) -> tuple[Network, Network, None, Network]:
    """The views of an ensemble; see `factory.Networks`.

    Args:
        network: of one member; that of a table has the mask of a scalar head.
        config: of the ensemble.
        spec: describes the valid actions.
        prior: of one member, without a mask.
    """
    distributional = config.head != "scalar"
    if spec.valid_actions is not None:
        if distributional:
            network = masking.masked(network, spec.valid_actions)
        elif config.network != "table":
            network = masking.masked_scalar(network, spec.valid_actions)
    acting = config.ensemble_acting
    if acting == "auto":
        acting = ACTING[config.ensemble_target]
    members = ensemble.ensemble(
        network,
        config.ensemble_size,
        config.prior_scale,
        config.mask_probability,
        prior,
        acting,
        config.ucb_scale if acting in ("ucb", "ids") else 0.0,
        config.ids_noise if acting == "ids" else 1.0,
        distributional=distributional,
    )
    # Members act by their expected returns.
    policy = members._replace(head=heads.scalar()) if distributional else members
    return members, members, None, policy
