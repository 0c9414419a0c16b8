"""What `training/evaluate.py` refuses, in one line."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support.bundles import copy_bundle
from tests.support.evaluate_command import complaint
from tests.support.evaluated_students import write_rows
from tests.support.simple_problems import RECIPE
from training.evaluate import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", "open", 3)


def broken(change: Callable[[Path], object]) -> Callable[[Path, Path], Path]:
    def prepare(brief_checkpoint: Path, folder: Path) -> Path:
        shutil.copytree(brief_checkpoint, folder / "broken")
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
        (broken(lambda folder: (folder / "config.json").unlink()), "no config.json in this folder"),
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
    brief_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", "open", 3)
    model = prepare(brief_checkpoint, tmp_path)
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
        (["--data", "rows.txt"], "rows.txt: expected a file named *.jsonl, *.csv or *.parquet"),
        (["--recipe", "none.yaml"], "none.yaml: no such file"),
        (["--recipe", str(RECIPE), "steps=x"], "steps: "),
        (["--recipe", str(RECIPE), "task=esnli"], "task.fields: ['premise', 'hypothesis'] in the"),
        (["--data", "none.jsonl", "--served-name", "a"], "is no service; leave it out"),
    ],
)
def test_a_bad_command_line(
    arguments: list[str],
    complaint_of_it: str,
    brief_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert complaint_of_it in complaint([brief_checkpoint, *arguments, "--out", tmp_path], capsys)


def test_out_that_is_a_file(
    brief_checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    line = complaint([brief_checkpoint, "--data", data, "--out", tmp_path / "out"], capsys)
    assert "File exists" in line


@pytest.mark.parametrize(
    ("arguments", "complaint_of_it"),
    [
        (["model"], "expected one of --data, --recipe and --compare"),
        (["--compare", "a", "b", "--recipe", "c"], "expected one of --data, --recipe and"),
        (
            ["model", "--data", "a", "--recipe", "b", "--split", "test"],
            "--split and --calibrate are of a --recipe",
        ),
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
        (["model", "--data", "a", "--gate"], "--gate needs --compare A B"),
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
    brief_checkpoint: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, "training.evaluation.overlap")
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    out = tmp_path / "out"
    line = complaint([brief_checkpoint, "--data", data, "--out", out], capsys)
    assert "the package sacrebleu.metrics is missing: pip install '.[evaluation]'" in line
    assert not out.exists()
