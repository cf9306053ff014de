"""Fields of networks with a memory."""

import dataclasses
from typing import Literal

from jaxq.config.fields import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recurrence:
    """The memory of the network."""

    recurrent: Literal["none", "lstm", "gru", "min_gru", "lru"] = "none"
    """A recurrent cell after the torso. min_gru and lru are linear in their memory, so
    that the steps of a sequence are computed in parallel."""
    recurrent_inputs: Literal["observation", "action_reward"] = "observation"
    """recurrent: inputs of the cell. action_reward adds the last action and reward,
    clipped by reward_clip, to the features of the observation (R2D2)."""
    memory_size: Count = 64
    """recurrent: width of the cell."""
