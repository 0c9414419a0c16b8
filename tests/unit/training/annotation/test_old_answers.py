import json
import logging
from dataclasses import asdict
from pathlib import Path

import pytest

from training.annotation.answer_store import StoreError
from training.annotation.completion import Completion
from training.annotation.old_answers import read_old_answers

WHOLE = Completion("So “so”.\nAnswer: 7", "stop", "teacher-1", None, 30, 4, tokens_guessed=False)


def line(key: str, completion: Completion | None = WHOLE) -> bytes:
    """As Duet 0.1 wrote it."""
    entry = {"key": key, "answer": completion and asdict(completion)}
    return json.dumps(entry).encode() + b"\n"


def test_answers_come_in_order_with_what_was_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    refused = Completion(None, refused="too long")
    path.write_bytes(line("one") + line("two", refused) + line("one", None))
    assert list(read_old_answers(path)) == [("one", WHOLE), ("two", refused), ("one", None)]
    assert list(read_old_answers(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("removed", [1, 2, 30, 150])
def test_a_last_line_that_was_cut_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, removed: int
) -> None:
    path = tmp_path / "a.answers.jsonl"
    path.write_bytes((line("one") + line("two"))[:-removed])
    with caplog.at_level(logging.WARNING):
        answers = list(read_old_answers(path))
    if removed == 1:  # the line's end alone
        assert answers == [("one", WHOLE), ("two", WHOLE)]
        assert not caplog.messages
    else:
        assert answers == [("one", WHOLE)]
        assert caplog.messages == [f"{path}: the last line, 2, is cut off: left out"]


def test_any_other_line_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    for number, content in (
        (1, b'{"question": "How many?"}\n'),
        (1, b"one\ntwo\n"),
        (2, line("one") + b'{"key": "two", "ans\n' + line("three")),
    ):
        path.write_bytes(content)
        complaint = f"line {number}: not a teacher's answer; remove the line to lose that answer"
        with pytest.raises(StoreError, match=complaint):
            list(read_old_answers(path))
        assert path.read_bytes() == content
