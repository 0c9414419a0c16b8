"""The files beside a student's model: what is written is read again, and old ones still are."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.calibration import Calibration
from tests.support.student_records import a_record
from tests.support.tiny_students import save_checkpoint, tiny_student
from training.student.files import (
    Example,
    StudentError,
    StudentPass,
    read_calibration,
    read_examples,
    read_record,
    write_calibration,
    write_examples,
    write_record,
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path, a_record())
    read = read_record(tmp_path)
    assert read == a_record()
    assert read.predict == StudentPass("predict: ", 8)
    assert read.explain == StudentPass("explain: ", 24)
    assert read.recipe.model_dump() == a_record().recipe.model_dump()
    assert read.metrics["validation"]["rows"] == 3


def test_a_record_without_a_vocabulary_is_one_of_an_older_student(tmp_path: Path) -> None:
    record = json.loads(a_record().model_dump_json())
    del record["vocabulary"]
    for key in ("examples", "labels", "numbers", "explain_given_label", "whitespace"):
        del record["task"][key]  # which later versions know
    (tmp_path / "student.json").write_text(json.dumps(record))
    assert read_record(tmp_path).vocabulary is None
    assert read_record(tmp_path).task.labels == "open"
    assert read_record(tmp_path).task.whitespace == "keep"


def test_examples_are_read_as_they_were_written(tmp_path: Path) -> None:
    examples = [
        Example({"question": "Ünï?", "choices": ["a", "b"]}, "a", "So.\nAnd so."),
        Example({"question": "?", "choices": ["c"]}, "c"),
    ]
    write_examples(tmp_path, examples)
    assert read_examples(tmp_path) == examples


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) == Calibration()
    calibration = Calibration(temperature=2.5, offset=-0.5, fitted_on="12 rows")
    write_calibration(tmp_path, calibration)
    assert read_calibration(tmp_path) == calibration
    write_calibration(tmp_path, None)
    assert not [*tmp_path.iterdir()]
    write_calibration(tmp_path, None)  # nothing to remove


@pytest.mark.parametrize(
    ("name", "content", "read", "complaint"),
    [
        ("student.json", None, read_record, "student.json: missing; expected a folder that"),
        ("student.json", b"\xff", read_record, "student.json: cannot be read"),
        ("student.json", b"{", read_record, "student.json: Invalid JSON"),
        ("student.json", b'{"name": "a/b"}', read_record, "student.json: name: String should"),
        ("examples.jsonl", b"", read_examples, "examples.jsonl, line 1: Invalid JSON"),
        (
            "examples.jsonl",
            b'{"input": {"a": "b"}, "label": "c"}\n{"input": {"a": 1}}\n',
            read_examples,
            "examples.jsonl, line 2: input.a",
        ),
        ("calibration.json", b'{"offset": "x"}', read_calibration, "calibration.json: offset: "),
    ],
)
def test_what_cannot_be_read_is_named(
    name: str,
    content: bytes | None,
    read: Callable[[Path], object],
    complaint: str,
    tmp_path: Path,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StudentError) as raised:
        read(tmp_path)
    assert str(raised.value).startswith(str(tmp_path))
    assert complaint in str(raised.value)


def test_the_tests_own_checkpoints_are_students(tmp_path: Path) -> None:
    folder = save_checkpoint(tiny_student(), tmp_path / "tiny")
    assert read_record(folder).data.validation_rows == 20
    assert len(read_examples(folder)) == 40
