"""How often a model is right: on all rows, and class by class where the label set is closed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.evaluation.estimate import Estimate, mean_estimate
from training.evaluation.record import Record


@dataclass(frozen=True)
class ClassScore:
    """A label, one against the rest; None where a figure is a share of no rows."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int  # rows whose gold label it is
    predicted: int  # rows that the model gave it to


@dataclass(frozen=True)
class Classes:
    """The scores of each label of a closed set."""

    scores: list[ClassScore]
    macro_f1: float | None  # mean over the labels that occur, as gold or as predicted ones
    confusion: list[list[int]]  # rows by their gold label, columns by the predicted one


@dataclass(frozen=True)
class Accuracy:
    """Shares of rows: `right` as the task judges, `exact` where the label is gold's own text.

    `truncated` counts the rows that were too long for the model and lost their end.
    `truncated_right` counts those of them that are right.
    """

    rows: int
    clusters: int
    right: Estimate
    exact: Estimate
    truncated: int
    truncated_right: int
    classes: Classes | None


def measure_accuracy(records: Sequence[Record], labels: Sequence[str] | None = None) -> Accuracy:
    """Measures N records. `labels` is the task's closed set; None where there is no one set.

    Raises ValueError where a gold or a predicted label is not in the set.
    """
    truncated = [record.right for record in records if record.truncated]
    return Accuracy(
        rows=len(records),
        clusters=len({record.cluster for record in records}),
        right=mean_estimate(records, [record.right for record in records]),
        exact=mean_estimate(records, [record.exact for record in records]),
        truncated=len(truncated),
        truncated_right=sum(truncated),
        classes=_classes(records, labels) if labels is not None and records else None,
    )


def _classes(records: Sequence[Record], labels: Sequence[str]) -> Classes:
    for record in records:
        for label in (record.gold, record.label):
            if label not in labels:
                some = ", ".join(labels[:20])
                raise ValueError(f"row {record.index}: the label {label!r} is not one of {some}")
    gold, predicted = zip(*((record.gold, record.label) for record in records), strict=True)
    confusion = confusion_matrix(gold, predicted, labels=labels)
    columns = precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=np.nan)
    scores = [
        ClassScore(
            label,
            _number(precision),
            _number(recall),
            _number(f1),
            support=int(support),
            predicted=int(count),
        )
        for label, precision, recall, f1, support, count in zip(
            labels, *columns, confusion.sum(0), strict=True
        )
    ]
    occurring = [score.f1 for score in scores if score.f1 is not None]
    return Classes(scores, sum(occurring) / len(occurring), confusion.tolist())


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
