"""Sizes over which activations are normalised."""

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.loop_lengths import LoopLengths


def check(config: Config, lengths: LoopLengths) -> None:
    """Raise if a single value would be normalised: its variance is 0.

    Raises:
        ConfigError: with the sizes and a remedy.
    """
    if config.normalization == "batch":
        _check_batch_norm(config)
    elif config.normalization == "layer":
        for name in ("hidden_sizes", "stream_sizes", "channels", "dense_size"):
            value = getattr(config, name)
            if 1 in (value if isinstance(value, tuple) else (value,)):
                raise ConfigError(
                    f"{name} = {value!r} with normalization = 'layer' normalises a "
                    "layer of one unit, whose variance is 0: its output would be "
                    "constant. Use 2 units or more, or normalization = 'none'."
                )


def _check_batch_norm(config: Config) -> None:
    size, setting = config.batch_size, f"batch_size = {config.batch_size}"
    remedy = "Raise batch_size"
    if config.rollout_length:
        size = config.rollout_length * config.num_envs // config.num_minibatches
        setting = (
            f"rollout_length = {config.rollout_length}, num_envs = {config.num_envs} "
            f"and num_minibatches = {config.num_minibatches}"
        )
        remedy = "Lower num_minibatches, raise num_envs or rollout_length"
    if size < 2:
        raise ConfigError(
            f"normalization = 'batch' with {setting} normalises minibatches of one "
            "example, whose variance is 0: every activation would be its bias. "
            f"{remedy}, or use normalization = 'layer'."
        )
