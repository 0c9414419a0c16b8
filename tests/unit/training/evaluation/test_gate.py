"""Which model may replace another, by labels and confidence: the decision on made-up records."""

import logging

import numpy as np
import pytest

from tests.support.gate_decisions import TASK, admitted, calibrated, pair, refused
from tests.support.prediction_records import open_records
from training.evaluation import significance
from training.evaluation.gate import decide
from training.evaluation.record import Record


def test_what_is_measured() -> None:
    measured = admitted(*pair(both=150, only_new=12, only_old=8, neither=80, confidence=0.9))
    low, high = measured.pop("accuracy_low"), measured.pop("accuracy_high")
    brier_low, brier_high = measured.pop("brier_low"), measured.pop("brier_high")
    score_low, score_high = measured.pop("score_low"), measured.pop("score_high")
    assert measured == {
        "rows": 250,
        "accuracy": pytest.approx(162 / 250),
        "old_accuracy": pytest.approx(158 / 250),
        "accuracy_difference": pytest.approx(4 / 250),
        "p": pytest.approx(0.50344, abs=1e-5),  # scipy.stats.binomtest(8, 20)
        "brier": pytest.approx((162 * 0.01 + 88 * 0.81) / 250),
        "old_brier": pytest.approx((158 * 0.01 + 92 * 0.81) / 250),
        "brier_difference": pytest.approx(-4 * 0.8 / 250),
        "score": pytest.approx((162 * 0.01 + 88 * 1.81) / 250),
        "old_score": pytest.approx((158 * 0.01 + 92 * 1.81) / 250),
        "score_difference": pytest.approx(-4 * 1.8 / 250),
    }
    # the normal approximation: 4 ± 1.96 √20 of 250. Tango's interval of a share is wider
    assert (low, high) == pytest.approx((-0.0191, 0.0511), abs=0.004)
    assert (brier_low, brier_high) == pytest.approx((-0.8 * 0.0511, 0.8 * 0.0191), abs=0.003)
    assert (score_low, score_high) == pytest.approx((1.8 / 0.8 * brier_low, 1.8 / 0.8 * brier_high))


@pytest.mark.parametrize(
    ("only_new", "only_old", "worse"),
    [
        (0, 5, False),  # p = 0.0625
        (0, 6, True),  # p = 0.03125
        (6, 0, False),  # as far from the old one, but better
        (30, 30, False),
        (10, 21, False),  # p = 0.071
        (10, 23, True),  # p = 0.035
    ],
)
def test_a_student_that_is_right_less_often_is_refused(
    only_new: int, only_old: int, worse: bool
) -> None:
    records = pair(both=100, only_new=only_new, only_old=only_old, neither=100)
    if not worse:
        assert admitted(*records)["accuracy_difference"] == pytest.approx(
            (only_new - only_old) / (200 + only_new + only_old)
        )
        return
    decision = refused(*records)
    assert decision.finding.startswith("significantly worse in label accuracy (")
    # at a confidence of 0.5 all Brier scores are 0.25
    assert "calibration" not in decision.sentence
    assert decision.measured["brier_difference"] == 0


def test_a_refusal_has_the_figures() -> None:
    decision = refused(*pair(both=50, only_new=0, only_old=40, neither=10, confidence=0.9))
    measured = decision.measured
    assert measured["p"] == pytest.approx(2 / 2**40)
    low, high = 100 * float(measured["accuracy_low"]), 100 * float(measured["accuracy_high"])
    assert low == pytest.approx(-49.6, abs=1)  # the normal approximation: 40 ± 1.96 √24 of 100
    assert high == pytest.approx(-30.4, abs=1)
    assert decision.sentence == (
        "significantly worse in label accuracy (40 points lower) and in calibration (Brier score "
        "0.32 higher): accuracy 50.0% against 90.0% "
        f"(-40.0 points, 95 % interval {low:+.1f} to {high:+.1f}, p = 1.8e-12), "
        "Brier score 0.4100 against 0.0900 (+0.32, 95 % interval "
        f"{measured['brier_low']:+.2g} to {measured['brier_high']:+.2g}), on 100 rows"
    )


def test_the_score_is_that_of_all_labels() -> None:
    """Of very many labels, which share what the given one leaves."""
    labels = 10**6
    records = open_records([0.7, 0.2], [1, 0])
    scores = []
    for one in records:
        probabilities = np.full(labels, (1 - one.confidence) / (labels - 1))
        probabilities[0] = one.confidence
        gold = np.zeros(labels)
        gold[0 if one.right else 1] = 1
        scores.append(((probabilities - gold) ** 2).sum())
    assert admitted(records, records)["score"] == pytest.approx(np.mean(scores), abs=1e-5)


def test_a_student_as_often_right_but_surer_than_it_should_be_is_refused() -> None:
    old = calibrated(400, right=0.7, confidence=0.7)
    decision = refused(calibrated(400, right=0.7, confidence=0.99), old)
    assert decision.finding == "significantly worse in calibration (Brier score 0.084 higher)"
    assert decision.measured["p"] == 1
    assert decision.measured["brier_difference"] == pytest.approx(0.29**2)
    assert admitted(old, calibrated(400, right=0.7, confidence=0.99))["brier_high"] < 0  # type: ignore[operator]
    assert admitted(calibrated(400, right=0.7, confidence=0.72), old)["brier_low"] < 0  # type: ignore[operator]


@pytest.mark.parametrize(("rows", "warned"), [(3, "100.0"), (50, "10.0"), (200, None)])
def test_few_rows_are_warned_of(
    rows: int, warned: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        admitted(*pair(both=rows, only_new=0, only_old=0, neither=0))
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    expected = f"warning: {rows} rows are few: a loss of {warned} points of accuracy would pass"
    assert warnings == ([f"{expected}; a gate should have at least 200"] if warned else [])
    assert "gate: not significantly worse: accuracy 100.0% against 100.0% (" in caplog.text


@pytest.mark.parametrize(
    ("new", "old"),
    [
        # right labels are so few that the Brier score is lower than any good student's
        (calibrated(400, right=0.4, confidence=0.4), calibrated(400, right=0.1, confidence=0.1)),
        (calibrated(400, right=1.0, confidence=0.95), calibrated(400, right=0.0, confidence=0.0)),
    ],
)
def test_a_gain_in_accuracy_makes_up_for_the_brier_score(
    new: list[Record], old: list[Record]
) -> None:
    measured = admitted(new, old)
    assert float(measured["brier_low"]) > 0
    assert float(measured["score_high"]) < 0
    gained = 100 * (float(measured["accuracy"]) - float(measured["old_accuracy"]))
    finding = f"not significantly worse, and better in label accuracy ({gained:.0f} points higher)"
    assert decide(new, old, TASK).finding == finding


def test_a_gain_in_accuracy_does_not_make_up_for_much_overconfidence() -> None:
    old = calibrated(400, right=0.2, confidence=0.2)
    decision = refused(calibrated(400, right=0.3, confidence=0.99), old)
    assert decision.finding.startswith("significantly worse in calibration (Brier score ")


@pytest.mark.parametrize("right", [1, 0], ids=["perfect", "hopeless"])
def test_a_loss_smaller_than_matters_is_said_and_admitted(right: int) -> None:
    """Though it is significant: each row's confidence is a little further from the truth."""
    rng = np.random.default_rng(0)
    doubt = rng.uniform(0.001, 0.01, 300)
    old = open_records(np.abs(right - doubt), [right] * 300)
    new = open_records(np.abs(right - 2 * doubt), [right] * 300)
    decision = decide(new, old, TASK)
    assert decision.admitted
    assert float(decision.measured["brier_low"]) > 0
    assert decision.finding == (
        f"worse in calibration (Brier score {3 * np.mean(doubt**2):.2g} higher), but by less than "
        "matters"
    )
    assert "+0.0000" not in decision.sentence
    assert decide(old, new, TASK).finding == "not significantly worse"


@pytest.mark.parametrize(("wrong", "worse"), [(8, True), (7, False)])
def test_half_a_point_of_accuracy_matters(wrong: int, worse: bool) -> None:
    """Of 1,600 rows, 8 are 0.5 %. Both losses are significant."""
    new, old = pair(both=800, only_new=0, only_old=wrong, neither=800 - wrong)
    decision = decide(new, old, TASK)
    assert float(decision.measured["p"]) < 0.05
    assert decision.admitted != worse
    assert decision.finding == (
        "significantly worse in label accuracy (0.5 points lower)"
        if worse
        else "worse in label accuracy (0.438 points lower), but by less than matters"
    )


def drawn(kind: str, rows: int, rng: np.random.Generator) -> list[Record]:
    """A student's records of a kind, as chance has them."""
    if kind == "equal":  # right as often as it is sure
        confidence = rng.beta(2, 1, rows)
        return open_records(confidence, rng.random(rows) < confidence)
    doubt = np.abs(rng.normal(0, 0.01, rows))
    right = np.full(rows, kind == "perfect")
    return open_records(np.where(right, 1 - doubt, doubt), right)


@pytest.mark.parametrize("rows", [2, 5, 20, 300])
@pytest.mark.parametrize(("kind", "most"), [("perfect", 0), ("hopeless", 0), ("equal", 8)])
def test_students_of_a_kind_replace_each_other(
    kind: str, most: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 draws of two. Chance may refuse 2.5 % by the labels, and 2.5 % by the calibration."""
    monkeypatch.setattr(significance, "RESAMPLES", 499)
    rng = np.random.default_rng(rows)
    decisions = [decide(drawn(kind, rows, rng), drawn(kind, rows, rng), TASK) for _ in range(100)]
    assert sum(not decision.admitted for decision in decisions) <= most


def test_rows_without_rationales_are_judged_by_their_labels() -> None:
    assert "healthy" not in admitted(*pair(both=200, only_new=0, only_old=0, neither=0))
