"""One row of the table of environments."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from jaxq.config.algorithm_entry import NOTHING, Fields


class Rewards(NamedTuple):
    """Range of the reward of a step, and the most such rewards of an episode."""

    low: float
    high: float
    most: float = math.inf


class Environment(NamedTuple):
    """One row of the table: settings that learn, for every kind of agent.

    A kind is "table", "replay", "rollouts", "recurrent_replay", "recurrent_rollouts" or
    "stream". More specific settings override more general ones.
    """

    rewards: Rewards
    settings: Fields = NOTHING  # of every agent
    kinds: Mapping[str, Fields] = NOTHING
    algorithms: Mapping[str, Fields] = NOTHING
    numbered: bool = False  # whether its states can be the rows of a table
