"""Decisions of the gate, and the records that they are made on, for tests."""

import numpy as np

from tasks.task import Task
from tests.support.prediction_records import open_records
from training.evaluation.gate import Decision, Measured, decide
from training.evaluation.record import Record

TASK = Task(name="problems", fields=["text"], template="{{text}}", answer="arithmetic")


def admitted(new: list[Record], old: list[Record], task: Task = TASK) -> Measured:
    decision = decide(new, old, task)
    assert decision.admitted
    assert decision.sentence.startswith("not significantly worse")
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


def calibrated(rows: int, right: float, confidence: float) -> list[Record]:
    return open_records([confidence] * rows, np.arange(rows) < right * rows)
