"""Checkpoints for tests of the export."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.tiny_students import learned_student, save_checkpoint, tiny_student


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with random weights, whose outputs are unsure. Change only a copy (`copy`)."""
    return save_checkpoint(tiny_student(), tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that knows 20 problems by heart. Do not change it."""
    return save_checkpoint(learned_student(), tmp_path_factory.mktemp("learned"))


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def edit_record(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(record | changes))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
