import math

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error

from tests.support.prediction_records import closed_records, open_records, record, softmax, to_json
from training.evaluation.calibration import (
    Bin,
    MeasuredCalibration,
    Probabilities,
    ece_sweep,
    equal_mass,
    equal_width,
    measure_calibration,
)
from training.evaluation.record import Record

LABELS = ["entailment", "neutral", "contradiction"]


def measure(records: list[Record]) -> MeasuredCalibration:
    found = measure_calibration(records)
    assert found is not None
    to_json(found)
    return found


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and answers that are right as often as these say."""
    generator = np.random.default_rng(seed)
    confidence = generator.random(count)
    return confidence, generator.random(count) < confidence


def test_by_hand() -> None:
    # bins of 1/15: .92 and .90 in (.867, .933], .40 in (.333, .4] though 6/15 is its bound
    found = measure(open_records([0.92, 0.90, 0.40, 0.38], [1, 0, 1, 0]))
    assert found.ece == pytest.approx((abs(1 - 1.82) + abs(1 - 0.78)) / 4)
    assert (found.accuracy, found.confidence) == (0.5, pytest.approx(0.65))
    assert found.brier == pytest.approx((0.08**2 + 0.9**2 + 0.6**2 + 0.38**2) / 4)
    assert found.nll == pytest.approx(-math.log(0.92 * 0.1 * 0.4 * 0.62) / 4)
    assert found.bins == [
        Bin(pytest.approx(5 / 15), pytest.approx(6 / 15), 2, pytest.approx(0.39), 0.5),
        Bin(pytest.approx(13 / 15), pytest.approx(14 / 15), 2, pytest.approx(0.91), 0.5),
    ]
    # a row a bin: with .92 right, .90 wrong, .40 right and .38 wrong
    assert found.ece_equal_mass == pytest.approx((0.08 + 0.9 + 0.6 + 0.38) / 4)
    assert found.probabilities is None


def test_a_perfectly_calibrated_model() -> None:
    found = measure(open_records(*drawn(20_000)))
    # the mean gap of 15 bins of 1333 rows is √(2/π) √(p(1 − p)/1333), about 0.009, by chance alone
    assert found.ece < 0.015
    assert found.ece_equal_mass < 0.015
    assert found.ece_sweep < 0.015
    assert found.brier == pytest.approx(1 / 6, abs=0.005)  # E[u(1 − u)]
    assert found.nll == pytest.approx(0.5, abs=0.01)  # E of the binary entropy, in nats


def test_a_model_that_is_too_sure_by_a_known_amount() -> None:
    generator = np.random.default_rng(1)
    confidence = generator.random(20_000)
    right = generator.random(20_000) < confidence**2
    found = measure(open_records(confidence, right))
    for error in (found.ece, found.ece_equal_mass, found.ece_sweep):
        assert error == pytest.approx(1 / 2 - 1 / 3, abs=0.01)  # E[u − u²]


def test_one_confidence_for_all() -> None:
    found = measure(open_records([0.9] * 10, [1] * 6 + [0] * 4))
    assert found.ece == pytest.approx(0.3)
    assert found.ece_equal_mass == pytest.approx(0.3)
    assert found.ece_sweep == pytest.approx(0.3)
    assert [part.rows for part in found.bins_equal_mass] == [10]


def test_bins_of_equal_width_as_torchmetrics_has_them() -> None:
    confidence, right = drawn(500, seed=2)
    expected = binary_calibration_error(torch.tensor(confidence), torch.tensor(right), n_bins=15)
    assert measure(open_records(confidence, right)).ece == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("decimals", [16, 2, 1])  # the fewer, the more ties
def test_bins_as_scikit_learn_has_them(decimals: int) -> None:
    confidence, right = drawn(200, seed=3)
    confidence = confidence.round(decimals)
    found = measure(open_records(confidence, right))
    for bins, strategy in ((found.bins, "uniform"), (found.bins_equal_mass, "quantile")):
        accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy=strategy)
        assert [part.accuracy for part in bins] == pytest.approx(accuracy)
        assert [part.confidence for part in bins] == pytest.approx(mean)
        assert sum(part.rows for part in bins) == 200


def test_a_bound_belongs_to_the_bin_below() -> None:
    bounds = np.array([0, 1 / 15, np.nextafter(1 / 15, 1), 14 / 15, 1])
    assert equal_width(bounds).tolist() == [0, 0, 1, 13, 14]


def test_bins_of_equal_mass_hold_equally_many() -> None:
    confidence, _ = drawn(150)
    assert np.bincount(equal_mass(confidence)).tolist() == [10] * 15


def test_the_sweep_by_hand() -> None:
    confidence = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    # accuracies rise with every number of bins, so each row is a bin
    rising = ece_sweep(confidence, np.array([0, 0, 0, 1, 1, 1.0]))
    assert rising == pytest.approx((0.1 + 0.2 + 0.3 + 0.6 + 0.5 + 0.4) / 6)
    # two bins would have 1 and 0, so there is one
    falling = ece_sweep(confidence, np.array([1, 1, 1, 0, 0, 0.0]))
    assert falling == pytest.approx(0.5 - 0.35)
    # of two bins 1/3 and 2/3; of three 1/2, 0, 1
    assert ece_sweep(confidence, np.array([0, 1, 0, 0, 1, 1.0])) == pytest.approx(
        (abs(1 - 0.6) + abs(2 - 1.5)) / 6
    )


def test_the_sweep_is_less_biased_on_few_rows() -> None:
    found = [measure(open_records(*drawn(100, seed))) for seed in range(20)]  # their true one is 0
    swept = np.mean([one.ece_sweep for one in found])
    assert swept < 0.8 * np.mean([one.ece_equal_mass for one in found])


def test_brier_and_nll_as_scikit_learn_has_them() -> None:
    confidence, right = drawn(300, seed=4)
    found = measure(open_records(confidence, right))
    assert found.brier == pytest.approx(brier_score_loss(right, confidence))
    assert found.nll == pytest.approx(log_loss(right, confidence))


def test_what_was_certain_and_wrong_costs_much_but_not_everything() -> None:
    found = measure(open_records([1.0, 0.0], [0, 1]))
    assert found.nll == pytest.approx(52 * math.log(2))
    assert found.brier == 1


def labelled(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    logits = 2 * generator.normal(size=(count, 3))
    return softmax(logits), generator.integers(0, 3, count)


def test_the_probabilities_of_labels_as_scikit_learn_has_them() -> None:
    probabilities, gold = labelled()
    found = measure(closed_records(probabilities, gold, LABELS)).probabilities
    assert found is not None
    assert found.nll == pytest.approx(log_loss(gold, probabilities))
    assert found.brier == pytest.approx(
        brier_score_loss(gold, probabilities, labels=[0, 1, 2], scale_by_half=False)
    )
    gaps = []
    for label in range(3):
        accuracy, mean = calibration_curve(
            gold == label, probabilities[:, label], n_bins=15, strategy="quantile"
        )
        gaps += abs(accuracy - mean).tolist()
    assert found.ace == pytest.approx(np.mean(gaps))


def test_the_probabilities_of_labels_by_hand() -> None:
    records = closed_records(np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]), [0, 1], LABELS)
    # a row a bin: |1 − .7|, |0 − .5|; |0 − .2|, |1 − .3|; .1, .2
    assert measure(records).probabilities == Probabilities(
        brier=pytest.approx((0.09 + 0.04 + 0.01 + 0.25 + 0.49 + 0.04) / 2),
        nll=pytest.approx(-math.log(0.7 * 0.3) / 2),
        ace=pytest.approx((0.3 + 0.5 + 0.2 + 0.7 + 0.1 + 0.2) / 6),
    )


def test_inputs_with_labels_of_their_own() -> None:
    records = [
        record(0, True, 0.6, gold="pens", probabilities={"pens": 0.6, "cups": 0.4}),
        record(1, True, 0.5, gold="a", probabilities={"a": 0.5, "b": 0.3, "c": 0.2}),
    ]
    found = measure(records).probabilities
    assert found is not None
    assert found.brier == pytest.approx((0.16 + 0.16 + 0.25 + 0.09 + 0.04) / 2)
    assert found.ace is None


def test_a_gold_label_without_a_probability_is_named() -> None:
    wrong = record(7, False, gold="pens", label="cups", probabilities={"cups": 1.0})
    with pytest.raises(ValueError, match="row 7: the label 'pens' is not one of cups"):
        measure_calibration([wrong])


@pytest.mark.parametrize("confidence", [[0.7], [1.0, 0.0], [0.5] * 40, [1.0] * 40])
@pytest.mark.parametrize("right", [0, 1])
def test_degenerate_rows(confidence: list[float], right: int) -> None:
    found = measure(open_records(confidence, [right] * len(confidence)))
    assert found.accuracy == right
    assert 0 <= found.ece <= 1
    assert found.selective.auroc is None


def test_no_rows() -> None:
    assert measure_calibration([]) is None
