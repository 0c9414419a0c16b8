import json
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from export.bundle import Limits
from tests.bundles import copy_bundle
from tests.complaints import complaint_of
from tests.evaluations import evaluated, write_checkpoint, write_rows
from tests.servers import ROOT, environment
from tests.students import Student
from tests.word_problems import RECIPE, write_problems
from training.evaluate import main

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
    checkpoint: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    whole, out = tmp_path / "whole", tmp_path / "out"
    evaluated(whole, checkpoint, "--data", data)
    expected = (whole / "predictions.jsonl").read_bytes()
    assert expected.count(b"\n") == ROWS
    for stop_at in (200, 30):
        command = [sys.executable, "-m", "tests.evaluations", str(stop_at), str(checkpoint)]
        killed = subprocess.run(
            [*command, "--data", str(data), "--out", str(out)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    written = (out / "predictions.jsonl").read_bytes()
    assert written.count(b"\n") == 128 + 30  # the second one went on after 128
    evaluated(out, checkpoint, "--data", data)
    assert "goes on after 128 of 280 rows" in caplog.text
    assert (out / "predictions.jsonl").read_bytes() == expected
    assert json.loads((out / "summary.json").read_text())["n"] == ROWS


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
    "arguments",
    [[], ["--data", "a", "--recipe", "b"], ["--data", "a", "--split", "test"]],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["model", "--out", "out", *arguments])
    assert stop.value.code == 2
    assert "evaluate.py: error: " in capsys.readouterr().err
