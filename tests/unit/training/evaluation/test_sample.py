"""The rows that a student is asked about while it is trained."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tickets import LABELS
from training.config import load_config
from training.data.row import DataError
from training.evaluation.checkpoint import Checkpoint
from training.evaluation.record import Record
from training.evaluation.sample import RationaleSample
from training.run.student import load_student, student_texts
from training.student.files import Example

CONFIG = load_config(Path("tests/support/recipes/tickets.yaml"))
EXAMPLES = [
    Example({"ticket": f"Ticket {i}."}, LABELS[i % 4], f"Reason {i}." if i % 3 else None)
    for i in range(30)
]


def drawn(size: int) -> RationaleSample:
    student = load_student(CONFIG, student_texts(CONFIG.task, EXAMPLES))
    return RationaleSample.draw(CONFIG, student, EXAMPLES, size)


def saying(monkeypatch: pytest.MonkeyPatch, rationale: str) -> None:
    """Has every student give each row its gold label, and this rationale."""

    def answers(self: Checkpoint, rows: list) -> Iterator[Record]:
        for row in rows:
            said = rationale.format(row.gold, row.reference)
            yield Record.of(self.task, row, row.gold, 0.5, None, said, False)

    monkeypatch.setattr(Checkpoint, "answers", answers)


def test_rows_with_a_rationale_come_first_and_are_always_the_same() -> None:
    sample = drawn(20)
    assert len(sample.rows) == 20
    assert all(row.reference is not None for row in sample.rows)
    assert sample.rows == drawn(20).rows
    assert len(drawn(100).rows) == 30


def test_an_untrained_student_is_asked_and_its_tokenizer_stays_as_it_was() -> None:
    student = load_student(CONFIG, student_texts(CONFIG.task, EXAMPLES))
    before = student.tokenizer.backend_tokenizer.to_str()
    measured = RationaleSample.draw(CONFIG, student, EXAMPLES, 4).measure()
    assert 0 <= measured["healthy"] <= 1
    assert measured["reference"] == 0
    assert student.tokenizer.backend_tokenizer.to_str() == before


@pytest.mark.parametrize(
    ("rationale", "fault", "alarm"),
    [
        ("{0}", "bare_label", "100% of 20 rationales are only a label"),
        ("It is so{0}.", "glued", "100% of 20 rationales are glued to pieces of labels"),
        ("{1}", None, None),
    ],
)
def test_what_alarms_is_logged(
    rationale: str,
    fault: str | None,
    alarm: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    saying(monkeypatch, rationale)
    with caplog.at_level(logging.WARNING):
        measured = drawn(20).measure()
    assert measured["healthy"] == (fault is None)
    assert measured["reference"] == (fault is None)
    if fault is None:
        assert not caplog.messages
    else:
        assert measured[fault] == 1
        assert any(alarm in message for message in caplog.messages)


def test_a_student_that_cannot_be_asked_does_not_stop_its_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answers(self: Checkpoint, rows: list) -> Iterator[Record]:
        raise DataError("row 3: 2000 labels, but at most 1000 may be")
        yield

    monkeypatch.setattr(Checkpoint, "answers", answers)
    assert drawn(20).measure() == {}
    assert "rationales were not measured: row 3: 2000 labels" in caplog.text
