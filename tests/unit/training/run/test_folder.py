"""Whose run an output folder is, and what is left in it."""

import json
import logging
import signal
from pathlib import Path

import pytest

from tests.support.recorded_losses import losses, record
from tests.support.simple_problems import write_problems
from training.distill import main


def test_a_student_that_is_there_is_left_as_it_is(
    arguments: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    assert main(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / "calibration.json").write_text("{}")
    with caplog.at_level(logging.INFO):
        assert main(arguments) == 0
    assert f"{out}: its student is there; delete it to distil it anew" in caplog.text
    (out / "calibration.json").unlink()
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    (out / "student.json").write_text("{")  # as of a kill while it is written
    assert main([*arguments, "steps=1", "--force"]) == 0
    assert json.loads((out / "student.json").read_text())["recipe"]["steps"] == 1


def complaint_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("distill:")]
    return line


def test_a_changed_recipe_is_shown_and_refused_unless_forced(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        record(patch, tmp_path / "losses.jsonl", stop_at=3, by=signal.SIGINT)
        assert main(arguments) == 130
    changed = [*arguments, "beta=0.5", "model.scratch.num_layers=2", "batch_tokens=900"]
    line = complaint_of(changed, capsys)
    assert "differs: beta: 0.1 → 0.5; batch_tokens: null → 900. " in line
    assert not (tmp_path / "out" / "student.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        record(patch, tmp_path / "again.jsonl")
        assert main([*changed, "--force"]) == 0
    assert sorted(losses(tmp_path / "again.jsonl")) == [4, 5]
    student = json.loads((tmp_path / "out" / "student.json").read_text())
    assert student["recipe"]["beta"] == 0.5
    assert main(changed) == 0  # it is the run's recipe now


def test_changed_data_are_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    write_problems(tmp_path / "train.jsonl", rows=60, seed=7)
    assert "the rows of the data are others" in complaint_of(arguments, capsys)


def test_a_checkpoint_of_another_geometry_takes_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        record(patch, tmp_path / "losses.jsonl", stop_at=3, by=signal.SIGINT)
        assert main(arguments) == 130
    line = complaint_of([*arguments, "model.scratch.d_ff=64", "--force"], capsys)
    assert "does not fit this recipe's model" in line


def test_the_card_says_what_was_trained_and_measured(arguments: list[str], tmp_path: Path) -> None:
    assert main(arguments) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    record = json.loads((tmp_path / "out" / "student.json").read_text())
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: transformers\n")
    for fact in (
        "with the objective `mi-infonce`",
        "48 training rows, 12 validation rows",
        record["data"]["fingerprint"],
        record["command"],
        f"| validation | accuracy {record['metrics']['validation']['accuracy']}, low",
        "the step that was kept is",
    ):
        assert fact in card
    suffixes = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert suffixes <= {".json", ".jsonl", ".md", ".safetensors"}
