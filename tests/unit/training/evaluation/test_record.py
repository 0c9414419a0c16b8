from tasks.builtin import TASKS
from training.evaluation.labelled import LabelledRow
from training.evaluation.record import Record

SVAMP = TASKS["svamp"]


def test_labels_are_judged_as_the_task_judges() -> None:
    row = LabelledRow(3, "a, line 4", {"text": "a"}, "a", "( 1 + 2 )", "One.", "c")
    record = Record.of(SVAMP, row, "2 + 1", 0.25, None, "Two.", True)
    assert (record.right, record.exact) == (True, False)
    assert (record.index, record.reference, record.cluster) == (3, "One.", "c")
    assert record.truncated
    record = Record.of(SVAMP, row, " ( 1 + 2 )", 0.25, None, "Two.", False)
    assert (record.right, record.exact) == (True, True)
    assert not Record.of(SVAMP, row, "1", 0.25, None, "Two.", False).right
