import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import precision_recall_curve
from torchmetrics.functional.classification import binary_auroc

from training.evaluation.selective import Point, Selective, measure_selective


def measure(confidence: list[float], right: list[float]) -> Selective:
    return measure_selective(np.array(confidence, float), np.array(right, float))


def drawn(count: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    confidence = generator.random(count).round(decimals)
    return confidence, (generator.random(count) < confidence).astype(float)


def test_by_hand() -> None:
    found = measure([0.6, 0.9, 0.7, 0.8, 0.5], [1, 1, 0, 1, 0])
    # most confident first: right, right, wrong, right, wrong
    accuracies = [1, 1, 2 / 3, 3 / 4, 3 / 5]
    assert found.curve == [
        Point(pytest.approx((k + 1) / 5), pytest.approx(accuracies[k])) for k in range(5)
    ]
    assert found.aurc == pytest.approx(1 - sum(accuracies) / 5)
    assert found.accuracy_at_80 == pytest.approx(3 / 4)
    assert found.auroc == pytest.approx(5 / 6)  # of 3 · 2 pairs, .6 right and .7 wrong is amiss


@pytest.mark.parametrize(
    ("rows", "kept"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (10, 8)]
)
def test_80_percent_are_rounded_up_to_a_row(rows: int, kept: int) -> None:
    right = [1.0] * (kept - 1) + [0.0] * (rows - kept + 1)
    found = measure(np.linspace(1, 0, rows).tolist(), right)
    assert found.accuracy_at_80 == pytest.approx((kept - 1) / kept)


def test_ties_are_the_mean_over_their_orders() -> None:
    confidence, right = [0.9, 0.5, 0.5, 0.5, 0.1], [0.0, 1.0, 0.0, 1.0, 1.0]
    orders = [
        np.cumsum([right[0], *(right[1 + i] for i in order), right[4]]) / np.arange(1, 6)
        for order in itertools.permutations(range(3))
    ]
    expected = np.mean(orders, axis=0)
    found = measure(confidence, right)
    assert [point.accuracy for point in found.curve] == pytest.approx(expected)
    assert found.aurc == pytest.approx(1 - expected.mean())
    assert found.accuracy_at_80 == pytest.approx(expected[3])


def test_the_curve_is_scikit_learns_precision() -> None:
    confidence, right = drawn(60, decimals=16)
    found = measure_selective(confidence, right)
    precision, _, _ = precision_recall_curve(right, confidence, drop_intermediate=False)
    accuracies = precision[-2::-1]  # from the one most confident row to all; 1 for none is left out
    assert [point.accuracy for point in found.curve] == pytest.approx(accuracies)
    assert found.aurc == pytest.approx(1 - accuracies.mean())
    assert found.accuracy_at_80 == pytest.approx(accuracies[47])


@pytest.mark.parametrize("decimals", [16, 1])
def test_auroc_is_mann_whitneys_u_and_torchmetrics(decimals: int) -> None:
    confidence, right = drawn(200, decimals)
    found = measure_selective(confidence, right).auroc
    ones, zeros = confidence[right == 1], confidence[right == 0]
    u = stats.mannwhitneyu(ones, zeros).statistic
    assert found == pytest.approx(u / len(ones) / len(zeros))
    tensors = torch.tensor(confidence), torch.tensor(right).long()
    assert found == pytest.approx(binary_auroc(*tensors).item())


def test_the_curve_of_many_rows_is_short() -> None:
    found = measure_selective(*drawn(10_000, decimals=3))
    assert len(found.curve) == 100
    assert found.curve[-1].coverage == 1


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_without_both_right_and_wrong_rows(right: float) -> None:
    found = measure([0.2, 0.9, 0.9], [right] * 3)
    assert found.auroc is None
    assert found.aurc == 1 - right
    assert found.accuracy_at_80 == right
