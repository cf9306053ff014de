"""Networks whose observations are normalised by running statistics."""

from collections.abc import Iterable
from typing import Any

import jax

from jaxq.config.fields import ConfigError
from jaxq.networks import from_flax, running_statistics
from jaxq.types import EnvSpec, MaskedObservation, Network


def inner_spec(spec: EnvSpec) -> EnvSpec:
    """The specification of an environment whose observations are normalised.

    Raises:
        ConfigError: if the mask of actions is computed from the observation itself.
    """
    masked = isinstance(spec.observation, MaskedObservation)
    if spec.valid_actions is not None and not masked:
        raise ConfigError(
            f"normalize_observations = True with {spec.name}, whose valid actions are "
            "computed from its observations. Leave it out."
        )
    arrays = jax.eval_shape(from_flax.features(spec), spec.observation)
    observation = spec.observation._replace(observation=arrays) if masked else arrays
    return spec._replace(observation=observation, num_categories=None)


def normalized(spec: EnvSpec, views: Iterable[Network | None]) -> list[Any]:
    """The views, which then normalise raw observations before they use them."""
    return [
        running_statistics.normalized(view, spec) if view else None for view in views
    ]
