"""A figure that is measured on rows, with its uncertainty."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.record import Record
from training.evaluation.significance import Array, bootstrap_interval


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval by bootstrap; None where rows or clusters are too few."""

    value: float | None
    low: float | None
    high: float | None


def estimate(records: Sequence[Record], statistic: Callable[[Array], Array]) -> Estimate:
    """The estimate of a statistic of N records.

    The statistic takes weights [R, N] of the records and returns R values, NaN where there is none.
    """
    if not records:
        return Estimate(None, None, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        (value,) = statistic(np.ones((1, len(records))))
        if math.isnan(value):
            return Estimate(None, None, None)
        low, high = bootstrap_interval([record.cluster for record in records], statistic)
    return Estimate(float(value), low, high)


def mean_estimate(records: Sequence[Record], values: Sequence[float] | Array) -> Estimate:
    """The estimate of the mean of a value [N] of each record."""
    column = np.asarray(values, float)
    return estimate(records, lambda weights: (weights @ column) / weights.sum(1))
