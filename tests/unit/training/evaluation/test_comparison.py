from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import stats

from tests.support.prediction_records import open_records, record, to_json
from training.evaluation.calibration import measure_calibration
from training.evaluation.comparison import DifferentRowsError, compare, mcnemar
from training.evaluation.record import Record


def pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[Record], list[Record]]:
    counts = (both, only_a, only_b, neither)
    rows = sum(counts)
    return (
        open_records([0.5] * rows, np.repeat([1, 1, 0, 0], counts)),
        open_records([0.5] * rows, np.repeat([1, 0, 1, 0], counts)),
    )


def drawn(rows: int, seed: int) -> tuple[list[Record], list[Record]]:
    """B is less often right than A, and less sure of it than it should be; A is calibrated."""
    generator = np.random.default_rng(seed)
    confidence = generator.random(rows)
    right = generator.random(rows) < confidence
    lost = generator.random(rows) < 0.2
    return open_records(confidence, right), open_records(confidence / 4, right & ~lost)


def test_by_hand() -> None:
    found = compare(*pair(both=40, only_a=9, only_b=2, neither=29))
    assert (found.rows, found.clusters, found.same_label) == (80, 80, 69)
    assert (found.both_right, found.only_a_right, found.only_b_right) == (40, 9, 2)
    assert found.neither_right == 29
    assert found.accuracy.value == pytest.approx(7 / 80)
    assert found.mcnemar == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert found.sign_flip == pytest.approx(found.mcnemar)
    assert found.brier.value == 0  # at a confidence of .5
    assert found.ece.value == pytest.approx(abs(49 / 80 - 0.5) - abs(42 / 80 - 0.5))


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1), (1, 0, 1), (5, 0, 2 / 32), (0, 5, 2 / 32), (3, 3, 1), (8, 1, 2 * 10 / 512)],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p)


def test_mcnemar_is_a_permutation_test() -> None:
    differences = np.repeat([1.0, -1.0], [7, 2])
    exact = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert mcnemar(7, 2) == pytest.approx(exact.pvalue)


def test_the_differences_are_those_of_each_models_own_figures() -> None:
    a, b = drawn(300, seed=0)
    found = compare(a, b)
    of_a, of_b = measure_calibration(a), measure_calibration(b)
    assert of_a is not None
    assert of_b is not None
    assert found.accuracy.value == pytest.approx(of_a.accuracy - of_b.accuracy)
    assert found.ece.value == pytest.approx(of_a.ece - of_b.ece)
    assert found.brier.value == pytest.approx(of_a.brier - of_b.brier)
    # and B is worse in all three
    assert found.accuracy.low is not None
    assert found.accuracy.low > 0
    assert found.ece.high is not None
    assert found.ece.high < 0
    assert found.brier.high is not None
    assert found.brier.high < 0


def test_the_intervals_are_those_of_models_that_are_asked_the_same_drawn_rows() -> None:
    a, b = drawn(60, seed=1)
    found = compare(a, b)
    generator = np.random.default_rng(2)
    differences = []
    for _ in range(2000):
        picks = generator.integers(0, 60, 60)
        errors = []
        for records in (a, b):
            confidence = np.array([records[i].confidence for i in picks])
            gap = confidence - [records[i].right for i in picks]
            gaps, _ = np.histogram(confidence, bins=15, range=(0, 1), weights=gap)
            errors.append(np.abs(gaps).sum() / 60)
        right = np.mean([a[i].right - b[i].right for i in picks])
        differences.append((right, errors[0] - errors[1]))
    low, high = np.quantile(differences, [0.025, 0.975], axis=0)
    for place, estimate in enumerate((found.accuracy, found.ece)):
        assert estimate.low == pytest.approx(low[place], abs=0.03)
        assert estimate.high == pytest.approx(high[place], abs=0.03)


@pytest.mark.parametrize("both", [0, 50, 100])
def test_models_that_are_right_on_the_same_rows_may_still_differ_on_others(both: int) -> None:
    a, b = pair(both=both, only_a=0, only_b=0, neither=100 - both)
    found = compare(a, b)
    most = stats.binomtest(0, 100).proportion_ci(method="wilson").high
    assert astuple(found.accuracy) == pytest.approx((0, -most, most))
    assert (found.mcnemar, found.sign_flip) == (1, 1)
    # where all are right, or none, nothing can be said of the calibration
    assert (found.ece.low is None, found.brier.low is None) == (both != 50, both != 50)


def test_copies_of_a_row_prove_no_more_than_the_row() -> None:
    a, b = pair(both=10, only_a=6, only_b=0, neither=10)
    once = compare(a, b)
    thrice = compare(a * 3, b * 3)  # as of three seeds
    assert (thrice.rows, thrice.clusters) == (78, 26)
    assert thrice.sign_flip == once.sign_flip
    assert thrice.mcnemar < once.mcnemar
    assert astuple(thrice.accuracy) == pytest.approx(astuple(once.accuracy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold": "maybe"}, "row 1 of A has the gold 'yes', but the row of B beside it 'maybe'"),
        ({"input": {"text": "else"}}, "row 1 of A has the input {'text': 'question 1'}"),
        ({"index": 4}, "row 1 of A has the index 1"),
        ({"cluster": "x"}, "row 1 of A has the cluster '1'"),
    ],
)
def test_other_rows_are_refused(change: dict[str, object], message: str) -> None:
    a = open_records([0.5] * 3, [1, 0, 1])
    b = [a[0], replace(a[1], **change), a[2]]
    with pytest.raises(DifferentRowsError, match=message.replace("{", r"\{")) as error:
        compare(a, b)
    assert "evaluate both on the same data" in str(error.value)


def test_another_number_of_rows_is_refused() -> None:
    a = open_records([0.5] * 3, [1, 0, 1])
    with pytest.raises(DifferentRowsError, match="A has 3 rows and B has 2"):
        compare(a, a[:2])


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_rows_and_no_difference(rows: int) -> None:
    records = [record(i) for i in range(rows)]
    found = compare(records, records)
    assert found.accuracy.value == (0 if rows else None)
    assert found.mcnemar == 1
    to_json(found)
