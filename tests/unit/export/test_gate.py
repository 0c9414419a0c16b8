"""Which student may replace another: the decision, of made records, and what comes before it."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import gate
from export.bundle import BundleError
from export.gate import Gate, GateError, Measured, WorseError
from tasks.task import Task
from tests.support.bundles import copy_bundle, write_bundle
from tests.support.prediction_records import open_records, record
from tests.support.tiny_students import Student
from training.evaluation.record import Record

TASK = Task(name="problems", fields=["text"], template="{{text}}", answer="arithmetic")


def judge(new: list[Record], old: list[Record]) -> Measured:
    return gate.judge(new, old, TASK)


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
    measured = judge(*pair(both=150, only_new=12, only_old=8, neither=80, confidence=0.9))
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
    ("only_new", "only_old", "refused"),
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
    only_new: int, only_old: int, refused: bool
) -> None:
    records = pair(both=100, only_new=only_new, only_old=only_old, neither=100)
    if not refused:
        assert judge(*records)["accuracy_difference"] == pytest.approx(
            (only_new - only_old) / (200 + only_new + only_old)
        )
        return
    with pytest.raises(WorseError, match="significantly worse in label accuracy: ") as found:
        judge(*records)
    assert "calibration" not in str(found.value)  # at a confidence of 0.5 all Brier scores are 0.25
    assert found.value.measured["brier_difference"] == 0


def test_a_refusal_has_the_figures() -> None:
    with pytest.raises(WorseError) as found:
        judge(*pair(both=50, only_new=0, only_old=40, neither=10, confidence=0.9))
    measured = found.value.measured
    assert measured["p"] == pytest.approx(2 / 2**40)
    low, high = 100 * float(measured["accuracy_low"]), 100 * float(measured["accuracy_high"])
    assert low == pytest.approx(-49.6, abs=1)  # the normal approximation: 40 ± 1.96 √24 of 100
    assert high == pytest.approx(-30.4, abs=1)
    assert str(found.value) == (
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
    assert judge(records, records)["score"] == pytest.approx(np.mean(scores), abs=1e-5)


def calibrated(rows: int, right: float, confidence: float) -> list[Record]:
    return open_records([confidence] * rows, np.arange(rows) < right * rows)


def test_a_student_as_often_right_but_surer_than_it_should_be_is_refused() -> None:
    old = calibrated(400, right=0.7, confidence=0.7)
    with pytest.raises(WorseError, match="significantly worse in calibration: ") as found:
        judge(calibrated(400, right=0.7, confidence=0.99), old)
    assert found.value.measured["p"] == 1
    assert found.value.measured["brier_difference"] == pytest.approx(0.29**2)
    assert judge(old, calibrated(400, right=0.7, confidence=0.99))["brier_high"] < 0  # type: ignore[operator]
    assert judge(calibrated(400, right=0.7, confidence=0.72), old)["brier_low"] < 0  # type: ignore[operator]


@pytest.mark.parametrize(("rows", "warned"), [(3, "100.0"), (50, "10.0"), (200, None)])
def test_few_rows_are_warned_of(
    rows: int, warned: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        judge(*pair(both=rows, only_new=0, only_old=0, neither=0))
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
    measured = judge(new, old)
    assert float(measured["brier_low"]) > 0
    assert float(measured["score_high"]) < 0


def test_a_gain_in_accuracy_does_not_make_up_for_much_overconfidence() -> None:
    old = calibrated(400, right=0.2, confidence=0.2)
    with pytest.raises(WorseError, match="significantly worse in calibration: "):
        judge(calibrated(400, right=0.3, confidence=0.99), old)


TICKETS = Task(name="tickets", fields=["ticket"], template="{{ticket}}", labels=["yes", "no"])
REASON = "This row has a reason of its own: it is number {}."


def explained(whole: list[bool], fault: str = "Yes.") -> list[Record]:
    """Records that are all right, with a reason where it is whole, else the fault."""
    return [
        record(i, rationale=REASON.format(i) if one else fault, reference=REASON.format(i))
        for i, one in enumerate(whole)
    ]


@pytest.mark.parametrize(
    ("lost", "gained", "refused"), [(5, 0, False), (6, 0, True), (0, 9, False), (12, 10, False)]
)
def test_a_student_that_loses_its_reasons_is_refused(lost: int, gained: int, refused: bool) -> None:
    """Though all of its labels are right: p is 0.0625 for 5 lost, 0.03125 for 6."""
    rows = 200
    old = explained([i >= gained for i in range(rows)])
    new = explained([i < rows - lost for i in range(rows)])
    if not refused:
        measured = gate.judge(new, old, TICKETS)
        assert measured["healthy"] == pytest.approx(1 - lost / rows)
        assert measured["old_bare_label"] == pytest.approx(gained / rows)
        return
    with pytest.raises(WorseError) as found:
        gate.judge(new, old, TICKETS)
    assert str(found.value).startswith("significantly worse in rationale health: ")
    assert str(found.value).endswith(
        "on 200 rows; healthy rationales 97.0% against 100.0% (p = 0.031); more faults: only a "
        "label, or nothing, 3.0% against 0.0%"
    )


def test_a_constructed_student_that_always_gives_its_label_is_named() -> None:
    with pytest.raises(WorseError, match="only a label, or nothing, 100"):
        gate.judge(explained([False] * 50), explained([True] * 50), TICKETS)


def test_a_constructed_student_that_glues_is_named() -> None:
    glues = explained([False] * 50, fault="This row has a reasonyes.")
    with pytest.raises(WorseError, match="a word glued to a piece of a label, 100"):
        gate.judge(glues, explained([True] * 50), TICKETS)


@pytest.mark.parametrize("whole", [True, False])
def test_equal_students_pass_whether_their_reasons_are_whole_or_not(whole: bool) -> None:
    records = explained([whole] * 200)
    measured = gate.judge(records, records, TICKETS)
    assert measured["healthy"] == measured["old_healthy"] == float(whole)
    assert measured["healthy_p"] == 1


def test_rows_without_rationales_are_judged_by_their_labels() -> None:
    assert "healthy" not in judge(*pair(both=200, only_new=0, only_old=0, neither=0))


def write_rows(path: Path, rows: int = 2) -> Path:
    row = json.dumps({"input": "Ann has 3 apples.", "label": "( 3 + 0 )"})
    path.write_text(f"{row}\n" * rows)
    return path


def test_it_opens(tiny_bundle: Path, tmp_path: Path) -> None:
    task = TASK.model_copy(update={"template": "Q: {{text}}", "predict_prefix": "label: "})
    gate = Gate.open(tiny_bundle, write_rows(tmp_path / "rows.jsonl"), task)
    assert (gate.manifest.name, gate.data.count) == ("tiny", 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sums"}, "its name is 'problems', the new student's 'sums'"),
        (
            {"fields": ["text", "hint"]},
            "its fields is ['text'], the new student's ['text', 'hint']",
        ),
        ({"labels": ["a", "b"]}, "its labels is 'open', the new student's ['a', 'b']"),
        ({"answer": None}, "its answer is 'arithmetic', the new student's None"),
    ],
)
def test_another_task_is_refused(
    tiny_bundle: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(GateError) as found:
        Gate.open(tiny_bundle, write_rows(tmp_path / "a.jsonl"), TASK.model_copy(update=change))
    assert str(found.value) == (
        f"--gate-against {tiny_bundle}: a bundle of another task, so the two cannot be compared: "
        f"{message}"
    )


def test_choices_are_the_same_task(student: Student, tmp_path: Path) -> None:
    choices = {"fields": ["text", "options"], "labels": {"field": "options"}, "answer": None}
    task = Task.model_validate(TASK.model_dump() | choices)
    write_bundle(tmp_path / "bundle", student, task=Task(**task.model_dump()))
    rows = tmp_path / "rows.jsonl"
    row = json.dumps({"text": "Which?", "options": ["a", "b"], "label": "a"})
    rows.write_text(f"{row}\n{row}\n")
    assert Gate.open(tmp_path / "bundle", rows, task).data.count == 2


def test_rows_that_are_none_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    with pytest.raises(GateError, match=r"--data .*rows\.jsonl"):
        Gate.open(tiny_bundle, rows, TASK)
    rows.write_text("{\n")
    with pytest.raises(GateError, match=r"--data .*rows\.jsonl, line 1: "):
        Gate.open(tiny_bundle, rows, TASK)
    with pytest.raises(GateError, match="one row tells nothing; give at least 200"):
        Gate.open(tiny_bundle, write_rows(rows, rows=1), TASK)


def test_a_damaged_bundle_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "bundle")
    (folder / "golden.json").write_text("[]")
    with pytest.raises(BundleError, match=r"golden\.json: 2 bytes"):
        Gate.open(folder, write_rows(tmp_path / "rows.jsonl"), TASK)
