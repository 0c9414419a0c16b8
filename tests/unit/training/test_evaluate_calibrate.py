"""`training/evaluate.py --calibrate`: the temperature of a checkpoint."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tasks.task import Task
from tests.support.evaluate_command import complaint
from tests.support.evaluated_students import evaluated, write_rows
from tests.support.simple_problems import RECIPE, write_problems
from training.evaluation.calibration import measure_calibration
from training.evaluation.predictions import read_predictions
from training.evaluation.temperature import fit_temperature, tempered
from training.reports.report import read_evaluation


@pytest.fixture
def recipe(tmp_path: Path) -> list[str]:
    write_problems(tmp_path / "train.jsonl", rows=40, seed=0)
    write_problems(tmp_path / "test.jsonl", rows=5, seed=1)
    paths = [f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "test")]
    return ["--recipe", str(RECIPE), "validation_rows=20", *paths]


def test_a_temperature_of_the_validation_rows(
    brief_checkpoint: Path, recipe: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Task, "is_right", lambda *_: next(right))
    student, out = tmp_path / "student", tmp_path / "out"
    shutil.copytree(brief_checkpoint, student)
    (student / "calibration.json").write_text('{"temperature": 3.0, "fitted_on": "an earlier run"}')
    right = (number % 3 == 0 for number in range(10_000))
    tested = evaluated(out, student, *recipe, "--calibrate")
    fitted = fit_temperature([*read_predictions(out / "validation")])
    assert fitted.rows == 20
    assert fitted.problem is None
    kept = json.loads((student / "calibration.json").read_text())
    assert kept["temperature"] == fitted.temperature
    assert re.fullmatch(r"20 rows of .* \(validation\), SHA-256 [0-9a-f]{64}", kept["fitted_on"])
    found = read_evaluation(out).evaluation
    assert found.temperature == fitted
    assert found.calibrated == measure_calibration(
        tempered(tested, fitted.temperature, fitted.offset)
    )
    assert len(tested) == 5

    evaluated(out, student, *recipe, "--calibrate")  # what it left beside the student changes none
    rows = write_rows(tmp_path / "rows.jsonl", "open", 6)
    tested = evaluated(tmp_path / "rows", student, "--data", rows, *recipe, "--calibrate")
    found = read_evaluation(tmp_path / "rows").evaluation
    assert len(tested) == 6
    assert found.temperature is not None
    assert found.temperature.rows == 20
    fitted = found.temperature
    assert found.calibrated == measure_calibration(
        tempered(tested, fitted.temperature, fitted.offset)
    )
    evaluated(tmp_path / "validation", student, *recipe, "--calibrate", "--split", "validation")
    assert read_evaluation(tmp_path / "validation").evaluation.calibrated is None


def test_no_temperature_can_be_fitted(
    brief_checkpoint: Path,
    recipe: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    student = tmp_path / "student"
    shutil.copytree(brief_checkpoint, student)
    (student / "calibration.json").write_text('{"temperature": 3.0, "fitted_on": "an earlier run"}')
    evaluated(tmp_path / "out", student, *recipe, "--calibrate")
    assert not (student / "calibration.json").exists()
    report = (tmp_path / "out" / "report.md").read_text()
    assert "No temperature was fitted: 0 of 20 validation rows are right" in report
    printed = capsys.readouterr().out
    reason = "0 of 20 validation rows are right: a fit needs both kinds"
    assert f"\nIts confidence is not calibrated: {reason}.\n" in printed
    assert printed.splitlines()[-1].startswith(("next: make export", "next: python -m export"))


def test_only_a_checkpoint_is_calibrated(
    tiny_bundle: Path, recipe: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [tiny_bundle, *recipe, "--calibrate", "--out", tmp_path / "out"]
    assert f"--calibrate: {tiny_bundle} is no checkpoint" in complaint(command, capsys)
