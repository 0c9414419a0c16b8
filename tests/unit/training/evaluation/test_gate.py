"""Which model may replace another: the decision on made-up records, and the verdict on two runs."""

import logging
from typing import Any

import numpy as np
import pytest

from tasks.task import LabelField, Task
from tests.support.prediction_records import open_records, record
from training.evaluation.comparison import DifferentRowsError
from training.evaluation.gate import (
    Decision,
    Evaluated,
    GateError,
    Measured,
    decide,
    hold_against,
)
from training.evaluation.record import Record

TASK = Task(name="problems", fields=["text"], template="{{text}}", answer="arithmetic")


def admitted(new: list[Record], old: list[Record], task: Task = TASK) -> Measured:
    decision = decide(new, old, task)
    assert decision.admitted
    assert decision.sentence.startswith("not significantly worse: accuracy ")
    return decision.measured


def refused(new: list[Record], old: list[Record], task: Task = TASK) -> Decision:
    decision = decide(new, old, task)
    assert not decision.admitted
    return decision


def pair(
    both: int, only_new: int, only_old: int, neither: int, confidence: float = 0.5
) -> tuple[list[Record], list[Record]]:
    """Records of a new student and an old one, by the rows that they are right on."""
    counts = (both, only_new, only_old, neither)
    rows = sum(counts)
    return (
        open_records([confidence] * rows, np.repeat([1, 1, 0, 0], counts)),
        open_records([confidence] * rows, np.repeat([1, 0, 1, 0], counts)),
    )


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
    # the normal approximation: 4 ± 1.96 √20 of 250
    assert low == pytest.approx(-0.0191, abs=0.003)
    assert high == pytest.approx(0.0511, abs=0.003)
    assert (brier_low, brier_high) == pytest.approx((-0.8 * high, -0.8 * low))
    assert (score_low, score_high) == pytest.approx((-1.8 * high, -1.8 * low))


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
    assert decision.sentence.startswith("significantly worse in label accuracy: ")
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
        "significantly worse in label accuracy and in calibration: accuracy 50.0% against 90.0% "
        f"(-40.0 points, 95 % interval {low:+.1f} to {high:+.1f}, p = 1.8e-12), "
        "Brier score 0.4100 against 0.0900 (+0.3200, 95 % interval "
        f"{measured['brier_low']:+.4f} to {measured['brier_high']:+.4f}), "
        "with the share of wrong labels 0.9100 against 0.1900 (+0.7200, "
        f"{measured['score_low']:+.4f} to {measured['score_high']:+.4f}), on 100 rows"
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


def calibrated(rows: int, right: float, confidence: float) -> list[Record]:
    return open_records([confidence] * rows, np.arange(rows) < right * rows)


def test_a_student_as_often_right_but_surer_than_it_should_be_is_refused() -> None:
    old = calibrated(400, right=0.7, confidence=0.7)
    decision = refused(calibrated(400, right=0.7, confidence=0.99), old)
    assert decision.sentence.startswith("significantly worse in calibration: ")
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
    expected = f"warning: {rows} rows tell little: a loss of {warned} points of accuracy would pass"
    assert warnings == ([f"{expected}; a gate should have at least 200"] if warned else [])
    assert "gate: accuracy 100.0% against 100.0% (+0.0 points, " in caplog.text


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


def test_a_gain_in_accuracy_does_not_make_up_for_much_overconfidence() -> None:
    old = calibrated(400, right=0.2, confidence=0.2)
    decision = refused(calibrated(400, right=0.3, confidence=0.99), old)
    assert decision.sentence.startswith("significantly worse in calibration: ")


TICKETS = Task(name="tickets", fields=["ticket"], template="{{ticket}}", labels=["yes", "no"])
REASON = "This row has a reason of its own: it is number {}."


def explained(whole: list[bool], fault: str = "Yes.") -> list[Record]:
    """Records that are all right, with a reason where it is whole, else the fault."""
    return [
        record(i, rationale=REASON.format(i) if one else fault, reference=REASON.format(i))
        for i, one in enumerate(whole)
    ]


@pytest.mark.parametrize(
    ("lost", "gained", "worse"), [(5, 0, False), (6, 0, True), (0, 9, False), (12, 10, False)]
)
def test_a_student_that_loses_its_reasons_is_refused(lost: int, gained: int, worse: bool) -> None:
    """Though all of its labels are right: p is 0.0625 for 5 lost, 0.03125 for 6."""
    rows = 200
    old = explained([i >= gained for i in range(rows)])
    new = explained([i < rows - lost for i in range(rows)])
    if not worse:
        measured = admitted(new, old, TICKETS)
        assert measured["healthy"] == pytest.approx(1 - lost / rows)
        assert measured["old_bare_label"] == pytest.approx(gained / rows)
        return
    decision = refused(new, old, TICKETS)
    assert decision.sentence.startswith("significantly worse in rationale health: ")
    assert decision.sentence.endswith(
        "on 200 rows; healthy rationales 97.0% against 100.0% (p = 0.031); more faults: only a "
        "label, or nothing, 3.0% against 0.0%"
    )


def test_a_constructed_student_that_always_gives_its_label_is_named() -> None:
    decision = refused(explained([False] * 50), explained([True] * 50), TICKETS)
    assert "only a label, or nothing, 100" in decision.sentence


def test_a_constructed_student_that_glues_is_named() -> None:
    glues = explained([False] * 50, fault="This row has a reasonyes.")
    decision = refused(glues, explained([True] * 50), TICKETS)
    assert "a word glued to a piece of a label, 100" in decision.sentence


@pytest.mark.parametrize("whole", [True, False])
def test_equal_students_pass_whether_their_reasons_are_whole_or_not(whole: bool) -> None:
    records = explained([whole] * 200)
    measured = admitted(records, records, TICKETS)
    assert measured["healthy"] == measured["old_healthy"] == float(whole)
    assert measured["healthy_p"] == 1


def test_rows_without_rationales_are_judged_by_their_labels() -> None:
    assert "healthy" not in admitted(*pair(both=200, only_new=0, only_old=0, neither=0))


def evaluated(
    records: list[Record], task: Task = TASK, version: str = "1", **run: dict[str, str]
) -> Evaluated:
    model = {"source": "bundles/b", "kind": "bundle", "name": "b", "version": version}
    data = {"source": "data/rows.jsonl", "rows": str(len(records)), "sha256": "ab" * 32}
    model |= {"checksum": version * 64}
    return Evaluated({"model": model, "data": data} | run, task, records)


def test_the_verdict_tells_of_which_bundles_and_rows_it_is() -> None:
    new, old = pair(both=150, only_new=12, only_old=8, neither=80)
    verdict = hold_against(evaluated(new, version="2"), evaluated(old))
    assert verdict.admitted
    assert verdict.sentence.startswith("not significantly worse: accuracy 64.8% against 63.2% ")
    assert (verdict.new["version"], verdict.new["checksum"]) == ("2", "2" * 64)
    assert (verdict.old["version"], verdict.old["checksum"]) == ("1", "1" * 64)
    assert verdict.data["sha256"] == "ab" * 32
    assert verdict.measured == admitted(new, old)
    new, old = pair(both=100, only_new=0, only_old=50, neither=0)
    verdict = hold_against(evaluated(new), evaluated(old))
    assert not verdict.admitted
    assert verdict.sentence == refused(new, old).sentence


RECORDS = calibrated(2, right=1, confidence=0.9)
CHOICES = TASK.model_copy(
    update={"fields": ["text", "options"], "labels": LabelField(field="options"), "answer": None}
)


@pytest.mark.parametrize(
    "task", [CHOICES, TASK.model_copy(update={"template": "Q: {{text}}", "predict_prefix": "a: "})]
)
def test_the_same_task_may_have_another_template(task: Task) -> None:
    old = task.model_copy(update={"template": "A: {{text}}"})
    fields = {"text": "Which?", "options": ["a", "b"]}
    records = [record(i, input=fields, confidence=0.9, rationale="So.") for i in range(2)]
    assert hold_against(evaluated(records, task), evaluated(records, old)).measured["rows"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sums"}, "task.name is 'sums' in A, but 'problems' in B"),
        ({"fields": ["text", "hint"]}, "task.fields is ['text', 'hint'] in A, but ['text'] in B"),
        ({"labels": ["a", "b"]}, "task.labels is ['a', 'b'] in A, but 'open' in B"),
        ({"answer": None}, "task.answer is None in A, but 'arithmetic' in B"),
    ],
)
def test_another_task_is_refused(change: dict[str, Any], message: str) -> None:
    new = evaluated(RECORDS, TASK.model_copy(update=change))
    with pytest.raises(GateError) as found:
        hold_against(new, evaluated(RECORDS))
    assert str(found.value) == (
        f"--gate: A and B are of different tasks, so they cannot be compared: {message}"
    )


def test_rows_that_tell_nothing_are_refused() -> None:
    with pytest.raises(GateError, match="one row tells nothing; give at least 200"):
        hold_against(evaluated(RECORDS[:1]), evaluated(RECORDS[:1]))
    with pytest.raises(DifferentRowsError, match="A has 2 rows and B has 3"):
        hold_against(evaluated(RECORDS), evaluated(calibrated(3, right=1, confidence=0.9)))


def test_what_is_no_bundle_is_refused() -> None:
    checkpoint = {"source": "runs/a", "kind": "checkpoint", "name": "a", "sha256": "a"}
    with pytest.raises(GateError) as found:
        hold_against(evaluated(RECORDS), evaluated(RECORDS, model=checkpoint))
    assert str(found.value) == (
        "--gate: B is the evaluation of runs/a, which is no bundle; evaluate a bundle's folder, or "
        "a service"
    )
