"""Whether two scores of the same rows go together, such as a rationale's and being right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.estimate import Estimate, estimate
from training.evaluation.record import Record
from training.significance import Array

CONSTANT = 1e-12  # a variance below this share of the whole sample's is rounding


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
    """Compares a score [N] of N records by their being right; rows without one are left out."""
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
    """Pearson's correlations [R] of two scores [N] under weights [R, N]; NaN where one is constant.

    Scores may also differ by R: [R, N].
    """
    total = weights.sum(1)

    def centred(scores: Array) -> tuple[Array, Array]:
        scores = scores - scores.mean(-1, keepdims=True)  # first, so that no large mean drowns them
        deviations = scores - ((weights * scores).sum(1) / total)[:, None]
        variance = (weights * deviations**2).sum(1) / total
        whole = np.where(np.ptp(scores, -1) > 0, (scores**2).mean(-1), np.inf)
        return deviations, np.where(variance > CONSTANT * whole, variance, np.nan)

    (dx, var_x), (dy, var_y) = centred(x), centred(y)
    found: Array = (weights * dx * dy).sum(1) / total / np.sqrt(var_x * var_y)
    return np.clip(found, -1, 1)


def spearman(x: Array, y: Array, weights: Array) -> Array:
    """Spearman's correlations [R] of two scores [N] under weights [R, N], which count rows."""
    return pearson(_ranks(x, weights), _ranks(y, weights), weights)


def _ranks(scores: Array, weights: Array) -> Array:
    """Mid-ranks [R, N] of scores [N] in samples where each row stands `weights` [R, N] times."""
    _, group = np.unique(scores, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    ties = np.add.reduceat(weights[:, order], starts, axis=1)  # [R, groups]
    return (ties.cumsum(1) - ties + (ties + 1) / 2)[:, group]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
