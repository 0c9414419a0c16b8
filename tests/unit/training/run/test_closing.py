"""The last three lines of a distillation."""

from pathlib import Path

import pytest

from tests.support.student_records import a_record
from training.run.closing import closing_lines
from training.student.files import Metrics

FOLDER = Path("runs/my tickets")
METRICS: Metrics = {
    "validation": {"accuracy": 0.95, "low": 0.835, "high": 0.9862, "rows": 40},
    "test": {"accuracy": 0.5, "low": 0.25, "high": 0.75, "rows": 12},
    "rationales": {"rows": 40, "healthy": 0.925},
}


def lines(metrics: Metrics, prog: str | None = None) -> list[str]:
    return closing_lines(FOLDER, a_record().model_copy(update={"metrics": metrics}), prog)


def test_where_it_is_and_how_good() -> None:
    assert lines(METRICS)[:2] == [
        "student: runs/my tickets",
        "quality: 50.0 % of 12 test rows right (95 % interval 25.0 to 75.0); "
        "95.0 % of 40 validation rows right (95 % interval 83.5 to 98.6); "
        "92.5 % of 40 rationales healthy",
    ]
    old: Metrics = {"validation": {"accuracy": 0.25, "rows": 3}}
    assert lines(old)[1] == "quality: 25.0 % of 3 validation rows right"


def test_the_next_command_is_of_the_kind_that_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKELEVEL", "1")
    assert lines(METRICS)[2] == "next: make export 'CHECKPOINT=runs/my tickets' BUNDLE=bundles/tiny"
    command = "duet export 'runs/my tickets' --out bundles/tiny"
    assert lines(METRICS, "duet distill")[2] == f"next: {command}"
    monkeypatch.delenv("MAKELEVEL")
    module = "python -m export.convert 'runs/my tickets' --out bundles/tiny"
    assert lines(METRICS)[2] == f"next: {module}"
