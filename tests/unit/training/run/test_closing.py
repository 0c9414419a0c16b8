"""The last lines of a distillation and of an evaluation."""

from pathlib import Path

import pytest

from tests.support.student_records import a_record
from training.run.closing import closing_lines, line_after_evaluation
from training.student.files import Metrics

FOLDER = Path("runs/my tickets")
METRICS: Metrics = {
    "validation": {"accuracy": 0.95, "low": 0.835, "high": 0.9862, "rows": 40},
    "test": {"accuracy": 0.5, "low": 0.25, "high": 0.75, "rows": 12},
    "rationales": {"rows": 40, "healthy": 0.925},
}


def lines(metrics: Metrics, *overrides: str, prog: str | None = None) -> list[str]:
    record = a_record().model_copy(update={"metrics": metrics})
    return closing_lines(Path("mails.yaml"), overrides, FOLDER, record, prog)


def test_where_it_is_and_how_good() -> None:
    assert lines(METRICS)[:2] == [
        "student: runs/my tickets",
        "quality: 50.0 % of 12 test rows right (95 % interval 25.0 to 75.0); "
        "95.0 % of 40 validation rows right (95 % interval 83.5 to 98.6); "
        "92.5 % of 40 rationales healthy",
    ]
    old: Metrics = {"validation": {"accuracy": 0.25, "rows": 3}}
    assert lines(old)[1] == "quality: 25.0 % of 3 validation rows right"


def test_the_next_command_evaluates_as_distillation_was_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest = "'runs/my tickets' --recipe mails.yaml --calibrate --out 'runs/my tickets/evaluation'"
    monkeypatch.setenv("MAKELEVEL", "1")
    assert lines(METRICS)[2] == "next: make evaluate RECIPE=mails.yaml"
    assert lines(METRICS, prog="duet distill")[2] == f"next: duet evaluate {rest}"
    monkeypatch.delenv("MAKELEVEL")
    assert lines(METRICS)[2] == f"next: python training/evaluate.py {rest}"


def test_the_next_command_reads_the_rows_that_were_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = "output_dir=runs/my tickets"
    said = lines(METRICS, elsewhere, "seed=1", prog="duet distill")[2]
    assert said == (
        "next: duet evaluate 'runs/my tickets' --recipe mails.yaml seed=1 "
        "--calibrate --out 'runs/my tickets/evaluation'"
    )
    monkeypatch.setenv("MAKELEVEL", "1")
    command = "make evaluate RECIPE=mails.yaml"
    assert lines(METRICS, elsewhere)[2] == f"next: {command} 'CHECKPOINT=runs/my tickets'"
    assert lines(METRICS, "seed=1")[2] == f"next: {command} 'ARGS=--recipe mails.yaml seed=1'"


def test_after_an_evaluation_the_student_is_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    (FOLDER / "student.json").write_text(a_record().model_dump_json())

    def line(prog: str | None = None) -> str:
        return line_after_evaluation(FOLDER, prog)

    command = "duet export 'runs/my tickets' --out 'bundles/my tickets'"
    assert line("duet evaluate") == f"next: {command}"
    monkeypatch.delenv("MAKELEVEL", raising=False)
    module = "python -m export.convert 'runs/my tickets' --out 'bundles/my tickets'"
    assert line() == f"next: {module}"
    monkeypatch.setenv("MAKELEVEL", "1")
    assert line() == "next: make export 'CHECKPOINT=runs/my tickets' 'BUNDLE=bundles/my tickets'"
