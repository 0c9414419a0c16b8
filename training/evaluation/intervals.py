"""95 % intervals of shares, and of differences of shares, that also hold at 0 and 100 %.

The bootstrap draws from the rows that it has. Where all of them are right, it gives 100 to 100 %.

Rows of one cluster are not independent. A *design effect* says how many rows are worth one
independent row, and counts are divided by it (Rao and Scott, 1992, A simple method for the analysis
of clustered binary data). It is estimated with two more clusters of the mean size, at opposite
extremes, each counted half, as Agresti and Coull (1998) add rows. That is ours. Without them the
estimate says nothing where all clusters are alike, and is too low where nearly all are.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from scipy.optimize import bisect
from scipy.stats import norm

from training.evaluation.significance import Array, clustered

Z = float(norm.ppf(0.975))
Interval = tuple[float, float]


def share_interval(flags: Sequence[float] | Array, clusters: Sequence[Hashable]) -> Interval:
    """The interval of the share of N > 0 rows whose flag is 1, not 0.

    Wilson's (1927, Probable inference, the law of succession, and statistical inference), on as
    many independent rows as the clusters [N] are worth.
    """
    flags = np.asarray(flags, float)
    return wilson(float(flags.mean()), len(flags) / _design_effect(flags, clusters, (0, 1)))


def difference_interval(
    differences: Sequence[float] | Array, clusters: Sequence[Hashable]
) -> Interval:
    """The interval of the mean of N > 0 differences of two flags of a row: each is −1, 0 or 1.

    Tango's (1998, Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design), on as many independent rows as the clusters [N] are worth.
    """
    differences = np.asarray(differences, float)
    effect = _design_effect(differences, clusters, (-1, 1))
    only_first, only_second = ((differences == sign).sum() / effect for sign in (1, -1))
    return tango(only_first, only_second, len(differences) / effect)


def wilson(share: float, rows: float) -> Interval:
    """Wilson's interval of a share of so many independent rows, whole or not."""
    square = Z * Z / rows
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    return (middle - half if share > 0 else 0.0), (middle + half if share < 1 else 1.0)


def tango(only_first: float, only_second: float, rows: float) -> Interval:
    """Tango's interval of (only_first − only_second) / rows, for independent rows, whole or not.

    Two flags of each row are compared. The counts are of rows with only the first flag, and with
    only the second.
    """
    found = (only_first - only_second) / rows

    def score(difference: float) -> float:
        """How many standard errors `found` is above a difference."""
        b = (2 * rows - only_first + only_second) * difference - only_first - only_second
        c = -only_second * difference * (1 - difference)
        second = (math.sqrt(max(0.0, b * b - 8 * rows * c)) - b) / (4 * rows)
        variance = rows * (2 * second + difference * (1 - difference))
        gap = rows * (found - difference)
        if gap == 0:
            return 0.0
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    def bound(end: float) -> float:
        target = math.copysign(Z, found - end)
        if abs(found - end) < 1e-9:
            return end
        return float(bisect(lambda difference: score(difference) - target, end, found))

    return bound(-1.0), bound(1.0)


def _design_effect(
    values: Array, clusters: Sequence[Hashable], extremes: tuple[float, float]
) -> float:
    """How many rows are worth one independent row, at least 1.

    That is the variance of the mean of values [N] over clusters [N], as a ratio of two sums, by
    their variance over rows.
    """
    sums, counts = clustered(zip(map(str, clusters), values, strict=True))
    size = len(values) / len(counts)
    added = np.array(extremes, float)
    mean = (values.sum() + size * added.sum() / 2) / (len(values) + size)
    squares = ((added - mean) ** 2).sum() / 2
    of_clusters = ((sums - mean * counts) ** 2).sum() + size**2 * squares
    of_rows = ((values - mean) ** 2).sum() + size * squares
    return max(1.0, float(of_clusters / of_rows))
