"""Kinds of average reward, and the discount that they imply."""

from collections.abc import Mapping
from typing import Any

UNDISCOUNTED = ("differential", "rvi")
LEARNED = ("differential", "centering")  # from TD errors, with a step size


def filled_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that the kind of average reward sets, unless they are given."""
    return {"discount": 1.0} if fields["average_reward"] in UNDISCOUNTED else {}
