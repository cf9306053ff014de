"""All published results that jaxq is held against, by name."""

from experiments.reproductions import bsuite, cleanrl, minatar, rainbow, textbook
from experiments.reproductions.target import Target

TARGETS: dict[str, Target] = {
    **minatar.TARGETS,
    **cleanrl.TARGETS,
    **rainbow.TARGETS,
    **bsuite.TARGETS,
    **textbook.TARGETS,
}
