"""All published results that jaxq is held against, by name."""

from experiments.reproductions import bsuite, cleanrl
from experiments.reproductions.target import Target

TARGETS: dict[str, Target] = {**cleanrl.TARGETS, **bsuite.TARGETS}
