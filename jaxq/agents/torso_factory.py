"""The torso that fits an observation."""

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.networks import layers, torsos
from jaxq.types import EnvSpec, unmasked

# Of a configuration, the style of layers, and whether pixels are 0 or 1.
_IMAGE_TORSOS: dict[str, Callable[[Config, layers.LayerConfig, bool], nn.Module]] = {
    "minatar": lambda c, style, binary: torsos.MinAtarTorso(
        c.channels, c.dense_size, style, binary
    ),
    "nature": lambda c, style, _: torsos.NatureTorso(style),
    "impala": lambda c, style, _: torsos.ImpalaTorso(
        c.impala_scale, c.impala_pool, style
    ),
}


def make_torso(
    config: Config, spec: EnvSpec, layer_config: layers.LayerConfig
) -> nn.Module:
    """The torso that a configuration names, or that fits the observation.

    Raises:
        ConfigError: if the one that is named does not fit the observation, or has no
            consecutive layers, which ReDo needs.
    """
    torso = _make_torso(config, spec, layer_config)
    if config.redo_period is not None and not isinstance(torso, torsos.CONSECUTIVE):
        raise ConfigError(
            f"redo_period = {config.redo_period} needs a plain sequence of layers, but "
            f"observations of {spec.name} are given a {type(torso).__name__}. "
            "Leave it out, or use network = 'mlp'."
        )
    return torso


def _make_torso(
    config: Config, spec: EnvSpec, layer_config: layers.LayerConfig
) -> nn.Module:
    arrays = jax.tree.leaves(unmasked(spec.observation))
    shapes = [x.shape for x in arrays]
    mlp = torsos.MLP(config.hidden_sizes, layer_config)
    if config.network == "mlp":
        return mlp
    if config.network != "auto":
        check_image(config.network, spec.name, shapes)
        return _encoder(config, config.network, arrays[0], layer_config)
    names = [torsos.for_shape(shape) for shape in shapes]
    encoders = [
        None if name == "mlp" else _encoder(config, name, array, layer_config)
        for name, array in zip(names, arrays, strict=True)
    ]
    if not any(encoders):
        return mlp
    if len(encoders) == 1 and encoders[0] is not None:
        return encoders[0]
    return torsos.Parts(encoders, mlp)


def _encoder(
    config: Config,
    name: str,
    image: jax.ShapeDtypeStruct,
    style: layers.LayerConfig,
) -> nn.Module:
    """The torso of an image."""
    torso = _IMAGE_TORSOS[name](config, style, image.dtype == bool)
    return torso if len(image.shape) == 3 else torsos.WithChannel(torso)


def check_image(network: str, name: str, shapes: list[tuple[int, ...]]) -> None:
    """Check that an observation is a single image, large enough for a torso.

    Args:
        network: name of the torso.
        name: of the environment.
        shapes: of the arrays of its observation.

    Raises:
        ConfigError: if it is not.
    """
    observed = f"{name} observes {' and '.join(map(str, shapes))}"
    if len(shapes) > 1:
        raise ConfigError(
            f"network = {network!r} needs a single image, but {observed}. Use network "
            "= 'auto', which encodes each array by its shape, or 'mlp'."
        )
    least = torsos.LARGE if network == "nature" else 3
    if len(shapes[0]) not in (2, 3) or min(shapes[0][:2]) < least:
        raise ConfigError(
            f"network = {network!r} needs an image [height, width, channels] of at "
            f"least {least} x {least}, but {observed}. Use network = 'mlp'"
            f"{', or impala' if network == 'nature' else ''}."
        )


def notes(config: Config, spec: EnvSpec) -> list[str]:
    """Lines about the torso of every array, and about settings without effect."""
    arrays = jax.tree.leaves(unmasked(spec.observation))
    lines = []
    if (
        config.noisy
        and config.weight_norm != "none"
        and not _has_filters(config, arrays)
    ):
        lines.append(
            f"note: weight_norm = {config.weight_norm} has no effect: it is for layers "
            "without noise, and this network has none"
        )
    if config.network not in ("auto", "mlp"):
        return lines
    for array in arrays:
        if array.ndim < 2:
            continue
        size = " x ".join(map(str, array.shape))
        torso = torsos.for_shape(array.shape)
        if config.network == "mlp" or torso == "mlp":
            lines.append(f"note: observations of {size} are flattened (network = mlp)")
        else:
            lines.append(f"network: {torso}, for observations of {size}")
    return lines


def _has_filters(config: Config, arrays: list[jax.ShapeDtypeStruct]) -> bool:
    """Whether a network has convolutions, which have no noise."""
    if config.network in ("auto", "mlp"):
        names = [torsos.for_shape(array.shape) for array in arrays]
        return config.network == "auto" and set(names) != {"mlp"}
    return config.network != "table"
