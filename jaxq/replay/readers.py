"""The reader of a configuration, from rows of the replay buffer to examples."""

from jaxq.config import annealing, loop_lengths
from jaxq.config.config import Config
from jaxq.replay import horizons, transition_readers
from jaxq.replay import ring as replay_ring
from jaxq.rl import returns
from jaxq.types import Array, EnvSpec, PyTree


def reader(config: Config, spec: EnvSpec, updates: Array) -> replay_ring.Reader:
    """Reader of sequences for a recurrent network, of windows or transitions if not.

    Args:
        config: the network, and the returns.
        spec: of the environment.
        updates: [] gradient steps done, on which annealed returns depend.
    """
    example = spec.observation if spec.frame is None else spec.frame
    read = _reader(config, example, horizons.horizon(config, updates))
    if config.spr_steps is None:
        return read
    return transition_readers.with_following(
        read, example, config.spr_steps, config.frame_stack
    )


def _reader(
    config: Config, example: PyTree, horizon: returns.Horizon
) -> replay_ring.Reader:
    if config.recurrent != "none":
        return transition_readers.sequences(
            example,
            loop_lengths.window(config) + 1,
            config.frame_stack,
            horizon if annealing.is_annealed(config) else (),
        )
    n, stack = annealing.longest_return(config), config.frame_stack
    if config.return_estimator != "n_step":
        return transition_readers.windows(
            example, n, horizon.discount, stack, horizon.limit
        )
    return transition_readers.transitions(
        example,
        n,
        horizon.discount,
        stack,
        config.average_reward != "none",
        horizon.limit,
    )
