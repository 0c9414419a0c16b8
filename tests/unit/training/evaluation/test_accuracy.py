from dataclasses import astuple

import numpy as np
import pytest
import torch
from scipy import stats
from torchmetrics.functional import classification

from tests.support.prediction_records import closed_records, open_records, record, to_json
from training.evaluation.accuracy import ClassScore, measure_accuracy

LABELS = ["entailment", "neutral", "contradiction"]


def test_right_by_value_and_right_to_the_letter() -> None:
    records = [
        record(0, True, gold="( 4 + 2 )", label="( 2 + 4 )"),
        record(1, True, gold="( 4 + 2 )"),
        record(2, False, gold="( 4 + 2 )", label="( 4 - 2 )"),
        record(3, False, gold="( 4 + 2 )", label=")"),
    ]
    found = measure_accuracy(records)
    assert (found.rows, found.clusters) == (4, 4)
    assert (found.right.value, found.exact.value) == (0.5, 0.25)
    assert found.classes is None


def test_rows_that_lost_their_end_are_counted() -> None:
    rights = [True, True, False, False, True]
    found = measure_accuracy(
        [record(i, right, truncated=i % 2 == 0) for i, right in enumerate(rights)]
    )
    assert (found.truncated, found.truncated_right) == (3, 2)


@pytest.mark.parametrize("right", [0, 30, 100])
def test_the_interval_is_wilsons(right: int) -> None:
    found = measure_accuracy(open_records([0.5] * 100, [1] * right + [0] * (100 - right))).right
    assert found.value == right / 100
    expected = stats.binomtest(right, 100).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_rows_of_a_cluster_count_as_one() -> None:
    single = open_records([0.5] * 40, [1] * 12 + [0] * 28)
    rows = [
        record(4 * i + k, one.right, cluster=one.cluster)
        for i, one in enumerate(single)
        for k in range(4)
    ]
    found = measure_accuracy(rows)
    assert (found.rows, found.clusters) == (160, 40)
    assert astuple(found.right) == pytest.approx(astuple(measure_accuracy(single).right))


def test_classes_by_hand() -> None:
    pairs = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    records = [
        record(i, gold == label, gold=gold, label=label) for i, (gold, label) in enumerate(pairs)
    ]
    classes = measure_accuracy(records, ["a", "b", "c"]).classes
    assert classes is not None
    assert classes.confusion == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert classes.scores == [
        ClassScore("a", precision=2 / 3, recall=2 / 3, f1=2 / 3, support=3, predicted=3),
        ClassScore("b", precision=0.5, recall=0.5, f1=0.5, support=2, predicted=2),
        ClassScore("c", precision=None, recall=None, f1=None, support=0, predicted=0),
    ]
    assert classes.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)  # of those that occur


def test_a_label_that_is_never_predicted_has_no_precision() -> None:
    records = [record(0, True, gold="a"), record(1, False, gold="b", label="a")]
    classes = measure_accuracy(records, ["a", "b"]).classes
    assert classes is not None
    assert classes.scores[1] == ClassScore("b", None, recall=0, f1=0, support=1, predicted=0)
    assert classes.macro_f1 == pytest.approx(1 / 3)


def test_classes_as_torchmetrics_has_them() -> None:
    generator = np.random.default_rng(0)
    gold = generator.integers(0, 3, 200)
    probabilities = generator.dirichlet([1, 1, 1], 200)
    found = measure_accuracy(closed_records(probabilities, gold, LABELS), LABELS).classes
    assert found is not None
    tensors = torch.tensor(probabilities), torch.tensor(gold)
    matrix = classification.multiclass_confusion_matrix(*tensors, num_classes=3)
    assert found.confusion == matrix.tolist()
    for name, metric in (
        ("precision", classification.multiclass_precision),
        ("recall", classification.multiclass_recall),
        ("f1", classification.multiclass_f1_score),
    ):
        expected = metric(*tensors, num_classes=3, average="none").tolist()
        assert [getattr(score, name) for score in found.scores] == pytest.approx(expected)
    macro = classification.multiclass_f1_score(*tensors, num_classes=3, average="macro")
    assert found.macro_f1 == pytest.approx(macro.item())


def test_a_label_outside_the_set_is_named() -> None:
    with pytest.raises(ValueError, match="row 3: the label 'maybe' is not one of yes, no"):
        measure_accuracy([record(3, False, label="maybe")], ["yes", "no"])


@pytest.mark.parametrize("right", [[], [True], [False], [True] * 5])
def test_few_rows_and_no_variation(right: list[bool]) -> None:
    found = measure_accuracy(open_records([0.5] * len(right), right), ["yes", "no"])
    assert found.right.value == (sum(right) / len(right) if right else None)
    if right:
        expected = stats.binomtest(sum(right), len(right)).proportion_ci(method="wilson")
        assert (found.right.low, found.right.high) == pytest.approx((expected.low, expected.high))
    else:
        assert (found.right.low, found.right.high) == (None, None)
    to_json(found)
