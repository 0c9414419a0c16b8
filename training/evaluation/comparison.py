"""Compares two models on the same rows: accuracy and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from training.evaluation.calibration import brier, confidence_and_right, ece, equal_width
from training.evaluation.estimate import Estimate, bootstrap_mean, estimate, mean_estimate
from training.evaluation.record import Record
from training.evaluation.significance import clustered, sign_flip_test


class DifferentRowsError(ValueError):
    """Two models were asked about different rows. The message names the first that differs."""


@dataclass(frozen=True)
class Comparison:
    """A and B on the same rows. A difference is A's figure less B's; its interval is paired.

    `ece` and `brier` have no interval where each model is right on all rows, or on none: draws of
    such rows cannot show how well its confidence tells right from wrong.

    `mcnemar` and `sign_flip` are two-sided p-values. Their null hypothesis is that both models are
    right equally often. McNemar's test needs independent rows. The sign-flip test flips clusters
    of rows, and equals McNemar's where each row is a cluster of its own.
    """

    rows: int
    clusters: int
    same_label: int
    both_right: int
    only_a_right: int
    only_b_right: int
    neither_right: int
    accuracy: Estimate
    mcnemar: float
    sign_flip: float
    ece: Estimate  # with 15 bins of equal width
    brier: Estimate


def compare(a: Sequence[Record], b: Sequence[Record]) -> Comparison:
    """The comparison of two models' records, given in the same order.

    Records of several seeds may follow one another, if all records of a row have the same cluster.
    Raises DifferentRowsError.
    """
    _require_same_rows(a, b)
    (confidence_a, right_a), (confidence_b, right_b) = map(confidence_and_right, (a, b))
    only_a = int((right_a > right_b).sum())
    only_b = int((right_b > right_a).sum())
    both = int((right_a * right_b).sum())
    steady = all(len(np.unique(right)) == 1 for right in (right_a, right_b))
    sums, _ = clustered(zip([record.cluster for record in a], right_a - right_b, strict=True))
    bins_a, bins_b = equal_width(confidence_a), equal_width(confidence_b)
    of_ece = estimate(
        a,
        lambda weights: (
            ece(confidence_a, right_a, bins_a, weights)
            - ece(confidence_b, right_b, bins_b, weights)
        ),
    )
    of_brier = bootstrap_mean(a, brier(confidence_a, right_a) - brier(confidence_b, right_b))
    return Comparison(
        rows=len(a),
        clusters=len(sums),
        same_label=sum(mine.label == other.label for mine, other in zip(a, b, strict=True)),
        both_right=both,
        only_a_right=only_a,
        only_b_right=only_b,
        neither_right=len(a) - both - only_a - only_b,
        accuracy=mean_estimate(a, right_a - right_b),
        mcnemar=mcnemar(only_a, only_b),
        sign_flip=sign_flip_test(sums),
        ece=Estimate(of_ece.value, None, None) if steady else of_ece,
        brier=Estimate(of_brier.value, None, None) if steady else of_brier,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """The two-sided p-value of McNemar's exact test, for rows that only A, or only B, has right.

    McNemar, 1947, Note on the sampling error of the difference between correlated proportions.
    """
    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0


def _require_same_rows(a: Sequence[Record], b: Sequence[Record]) -> None:
    if len(a) != len(b):
        raise DifferentRowsError(
            f"A has {len(a)} rows and B has {len(b)}: evaluate both on the same data"
        )
    for mine, other in zip(a, b, strict=True):
        for name in ("index", "input", "gold", "cluster"):
            if getattr(mine, name) != getattr(other, name):
                raise DifferentRowsError(
                    f"row {mine.index} of A has the {name} {getattr(mine, name)!r}, but the row of "
                    f"B beside it {getattr(other, name)!r}: evaluate both on the same data"
                )
