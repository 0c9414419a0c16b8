"""For tests of `training/evaluate.py`: a student that answers briefly, and the error line."""

from pathlib import Path

import pytest

from export.bundle import Limits
from tests.support.command_errors import complaint_of
from tests.support.evaluated_students import write_checkpoint
from tests.support.tiny_students import Student
from training.evaluate import main

SHORT = Limits(input_tokens=64, label_tokens=6, rationale_tokens=6)


@pytest.fixture(scope="session")
def brief_checkpoint(tmp_path_factory: pytest.TempPathFactory, student: Student) -> Path:
    """A student of an open task, with texts of 6 tokens at most. Copy it before you change it."""
    return write_checkpoint(tmp_path_factory.mktemp("brief"), student, "open", SHORT)


def complaint(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    return complaint_of([*map(str, arguments)], capsys, main, "evaluate")
