import numpy as np
import pytest
from scipy import stats

from tests.support.prediction_records import open_records, record, to_json
from training.evaluation.correlation import correlate, correlate_with_right, pearson, spearman

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=200)
Y = 0.6 * X + 0.8 * GENERATOR.normal(size=200)
RECORDS = open_records([0.5] * 200, np.arange(200) % 2)


def test_by_hand() -> None:
    found = correlate(RECORDS[:4], [1, 2, 3, 4], [1, 3, 2, 10])
    # deviations −1.5, −.5, .5, 1.5 and −3, −1, −2, 6: Σxy 13, Σx² 5, Σy² 50
    assert found.pearson.value == pytest.approx(13 / 250**0.5)
    assert found.spearman.value == pytest.approx(1 - 6 * 2 / (4 * 15))  # one pair is swapped


@pytest.mark.parametrize("decimals", [10, 1, 0])  # the fewer, the more ties
def test_as_scipy_has_them(decimals: int) -> None:
    x, y = X.round(decimals), Y.round(decimals)
    found = correlate(RECORDS, x.tolist(), y.tolist())
    assert found.rows == 200
    assert found.pearson.value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_drawn_rows_are_rows_that_stand_there_several_times() -> None:
    x, y = X.round(1), Y.round(1)
    picks = np.random.default_rng(1).integers(0, 200, (5, 200))
    weights = np.stack([np.bincount(pick, minlength=200) for pick in picks]).astype(float)
    assert pearson(x, y, weights) == pytest.approx(
        [stats.pearsonr(x[pick], y[pick]).statistic for pick in picks]
    )
    assert spearman(x, y, weights) == pytest.approx(
        [stats.spearmanr(x[pick], y[pick]).statistic for pick in picks]
    )


def test_the_interval_is_fishers_where_both_are_normal() -> None:
    found = correlate(RECORDS, X.tolist(), Y.tolist()).pearson
    low, high = stats.pearsonr(X, Y).confidence_interval(0.95)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_rows_of_a_cluster_count_as_one() -> None:
    x, y = X[:50].tolist(), Y[:50].tolist()
    once = correlate(RECORDS[:50], x, y)
    four = correlate(RECORDS[:50] * 4, x * 4, y * 4)
    assert four.rows == 200
    for one, other in ((once.pearson, four.pearson), (once.spearman, four.spearman)):
        assert (other.value, other.low) == pytest.approx((one.value, one.low))


def test_a_large_mean_drowns_nothing() -> None:
    found = correlate(RECORDS, (X + 1e8).tolist(), Y.tolist())
    assert found.pearson.value == pytest.approx(stats.pearsonr(X, Y).statistic, abs=1e-6)


def test_rows_without_a_score_are_left_out() -> None:
    x = [None if i % 5 == 0 else float(value) for i, value in enumerate(X)]
    found = correlate(RECORDS, x, Y.tolist())
    kept = np.arange(200) % 5 > 0
    assert found.rows == 160
    assert found.pearson.value == pytest.approx(stats.pearsonr(X[kept], Y[kept]).statistic)


def test_being_right_and_a_score() -> None:
    right = X > 0
    records = open_records([0.5] * 200, right)
    found = correlate_with_right(records, Y.tolist())
    assert found.mean_of_right == pytest.approx(Y[right].mean())
    assert found.mean_of_wrong == pytest.approx(Y[~right].mean())
    expected = stats.pointbiserialr(right, Y).statistic
    assert found.point_biserial.value == pytest.approx(expected)
    assert found.spearman.value == pytest.approx(stats.spearmanr(right, Y).statistic)
    assert found.point_biserial.low is not None
    assert 0 < found.point_biserial.low < expected


def test_being_right_and_a_score_by_hand() -> None:
    records = [record(i, right) for i, right in enumerate((True, True, False, False))]
    found = correlate_with_right(records, [3, 2, 2, 1])
    assert (found.mean_of_right, found.mean_of_wrong) == (2.5, 1.5)
    # (2.5 − 1.5) / √.5 · √(½ · ½)
    assert found.point_biserial.value == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1.0], [2.0]),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        ([0.1] * 7, [0.3] * 7),  # whose means are rounded
        ([None, None], [1.0, 2.0]),
    ],
)
def test_what_has_no_correlation(x: list[float | None], y: list[float | None]) -> None:
    found = correlate(RECORDS[: len(x)], x, y)
    assert (found.pearson.value, found.spearman.value) == (None, None)
    to_json(found)


def test_two_rows_have_a_correlation_but_no_interval() -> None:
    found = correlate(RECORDS[:2], [1, 2], [5, 3])
    assert found.pearson.value == pytest.approx(-1)
    assert (found.pearson.low, found.pearson.high) == (None, None)
    to_json(found)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong(right: bool) -> None:
    found = correlate_with_right([record(i, right) for i in range(3)], [1.0, 2.0, 3.0])
    assert [found.mean_of_right, found.mean_of_wrong].count(None) == 1
    assert found.point_biserial.value is None
    to_json(found)
