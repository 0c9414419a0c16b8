import json
import logging
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from export.bundle import Limits
from tasks.task import Task
from tests.support.bundles import copy_bundle
from tests.support.command_errors import complaint_of
from tests.support.evaluated_students import evaluated, write_checkpoint, write_rows
from tests.support.fake_judge import judging, said
from tests.support.interrupted_evaluation import evaluate_until
from tests.support.server_process import ROOT, environment
from tests.support.simple_problems import RECIPE, write_problems
from tests.support.tiny_students import Student
from training.evaluate import main
from training.evaluation.calibration import measure_calibration
from training.evaluation.predictions import read_predictions
from training.evaluation.temperature import fit_temperature, tempered
from training.reports.report import read_evaluation

SHORT = Limits(input_tokens=64, label_tokens=6, rationale_tokens=6)
ROWS = 280  # more than are answered together, twice


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, student: Student) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), student, "open", SHORT)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", "open", ROWS)


def complaint(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    return complaint_of([*map(str, arguments)], capsys, main, "evaluate")


def test_killed_and_the_same_as_if_never(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    whole, out = tmp_path / "whole", tmp_path / "out"
    evaluated(whole, checkpoint, "--data", data)
    expected = (whole / "predictions.jsonl").read_bytes()
    assert expected.count(b"\n") == ROWS
    arguments = [str(checkpoint), "--data", str(data), "--out", str(out)]
    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.interrupted_evaluation", "200", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert evaluate_until(30, lambda: signal.raise_signal(signal.SIGINT), arguments) == 130
    assert capsys.readouterr().err.endswith("evaluate: stopped; the same command goes on\n")
    written = (out / "predictions.jsonl").read_bytes()
    assert written.count(b"\n") == 128 + 30  # the second one went on after 128
    evaluated(out, checkpoint, "--data", data)
    assert "goes on after 128 of 280 rows" in caplog.text
    assert (out / "predictions.jsonl").read_bytes() == expected
    report = json.loads((out / "report.json").read_text())
    assert report["evaluation"]["accuracy"]["rows"] == ROWS
    assert report["run"] == json.loads((out / "run.json").read_text())


def test_a_changed_model_or_data_is_shown_and_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = write_rows(tmp_path / "rows.jsonl", "open", 6), tmp_path / "out"
    command: list[object] = [checkpoint, "--data", rows, "--out", out]
    first = evaluated(out, *command[:3])

    write_rows(rows, "open", 7)
    line = complaint(command, capsys)
    assert 'data.rows: "6" → "7"; data.sha256: ' in line
    assert "begin anew by --force" in line
    write_rows(rows, "open", 6)

    changed = tmp_path / "changed"
    shutil.copytree(checkpoint, changed)
    weights = load_file(changed / "model.safetensors")
    weights["shared.weight"] *= 2
    save_file(weights, changed / "model.safetensors", {"format": "pt"})
    command[0] = changed
    line = complaint(command, capsys)
    assert "model.sha256: " in line
    assert "data" not in line.replace(str(tmp_path), "")
    again = evaluated(out, changed, "--data", rows, "--force")
    assert [record.text for record in again] == [record.text for record in first]
    assert [record.confidence for record in again] != [record.confidence for record in first]


def test_rows_of_a_recipe(checkpoint: Path, tmp_path: Path) -> None:
    write_problems(tmp_path / "train.jsonl", rows=20, seed=0)
    written = write_problems(tmp_path / "test.jsonl", rows=5, seed=1)
    recipe = [
        *("--recipe", RECIPE, "validation_rows=4"),
        *(f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "test")),
    ]
    test = evaluated(tmp_path / "1", checkpoint, *recipe)
    assert [record.text for record in test] == [row["input"] for row in written]
    assert [record.reference for record in test] == [row["rationale"] for row in written]
    validation = evaluated(tmp_path / "2", checkpoint, *recipe, "--split", "validation")
    assert len(validation) == 4


def broken(change: Callable[[Path], object]) -> Callable[[Path, Path], Path]:
    def prepare(checkpoint: Path, folder: Path) -> Path:
        shutil.copytree(checkpoint, folder / "broken")
        change(folder / "broken")
        return folder / "broken"

    return prepare


def without(key: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        record = json.loads((folder / "student.json").read_text())
        del record[key]
        (folder / "student.json").write_text(json.dumps(record))

    return change


def not_numbers(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["shared.weight"] *= float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("prepare", "complaint_of_it"),
    [
        (lambda _, folder: folder / "none", "none: expected a checkpoint (a folder with student"),
        (lambda _, folder: folder, "expected a checkpoint (a folder with student.json)"),
        (broken(lambda folder: (folder / "student.json").write_text("{")), "student.json: Invalid"),
        (broken(without("max_label_tokens")), "student.json: max_label_tokens: Field required"),
        (broken(without("task")), "student.json: task: Field required"),
        (broken(lambda folder: (folder / "config.json").unlink()), "cannot be loaded as a T5"),
        (broken(lambda folder: (folder / "model.safetensors").unlink()), "cannot be loaded as a"),
        (
            broken(lambda folder: (folder / "model.safetensors").write_bytes(b"a" * 99)),
            "cannot be loaded as a T5",
        ),
        (
            broken(lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}')),
            "is a 'bert', but a student is a 't5'",
        ),
        (broken(lambda folder: (folder / "tokenizer.json").write_text("{}")), "cannot be loaded"),
        (broken(not_numbers), "rows.jsonl, line 1 are no numbers; its weights must be wrong"),
    ],
)
def test_a_bad_model(
    prepare: Callable[[Path, Path], Path],
    complaint_of_it: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, model = write_rows(tmp_path / "rows.jsonl", "open", 3), prepare(checkpoint, tmp_path)
    line = complaint([model, "--data", rows, "--out", tmp_path / "out"], capsys)
    assert complaint_of_it in line
    assert str(tmp_path) in line


def test_a_bad_bundle(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", "open", 3)
    bundle = copy_bundle(tiny_bundle, tmp_path / "bundle")
    (bundle / "decoder.onnx").write_bytes(b"")
    line = complaint([bundle, "--data", rows, "--out", tmp_path / "out"], capsys)
    assert line.startswith(f"evaluate: {bundle}: cannot be served: {bundle / 'decoder.onnx'}: 0 ")


@pytest.mark.parametrize(
    ("arguments", "complaint_of_it"),
    [
        (["--data", "none.jsonl"], "none.jsonl: No such file or directory"),
        (["--data", "rows.txt"], "rows.txt: expected a file named *.jsonl, *.csv, *.parquet"),
        (["--recipe", "none.yaml"], "none.yaml: cannot be read"),
        (["--recipe", str(RECIPE), "steps=x"], "steps: "),
        (["--recipe", str(RECIPE), "task=esnli"], "task.fields: ['premise', 'hypothesis'] in the"),
        (["--data", "none.jsonl", "--served-name", "a"], "is no service; leave it out"),
    ],
)
def test_a_bad_command_line(
    arguments: list[str],
    complaint_of_it: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert complaint_of_it in complaint([checkpoint, *arguments, "--out", tmp_path], capsys)


def test_out_that_is_a_file(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    line = complaint([checkpoint, "--data", data, "--out", tmp_path / "out"], capsys)
    assert "File exists" in line


@pytest.mark.parametrize(
    ("arguments", "complaint_of_it"),
    [
        (["model"], "expected one of --data, --recipe and --compare"),
        (["model", "--data", "a", "--recipe", "b"], "expected one of --data, --recipe and"),
        (["--data", "a"], "expected MODEL"),
        (["model", "--data", "a", "--split", "test"], "--split and --calibrate are of a --recipe"),
        (["model", "--data", "a", "--calibrate"], "--split and --calibrate are of a --recipe"),
        (
            ["model", "--data", "a", "--recipe", "b", "--calibrate", "--split", "test"],
            "--split and --calibrate are of a --recipe",
        ),
        (["model", "--data", "a", "--judge", "http://x"], "--judge and --judge-model belong"),
        (["model", "--data", "a", "--judge-model", "x"], "--judge and --judge-model belong"),
        (["--compare", "a"], "argument --compare: expected 2 arguments"),
        (["model", "--compare", "a", "b"], "--compare: leave MODEL out"),
        (["--compare", "a", "b", "--data", "c"], "expected one of --data, --recipe and"),
        (["--compare", "a", "b", "--embedder", "c"], "--compare: leave --embedder out"),
        (["--compare", "a", "b", "--judge-model", "c"], "--compare: leave --judge-model out"),
        (["--compare", "a", "b", "--force"], "--compare: leave --force out"),
    ],
)
def test_usage(
    arguments: list[str], complaint_of_it: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", "out"])
    assert stop.value.code == 2
    assert f"evaluate.py: error: {complaint_of_it}" in capsys.readouterr().err


def test_without_the_packages_of_the_extra(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, "training.evaluation.overlap")
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    out = tmp_path / "out"
    line = complaint([checkpoint, "--data", data, "--out", out], capsys)
    assert "the package sacrebleu.metrics is missing: pip install '.[evaluation]'" in line
    assert not out.exists()


@pytest.fixture
def recipe(tmp_path: Path) -> list[str]:
    write_problems(tmp_path / "train.jsonl", rows=40, seed=0)
    write_problems(tmp_path / "test.jsonl", rows=5, seed=1)
    paths = [f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "test")]
    return ["--recipe", str(RECIPE), "validation_rows=20", *paths]


def test_a_temperature_of_the_validation_rows(
    checkpoint: Path, recipe: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Task, "is_right", lambda *_: next(right))
    student, out = tmp_path / "student", tmp_path / "out"
    shutil.copytree(checkpoint, student)
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


def test_no_temperature_can_be_fitted(checkpoint: Path, recipe: list[str], tmp_path: Path) -> None:
    student = tmp_path / "student"
    shutil.copytree(checkpoint, student)
    (student / "calibration.json").write_text('{"temperature": 3.0, "fitted_on": "an earlier run"}')
    evaluated(tmp_path / "out", student, *recipe, "--calibrate")
    assert not (student / "calibration.json").exists()
    report = (tmp_path / "out" / "report.md").read_text()
    assert "No temperature was fitted: 0 of 20 validation rows are right" in report


def test_only_a_checkpoint_is_calibrated(
    tiny_bundle: Path, recipe: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [tiny_bundle, *recipe, "--calibrate", "--out", tmp_path / "out"]
    assert f"--calibrate: {tiny_bundle} is no checkpoint" in complaint(command, capsys)


def test_a_judge_scores_the_rationales(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = write_rows(tmp_path / "rows.jsonl", "open", 6), tmp_path / "out"
    command = [str(checkpoint), "--data", str(rows), "--judge-model", "grader"]
    with judging(lambda body, number: said("Score: 2")) as grader:
        evaluated(out, *command, "--judge", grader.url)
        asked = len(grader.requests)
        evaluated(out, *command, "--judge", grader.url)
        assert len(grader.requests) == asked
    judged = read_evaluation(out).evaluation.rationales.judged
    assert judged is not None
    assert (judged.model, judged.scores[2], judged.mean.value) == ("grader", 6, 2)
    with judging(lambda body, number: (401, "{}")) as grader:
        line = complaint([*command, "--out", tmp_path / "other", "--judge", grader.url], capsys)
    assert "0 of " in line
    assert (tmp_path / "other" / "predictions.jsonl").read_bytes().count(b"\n") == 6


def test_an_embedder_that_is_none(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", "open", 4)
    command = [checkpoint, "--data", rows, "--out", tmp_path / "out", "--embedder", tmp_path]
    assert "cannot be loaded as an embedding model" in complaint(command, capsys)
