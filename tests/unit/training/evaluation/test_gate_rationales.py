"""Which model may replace another, by the health of its rationales."""

import pytest

from tasks.task import Task
from tests.support.gate_decisions import admitted, refused
from tests.support.prediction_records import record
from training.evaluation.record import Record

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
    assert decision.sentence.startswith(
        "significantly worse in rationale health (3 points lower): "
    )
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


def test_a_student_that_does_not_explain_does_not_replace_one_that_does() -> None:
    labels_only = [record(i) for i in range(200)]
    decision = refused(labels_only, explained([True] * 200), TICKETS)
    assert decision.finding == "significantly worse in rationales (there are none any more)"
    admitted(explained([True] * 200), labels_only, TICKETS)
    admitted(labels_only, labels_only, TICKETS)
