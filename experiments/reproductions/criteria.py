"""Tests that decide whether a published result is reproduced.

A criterion judges one number per seed for each of several quantities, by label.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from jaxq.stats import comparisons

Values = Mapping[str, np.ndarray]  # label -> [S]
LEVEL = 0.05  # of every test


class Outcome(NamedTuple):
    """Whether a test was passed, and the numbers behind it in words."""

    passed: bool
    sentence: str


class Criterion(Protocol):
    """A test of values per seed."""

    def judge(self, values: Values) -> Outcome:
        """The outcome for the values of every label that the test names."""

    def describe(self) -> str:
        """The test in words."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published mean over seeds, and the difference that is called equivalent."""

    mean: float
    margin: float
    std: float = 0.0  # sample standard deviation over seeds; 0: none is known
    seeds: int = 1

    def __str__(self) -> str:
        if not self.std:
            return number(self.mean)
        return f"{number(self.mean)} ± {number(self.std)} (n = {self.seeds})"


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """Means that differ by less than a margin, by two one-sided Welch tests.

    That is, the 90 % interval of the difference lies within the margin. A published
    mean without a spread is taken as exact.

    Reference: Schuirmann (1987), doi:10.1007/BF01068419.
    """

    published: Mapping[str, Published]

    def judge(self, values: Values) -> Outcome:
        """Passed if every label is equivalent."""
        passed, parts = True, []
        for label, theirs in self.published.items():
            low, high = difference(values[label], theirs)
            passed &= bool(-theirs.margin < low and high < theirs.margin)
            parts.append(
                f"{label}: {mean_and_std(values[label])}, published {theirs}; "
                f"difference [{number(low)}, {number(high)}]"
            )
        return Outcome(passed, "; ".join(parts))

    def describe(self) -> str:
        """The margin of every label."""
        margins = {number(theirs.margin) for theirs in self.published.values()}
        listed = ", ".join(
            f"{number(theirs.margin)} ({label})"
            for label, theirs in self.published.items()
        )
        return f"equivalent within {margins.pop() if len(margins) == 1 else listed}"


def difference(ours: np.ndarray, theirs: Published) -> tuple[float, float]:
    """Welch's 90 % interval of the difference in means, ours minus published."""
    from scipy import stats

    variances = np.array([ours.var(ddof=1) / ours.size, theirs.std**2 / theirs.seeds])
    centre, total = ours.mean() - theirs.mean, variances.sum()
    if total == 0:
        return float(centre), float(centre)
    freedom = np.array([ours.size - 1, max(theirs.seeds - 1, 1)])
    degrees = total**2 / np.sum(variances**2 / freedom)
    half = stats.t.ppf(1 - LEVEL, degrees) * total**0.5
    return float(centre - half), float(centre + half)


@dataclasses.dataclass(frozen=True)
class Ordered:
    """Pairs of which the first mean is larger, by one-sided Welch tests.

    The p-values of all pairs are corrected by Holm's procedure.
    """

    pairs: tuple[tuple[str, str], ...]

    def judge(self, values: Values) -> Outcome:
        """Passed if every pair is in order."""
        p_values = [
            larger_p(values[better], values[worse]) for better, worse in self.pairs
        ]
        adjusted = comparisons.holm(p_values)
        parts = [
            f"{better} {number(values[better].mean())} > {worse} "
            f"{number(values[worse].mean())} (p {p_value(p)})"
            for (better, worse), p in zip(self.pairs, adjusted, strict=True)
        ]
        return Outcome(bool(np.all(adjusted < LEVEL)), "; ".join(parts))

    def describe(self) -> str:
        """The number of pairs."""
        return f"order of {len(self.pairs)} pairs, Holm's p < {LEVEL}"


def p_value(p: float) -> str:
    """A p-value after its sign, with a bound if it is very small."""
    return f"= {p:.2g}" if p >= 1e-6 else "< 1e-6"


def larger_p(ours: np.ndarray, theirs: np.ndarray) -> float:
    """One-sided p-value of Welch's test that the first mean is larger."""
    two_sided = comparisons.welch(ours, theirs)
    return two_sided / 2 if ours.mean() > theirs.mean() else 1 - two_sided / 2


@dataclasses.dataclass(frozen=True)
class SameOrder:
    """Means that are in the published order, in all pairs that are clearly apart."""

    published: Mapping[str, float]
    apart: float  # difference from which the published order is taken as clear
    share: float  # of these pairs that must agree

    def judge(self, values: Values) -> Outcome:
        """Passed if enough pairs agree."""
        wrong, total = [], 0
        for better, worse in self.clear_pairs():
            total += 1
            if values[better].mean() <= values[worse].mean():
                wrong.append(f"{better} > {worse}")
        means = ", ".join(
            f"{label} {number(values[label].mean())} ({number(theirs)})"
            for label, theirs in self.published.items()
        )
        told = f"; not: {', '.join(wrong)}" if wrong else ""
        agree = total - len(wrong)
        return Outcome(
            agree >= self.share * total,
            f"{agree} of {total} pairs agree{told}; ours (published): {means}",
        )

    def clear_pairs(self) -> list[tuple[str, str]]:
        """Pairs that are clearly apart, the better first."""
        return [
            (better, worse)
            for better, upper in self.published.items()
            for worse, lower in self.published.items()
            if upper - lower >= self.apart
        ]

    def describe(self) -> str:
        """The share of pairs, and which are counted."""
        return (
            f"{100 * self.share:.0f} % of the {len(self.clear_pairs())} pairs at least "
            f"{number(self.apart)} apart in the same order"
        )


@dataclasses.dataclass(frozen=True)
class Exact:
    """Means that equal exact values up to a tolerance."""

    values: Mapping[str, float]
    tolerance: float

    def judge(self, values: Values) -> Outcome:
        """Passed if every label is within the tolerance."""
        errors = {k: abs(values[k].mean() - exact) for k, exact in self.values.items()}
        parts = [
            f"{label}: {mean_and_std(values[label])}, exact {number(exact)}"
            for label, exact in self.values.items()
        ]
        return Outcome(max(errors.values()) <= self.tolerance, "; ".join(parts))

    def describe(self) -> str:
        """The tolerance."""
        return f"exact within {number(self.tolerance)}"


@dataclasses.dataclass(frozen=True)
class SameLandscape:
    """Means of many settings in nearly the published order, none of them different.

    The ranks correlate, and no setting differs by Welch's test after Holm's correction.
    """

    published: Mapping[str, Published]
    least: float  # Spearman's rank correlation

    def judge(self, values: Values) -> Outcome:
        """Passed if both hold."""
        from scipy import stats

        ours = [values[label].mean() for label in self.published]
        theirs = [published.mean for published in self.published.values()]
        correlation = float(stats.spearmanr(ours, theirs).statistic)
        p_values = [
            comparisons.welch_of(
                (x.mean(), x.std(ddof=1), x.size), (other.mean, other.std, other.seeds)
            )
            for label, other in self.published.items()
            for x in [values[label]]
        ]
        adjusted = comparisons.holm(p_values)
        differ = [
            f"{label} ({mean_and_std(values[label])}, published {theirs})"
            for (label, theirs), p in zip(self.published.items(), adjusted, strict=True)
            if p < LEVEL
        ]
        count = len(self.published)
        return Outcome(
            correlation >= self.least and not differ,
            f"rank correlation {correlation:.2f} over {count} settings, of which "
            f"{', '.join(differ) if differ else 'none'} differs",
        )

    def describe(self) -> str:
        """The smallest correlation."""
        return (
            f"rank correlation of at least {self.least:g}, and no setting different "
            f"(Holm's p < {LEVEL})"
        )


def mean_and_std(values: np.ndarray) -> str:
    """Mean and sample standard deviation over seeds."""
    std = values.std(ddof=1) if values.size > 1 else 0.0
    return f"{number(values.mean())} ± {number(std)} (n = {values.size})"


def number(value: float) -> str:
    """A number with three decimals if it is small, and fewer if it is large."""
    size = abs(value)
    decimals = 3 if size < 1 else 2 if size < 10 else 1
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # never -0.0
