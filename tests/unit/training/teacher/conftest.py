from pathlib import Path
from typing import Any

import pytest

from tests.support.simple_problems import write_problems


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.annotation.endpoint._backoff", lambda state: 0.0)


@pytest.fixture
def problems(tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of `rows.jsonl`."""
    return write_problems(tmp_path / "rows.jsonl", rows=30, seed=0)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A file in a folder that does not exist yet."""
    return tmp_path / "runs" / "a.jsonl"
