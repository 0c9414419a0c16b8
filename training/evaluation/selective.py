"""Selective prediction: a model answers the rows that it is sure of, and leaves the others."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from training.evaluation.significance import Array

POINTS = 100  # of a curve, at most


@dataclass(frozen=True)
class Point:
    """The most confident rows: their share of all rows, and the share of them that is right."""

    coverage: float
    accuracy: float


@dataclass(frozen=True)
class Selective:
    """Selective prediction. Rows of equal confidence count as their mean over all orders.

    `auroc` is the probability that a right row is more confident than a wrong one (the area under
    the receiver operating characteristic), None without both kinds. `aurc` is the area under
    the risk-coverage curve (Geifman et al., 2019): the share of wrong rows among the k most
    confident ones, as the mean over every k. `accuracy_at_80` is the share of right rows among the
    most confident 80 %, rounded up to a row.
    """

    auroc: float | None
    aurc: float
    accuracy_at_80: float
    curve: list[Point]


def measure_selective(confidence: Array, right: Array) -> Selective:
    """Measures rows by their confidence [N] and whether they are right, 1 or 0 [N]; N > 0."""
    rows = len(right)
    accuracy = _accuracy_of_most_confident(confidence, right)
    sizes = np.unique(np.ceil(np.linspace(0, rows, POINTS + 1)[1:]).astype(int))
    return Selective(
        auroc=float(roc_auc_score(right, confidence)) if 0 < right.sum() < rows else None,
        aurc=float(1 - accuracy.mean()),
        accuracy_at_80=float(accuracy[-(-4 * rows // 5) - 1]),
        curve=[Point(float(size / rows), float(accuracy[size - 1])) for size in sizes],
    )


def _accuracy_of_most_confident(confidence: Array, right: Array) -> Array:
    """The accuracy of the k most confident rows, for each k from 1 to N [N]."""
    _, group = np.unique(-confidence, return_inverse=True)
    # between the ends of a group of ties, the mean over its orders grows evenly
    ends = np.concatenate([[0], np.cumsum(np.bincount(group))])
    right_by_then = np.concatenate([[0], np.cumsum(np.bincount(group, right))])
    sizes = np.arange(1, len(right) + 1)
    return np.interp(sizes, ends, right_by_then) / sizes
