"""The table of environments: the defaults of a `Config` for each of them.

`Config(environment=NAME)` takes from here the fields that are not given, unless
`defaults` is "plain". The settings were found on two CPU cores and are meant to learn
within minutes; results/README.md has the final returns on each.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxq.config import algorithm_table
from jaxq.config.algorithm_entry import NOTHING, Fields
from jaxq.config.environment_entry import Environment
from jaxq.config.environment_settings import (
    ALGORITHMS,
    CLASSIC,
    KEPT,
    KINDS,
    MINATAR,
    SMALL,
)
from jaxq.config.suite_settings import SUITES

ENVIRONMENTS: dict[str, Environment] = CLASSIC | MINATAR | SMALL  # gymnax's
ROWS: dict[str, Environment] = ENVIRONMENTS | SUITES

MARGIN = 0.1  # of the range; a histogram of a Gaussian needs room beyond its mean


def kind(fields: Mapping[str, Any]) -> str:
    """Kind of agent that a configuration describes; see `Environment`."""
    if algorithm_table.agent_of(str(fields["algorithm"])) == "stream":
        return "stream"
    if fields["network"] == "table":
        return "table"
    source = "rollouts" if fields["rollout_length"] else "replay"
    return source if fields["recurrent"] == "none" else f"recurrent_{source}"


def filled_in(fields: Mapping[str, Any]) -> Fields:
    """Fields that the table sets in a configuration, unless they are given."""
    environment, discount = str(fields["environment"]), fields["discount"]
    if isinstance(discount, int | float):
        start = fields["discount_start"]
        discount = max(discount, start) if isinstance(start, int | float) else discount
    bounds = NOTHING
    # The largest sum of bonuses is not known.
    if isinstance(discount, int | float) and fields["intrinsic_bonus"] == "none":
        centred = fields["average_reward"] != "none"
        bounds = return_bounds(environment, discount, fields["reward_clip"], centred)
    if fields["defaults"] != "environment":
        return bounds
    table = settings(environment, str(fields["algorithm"]), kind(fields))
    return {**table, **bounds}


def settings(environment: str, algorithm: str, kind: str) -> Fields:
    """Fields that the table sets; none for an environment that is not in it."""
    row = ROWS.get(environment)
    if row is None or (kind == "table" and not row.numbered):
        return NOTHING
    plain_kind = kind.removeprefix("recurrent_")
    table = {
        **KINDS[kind],
        **ALGORITHMS.get(algorithm, NOTHING),
        **row.settings,
        **row.kinds.get(plain_kind, NOTHING),
        **row.kinds.get(kind, NOTHING),
        **row.algorithms.get(algorithm, NOTHING),
    }
    own = KEPT & algorithm_table.components(algorithm).keys()
    return {name: value for name, value in table.items() if name not in own}


def return_bounds(
    environment: str,
    discount: float,
    reward_clip: float | None = None,
    centred: bool = False,
) -> Fields:
    """Smallest and largest return of an environment, with a margin.

    The bounds are reward (1 + gamma + gamma^2 + ...), for the smallest and the largest
    reward, with as many terms as an episode has rewards at most. They are unknown, and
    no field is set, if the environment is not in the table or if this sum is infinite.

    Args:
        environment: name.
        discount: gamma, per step.
        reward_clip: largest absolute reward, if rewards are clipped.
        centred: whether an average of the rewards is subtracted from each. Every step
            then has a reward, of either sign, and no episode ends the sum.
    """
    row = ROWS.get(environment)
    if row is None or not 0 <= discount <= 1:
        return NOTHING
    low, high, most = row.rewards
    if isinstance(reward_clip, int | float):
        low, high = max(low, -reward_clip), min(high, reward_clip)
    if centred:
        low, high, most = low - high, high - low, math.inf
    total = most if discount == 1 else (1 - discount**most) / (1 - discount)
    if not math.isfinite(total):
        return NOTHING
    margin = MARGIN * (high - low)
    bounds = (low - margin) * total, (high + margin) * total
    v_min, v_max = (float(f"{bound:.6g}") for bound in bounds)
    return {"v_min": v_min, "v_max": v_max}
