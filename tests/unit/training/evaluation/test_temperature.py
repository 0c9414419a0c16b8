import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logit

from service.engine.confidence import confidence_of, rank
from tasks.calibration import Calibration
from tests.support.prediction_records import closed_records, open_records, record, softmax, to_json
from training.evaluation.calibration import measure_calibration
from training.evaluation.record import Record
from training.evaluation.temperature import fit_temperature, tempered
from training.student.files import write_calibration

OFFSET = 0.7
LABELS = ["entailment", "neutral", "contradiction"]


def closed(rows: int, temperature: float, seed: int = 0) -> list[Record]:
    """Records whose gold labels are as probable as their probabilities say at `temperature`."""
    generator = np.random.default_rng(seed)
    logits = 4 * generator.normal(size=(rows, 3))
    gold = [generator.choice(3, p=row) for row in softmax(logits / temperature)]
    return closed_records(softmax(logits), gold, LABELS)


def opened(rows: int, temperature: float, seed: int = 0) -> list[Record]:
    generator = np.random.default_rng(seed)
    logprobs = -generator.exponential(2.0, rows)
    odds = np.exp(logprobs / temperature + OFFSET)
    return open_records(np.exp(logprobs), generator.random(rows) < odds / (1 + odds))


def test_closed_labels_by_hand() -> None:
    # 7 of 10 right at 9 : 1, so it should be 7 : 3, and 9^(1/T) = 7/3
    records = closed_records(np.array([[0.9, 0.1]] * 10), [0] * 7 + [1] * 3, ["yes", "no"])
    fitted = fit_temperature(records)
    assert fitted.temperature == pytest.approx(math.log(9) / math.log(7 / 3), rel=1e-4)
    assert (fitted.rows, fitted.problem) == (10, None)
    assert fitted.after is not None
    assert fitted.after.confidence == pytest.approx(0.7, abs=1e-4)
    assert fitted.after.ece == pytest.approx(0, abs=1e-4)


def test_open_labels_by_hand() -> None:
    # At 0.5 8 of 10 are right, and at 0.1 3 of 10: the line of log-odds goes through both, where a
    # right row counts as 12/13, and a wrong one as 1/11 (Platt's, of 11 right and 9 wrong ones)
    high, low = (share * 12 / 13 + (1 - share) / 11 for share in (0.8, 0.3))
    fitted = fit_temperature(
        open_records([0.5] * 10 + [0.1] * 10, [1] * 8 + [0] * 2 + [1] * 3 + [0] * 7)
    )
    slope = (logit(high) - logit(low)) / (math.log(0.5) - math.log(0.1))
    assert fitted.temperature == pytest.approx(1 / slope, rel=1e-3)
    assert fitted.offset == pytest.approx(logit(high) - slope * math.log(0.5), rel=1e-3)
    assert fitted.after is not None
    assert fitted.after.ece == pytest.approx(((0.8 - high) + (low - 0.3)) / 2, abs=1e-3)


def test_a_confidence_that_parts_right_from_wrong_is_not_made_certain() -> None:
    fitted = fit_temperature(open_records([0.9] * 5 + [0.2] * 5, [1] * 5 + [0] * 5))
    assert fitted.problem is None
    (sure, *_, unsure) = tempered(
        open_records([0.9, 0.2], [1, 0]), fitted.temperature, fitted.offset
    )
    assert (sure.confidence, unsure.confidence) == pytest.approx((6 / 7, 1 / 7), abs=1e-3)


@pytest.mark.parametrize("make", [closed, opened])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_and_mends_the_calibration(make, temperature: float) -> None:
    fitted = fit_temperature(make(3000, temperature))
    assert fitted.temperature == pytest.approx(temperature, rel=0.15)
    assert fitted.offset == (None if make is closed else pytest.approx(OFFSET, abs=0.25))
    test = make(3000, temperature, seed=1)  # rows that it was not fitted on
    before = to_calibration(test)
    after = to_calibration(tempered(test, fitted.temperature, fitted.offset))
    assert after["ece"] < 0.03
    if temperature != 1:
        assert after["ece"] < before["ece"] / 2
        assert after["nll"] < before["nll"]
    assert after["accuracy"] == before["accuracy"]


def to_calibration(records: list[Record]) -> dict[str, float]:
    found = measure_calibration(records)
    assert found is not None
    return json.loads(to_json(found))


def test_the_fit_is_where_torchs_gradient_is_zero() -> None:
    records = closed(500, 2.0)
    log_probabilities = torch.tensor([[*(row.probabilities or {}).values()] for row in records])
    gold = torch.tensor([LABELS.index(row.gold) for row in records])
    temperature = torch.tensor(fit_temperature(records).temperature, requires_grad=True)
    torch.nn.functional.cross_entropy(log_probabilities.log() / temperature, gold).backward()
    assert temperature.grad is not None
    assert temperature.grad.item() == pytest.approx(0, abs=1e-5)


def test_tempered_closed_labels_are_the_services() -> None:
    logprobs = np.array([-3.0, -1.0, -7.5])
    before = closed_records(softmax(logprobs)[None], [0], LABELS)
    (after,) = tempered(before, 2.5)
    order, probabilities = rank(logprobs, 2.5)
    assert after.probabilities == pytest.approx(dict(zip(LABELS, probabilities, strict=True)))
    assert after.label == before[0].label == LABELS[order[0]]
    assert after.confidence == pytest.approx(max(probabilities))


def test_tempered_open_labels_are_the_services() -> None:
    (after,) = tempered([record(confidence=math.exp(-3))], 2.5)
    assert after.confidence == pytest.approx(math.exp(-3 / 2.5))
    assert after.label == "yes"


@pytest.mark.parametrize("logprob", [-1000.0, -3.0, -1e-9])
def test_open_labels_with_an_offset_are_the_services(logprob: float) -> None:
    (after,) = tempered([record(confidence=math.exp(logprob))], 2.5, 0.4)
    service = confidence_of(logprob, Calibration(temperature=2.5, offset=0.4))
    assert after.confidence == pytest.approx(service, rel=1e-9, abs=1e-100)
    if logprob > -700:
        assert math.log(service / (1 - service)) == pytest.approx(logprob / 2.5 + 0.4)


def test_no_tempering_changes_nothing() -> None:
    records = closed(50, 1.0)
    for before, after in zip(records, tempered(records, 1.0), strict=True):
        assert after.probabilities == pytest.approx(before.probabilities)


def test_inputs_with_as_many_labels_as_they_like() -> None:
    few = closed_records(np.array([[0.9, 0.1]] * 10), [0] * 7 + [1] * 3, ["yes", "no"])
    many = closed_records(np.array([[0.9, 0.1, 0.0]] * 10), [0] * 7 + [1] * 3, ["a", "b", "c"])
    # a label that is all but impossible changes nothing
    assert fit_temperature(few + many).temperature == pytest.approx(
        fit_temperature(few).temperature, rel=1e-3
    )


def certain(rows: int, right: bool) -> list[Record]:
    gold = 0 if right else 1
    return closed_records(np.array([[1.0, 0.0]] * rows), [gold] * rows, ["yes", "no"])


@pytest.mark.parametrize(
    "records",
    [
        [],
        open_records([0.9, 0.8], [1, 1]),
        open_records([0.9, 0.8], [0, 0]),
        open_records([0.9], [1]),
        closed_records(np.array([[0.9, 0.1]] * 3), [0] * 3, ["yes", "no"]),
        closed_records(np.array([[0.9, 0.1]] * 3), [1] * 3, ["yes", "no"]),
        closed_records(np.array([[0.9, 0.1]] * 5), [0] + [1] * 4, ["yes", "no"]),  # below chance
    ],
)
def test_rows_without_a_best_temperature(records: list[Record], tmp_path: Path) -> None:
    fitted = fit_temperature(records)
    assert fitted.temperature == 1
    assert fitted.problem is not None
    assert fitted.before == fitted.after
    to_json(fitted)
    (tmp_path / "calibration.json").write_text("{}")  # of an earlier evaluation
    write_calibration(tmp_path, fitted.calibration("validation"))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "records",
    [
        open_records([1.0, 1.0], [1, 0]),
        open_records([1.0] * 3, [1] * 3),
        open_records([0.0] * 2, [1, 0]),
        certain(3, right=True),
        certain(3, right=False),
        certain(2, right=False) + certain(2, right=True),
    ],
)
def test_probabilities_of_0_and_1(records: list[Record]) -> None:
    fitted = fit_temperature(records)
    assert 0.05 <= fitted.temperature <= 20
    to_json(fitted)


def test_what_is_left_for_export(tmp_path: Path) -> None:
    fitted = fit_temperature(opened(50, 2.0))
    write_calibration(tmp_path, fitted.calibration("10 validation rows"))
    assert json.loads((tmp_path / "calibration.json").read_text()) == {
        "temperature": fitted.temperature,
        "offset": fitted.offset,
        "fitted_on": "10 validation rows",
    }
