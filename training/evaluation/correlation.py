"""Whether two scores of the same rows correlate, such as a rationale's score and being right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.estimate import Estimate, estimate
from training.evaluation.record import Record
from training.evaluation.significance import Array

CONSTANT = 1e-12  # a smaller share of the whole sample's variance is rounding


@dataclass(frozen=True)
class Correlation:
    """Correlations of two scores on the rows that have both. None where a score never varies."""

    rows: int
    pearson: Estimate
    spearman: Estimate


@dataclass(frozen=True)
class ScoreAndRight:
    """A score of rows, and whether they are right.

    `point_biserial` is Pearson's correlation of a score with a binary variable, `spearman` that of
    their ranks.
    """

    rows: int
    mean_of_right: float | None
    mean_of_wrong: float | None
    point_biserial: Estimate
    spearman: Estimate


def correlate(
    records: Sequence[Record], x: Sequence[float | None], y: Sequence[float | None]
) -> Correlation:
    """Correlates two scores of N records, [N] each; rows without one of them are left out."""
    rows = [
        (record, one, other)
        for record, one, other in zip(records, x, y, strict=True)
        if one is not None and other is not None
    ]
    scored = [record for record, _, _ in rows]
    first = np.array([one for _, one, _ in rows], float)
    second = np.array([other for _, _, other in rows], float)
    return Correlation(
        rows=len(rows),
        pearson=estimate(scored, lambda weights: pearson(first, second, weights)),
        spearman=estimate(scored, lambda weights: spearman(first, second, weights)),
    )


def correlate_with_right(
    records: Sequence[Record], scores: Sequence[float | None]
) -> ScoreAndRight:
    """Correlates a score [N] of N records with being right. Rows without a score are left out."""
    by_right: dict[bool, list[float]] = {True: [], False: []}
    for record, score in zip(records, scores, strict=True):
        if score is not None:
            by_right[record.right].append(score)
    found = correlate(records, scores, [float(record.right) for record in records])
    return ScoreAndRight(
        rows=found.rows,
        mean_of_right=_mean(by_right[True]),
        mean_of_wrong=_mean(by_right[False]),
        point_biserial=found.pearson,
        spearman=found.spearman,
    )


def pearson(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's correlations [R] of two scores [N] under weights [R, N].

    NaN where one of them is constant.
    """
    x, y = x - x.mean(), y - y.mean()  # first, so that a large mean costs no precision
    sums = weights @ np.stack([x, y, x * x, y * y, x * y], axis=1)  # [R, 5], by BLAS
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (sums / weights.sum(1, keepdims=True)).T

    def variance(scores: Array, mean: Array, mean_square: Array) -> Array:
        found = mean_square - mean**2
        whole = (scores**2).mean() if np.ptp(scores) > 0 else np.inf
        return np.where(found > CONSTANT * whole, found, np.nan)

    spread = np.sqrt(variance(x, mean_x, mean_xx) * variance(y, mean_y, mean_yy))
    return np.clip((mean_xy - mean_x * mean_y) / spread, -1, 1)


def spearman(x: Array, y: Array, weights: Array) -> Array:
    """Spearman's correlations [R] of two scores [N] under weights [R, N], which count rows."""
    pairs, cell = np.unique(np.stack([x, y]), axis=1, return_inverse=True)  # K different pairs
    counts = _sums_by_group(weights, cell.ravel())  # [R, K]
    middle = (counts.sum(1, keepdims=True) + 1) / 2  # the mean rank
    dx, dy = (_ranks(scores, counts) - middle for scores in pairs)

    def product(a: Array, b: Array) -> Array:
        found: Array = np.einsum("rk,rk,rk->r", counts, a, b)
        return found

    # sums of halves are exact, so equal ranks give exactly 0 / 0
    found = product(dx, dy) / np.sqrt(product(dx, dx) * product(dy, dy))
    return np.clip(found, -1, 1)


def _ranks(scores: Array, counts: Array) -> Array:
    """Mid-ranks [R, K] of scores [K] in samples where each stands `counts` [R, K] times."""
    _, group = np.unique(scores, return_inverse=True)
    ties = _sums_by_group(counts, group)  # [R, groups]
    return (ties.cumsum(1) - (ties - 1) / 2)[:, group]


def _sums_by_group(values: Array, group: NDArray[np.int64]) -> Array:
    """The sums [R, G] of the values [R, N] that have the same number in `group` [N]."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    found: Array = np.add.reduceat(values[:, order], starts, axis=1)
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
