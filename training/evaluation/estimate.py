"""A figure that is measured on rows, with its uncertainty."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.intervals import difference_interval, share_interval
from training.evaluation.record import Record
from training.evaluation.significance import Array, bootstrap_interval, clustered


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; None where there is none, as of too few rows or clusters."""

    value: float | None
    low: float | None
    high: float | None


def estimate(records: Sequence[Record], statistic: Callable[[Array], Array]) -> Estimate:
    """The estimate of a statistic of N records, with an interval by bootstrap.

    The statistic takes weights [R, N] of the records and returns R values, NaN where there is none.
    """
    if not records:
        return Estimate(None, None, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        (value,) = statistic(np.ones((1, len(records))))
        if math.isnan(value):
            return Estimate(None, None, None)
        low, high = bootstrap_interval(_clusters(records), statistic)
    return Estimate(float(value), low, high)


def mean_estimate(records: Sequence[Record], values: Sequence[float] | Array) -> Estimate:
    """The estimate of the mean of a value [N] of each record.

    Booleans have the interval of a share. Differences of two booleans, all −1, 0 or 1, have that of
    a difference of shares. Others have one by bootstrap.
    """
    column = np.asarray(values)
    if not records:
        return Estimate(None, None, None)
    if column.dtype == bool:
        return Estimate(float(column.mean()), *share_interval(column, _clusters(records)))
    if np.isin(column, (-1, 0, 1)).all():
        return Estimate(float(column.mean()), *difference_interval(column, _clusters(records)))
    return bootstrap_mean(records, column)


def bootstrap_mean(records: Sequence[Record], values: Sequence[float] | Array) -> Estimate:
    """The estimate of the mean of a value [N] of each record, by bootstrap whatever the values."""
    column = np.asarray(values, float)
    return estimate(records, lambda weights: (weights @ column) / weights.sum(1))


def gap_estimate(
    records: Sequence[Record], values: Sequence[float] | Array, flags: Sequence[bool]
) -> Estimate:
    """The estimate of the mean of values [N] less the share of flags [N], of N records.

    Its interval comes from those of both, and from their correlation (Zou and Donner, 2008,
    Construction of confidence limits about effect measures: a general approach; it is what
    Newcombe, 1998, does for two paired shares).
    """
    column, shown = np.asarray(values, float), np.asarray(flags, float)
    mean = bootstrap_mean(records, column)
    share = mean_estimate(records, np.asarray(flags, bool))
    if mean.value is None or mean.low is None or mean.high is None:
        return Estimate(None if mean.value is None else mean.value - shown.mean(), None, None)
    assert share.value is not None
    assert share.low is not None
    assert share.high is not None
    sums = [
        clustered(zip(_clusters(records), one - one.mean(), strict=True))[0]
        for one in (column, shown)
    ]
    alike = 0.0  # the correlation of the two means
    if min(one.std() for one in sums) > 0:
        alike = float(np.corrcoef(sums[0], sums[1])[0, 1])

    def distance(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 + other**2 - 2 * alike * one * other))

    value = mean.value - share.value
    return Estimate(
        value,
        value - distance(mean.value - mean.low, share.high - share.value),
        value + distance(mean.high - mean.value, share.value - share.low),
    )


def _clusters(records: Sequence[Record]) -> list[str]:
    return [record.cluster for record in records]
