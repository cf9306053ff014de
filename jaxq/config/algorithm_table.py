"""The table of algorithms, by name.

`components` are the fields that make a configuration this algorithm: `Config` fills in
those that are not given. `settings` are the paper's values of fields that any algorithm
has; `preset` adds them.
"""

from jaxq.config.algorithm_entry import NOTHING, Algorithm, Fields
from jaxq.config.combined_algorithms import COMBINED
from jaxq.config.deep_algorithms import DEEP
from jaxq.config.ensemble_algorithms import ENSEMBLES
from jaxq.config.offline_algorithms import OFFLINE
from jaxq.config.stream_algorithms import STREAMS
from jaxq.config.tabular_algorithms import TABULAR

GROUPS = {
    "Tables": TABULAR,
    "Networks": DEEP,
    "Ensembles": ENSEMBLES,
    "Combinations": COMBINED,
    "Streams": STREAMS,
    "Datasets": OFFLINE,
}
ALGORITHMS: dict[str, Algorithm] = {
    name: row for rows in GROUPS.values() for name, row in rows.items()
}


def components(name: str) -> Fields:
    """Fields that an algorithm sets; none for one that is not in the table."""
    return ALGORITHMS[name].components if name in ALGORITHMS else NOTHING


def agent_of(name: str) -> str | None:
    """Function that composes an algorithm; None if it is not in the table."""
    return ALGORITHMS[name].agent if name in ALGORITHMS else None
