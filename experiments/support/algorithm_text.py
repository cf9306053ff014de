"""Words of an algorithm's page: its equation, and when to choose it."""

from typing import NamedTuple

Symbols = tuple[tuple[str, str], ...]  # (LaTeX, meaning)

STEP: Symbols = (
    (r"(s, a, r, s')", "a transition"),
    ("d", "1 if it terminated the episode, 0 otherwise (a truncation bootstraps)"),
    (r"\gamma", "`discount`"),
)
TABLE: Symbols = (("Q", "the table"), (r"\alpha", "`learning_rate`"), *STEP)
PARAMETERS: Symbols = (
    (r"\theta", "online parameters"),
    (r"\theta^-", "target parameters, a copy made every `target_period` updates"),
    ("D", "the replay buffer"),
)
LOSS: Symbols = ((r"\ell(x)", "half the square, or Huber's loss (`loss`)"),)
NETWORK: Symbols = (*PARAMETERS, *LOSS, *STEP)
HUBER: Symbols = (
    (
        r"L_\kappa",
        r"Huber's loss, $`x^2 / 2`$ up to $`|x| = \kappa`$ (`huber_delta`) and linear "
        "beyond",
    ),
)


class AlgorithmText(NamedTuple):
    """What a page says about an algorithm besides the table of algorithms."""

    title: str
    equation: str  # LaTeX
    symbols: Symbols
    code: tuple[str, ...]  # file:function, the loss first
    choose: str  # when to choose it
    see_also: tuple[str, ...]


def aligned(*lines: str) -> str:
    """Several equations, each aligned at its `&`."""
    body = " \\\\\n".join(lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
