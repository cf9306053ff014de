"""All published results that jaxq is held against, by name."""

from collections.abc import Mapping

from experiments.reproductions import (
    access_control,
    arlbench,
    bsuite,
    cleanrl,
    maxmin,
    minatar,
    rainbow,
    textbook,
)
from experiments.reproductions.target import Target

GROUPS: dict[str, Mapping[str, Target]] = {
    "MinAtar": minatar.TARGETS,
    "CleanRL": cleanrl.TARGETS,
    "ARLBench": arlbench.TARGETS,
    "Revisiting Rainbow": rainbow.TARGETS,
    "Maxmin DQN": maxmin.TARGETS,
    "bsuite": bsuite.TARGETS,
    "textbook": textbook.TARGETS | access_control.TARGETS,
}
TARGETS = {name: target for group in GROUPS.values() for name, target in group.items()}
