"""The command: answers are collected, kept, and reported."""

import json
import logging
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support.evaluate_command import complaint
from tests.support.evaluated_students import evaluated, write_rows
from tests.support.fake_judge import judging, said
from tests.support.interrupted_evaluation import evaluate_until
from tests.support.server_process import ROOT, environment
from tests.support.simple_problems import RECIPE, write_problems
from training.reports.report import read_evaluation

ROWS = 280  # more than are answered together, twice


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", "open", ROWS)


def test_killed_and_the_same_as_if_never(
    brief_checkpoint: Path,
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    whole, out = tmp_path / "whole", tmp_path / "out"
    evaluated(whole, brief_checkpoint, "--data", data)
    expected = (whole / "predictions.jsonl").read_bytes()
    assert expected.count(b"\n") == ROWS
    arguments = [str(brief_checkpoint), "--data", str(data), "--out", str(out)]
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
    evaluated(out, brief_checkpoint, "--data", data)
    assert "goes on after 128 of 280 rows" in caplog.text
    assert (out / "predictions.jsonl").read_bytes() == expected
    report = json.loads((out / "report.json").read_text())
    assert report["evaluation"]["accuracy"]["rows"] == ROWS
    assert report["run"] == json.loads((out / "run.json").read_text())


def test_a_changed_model_or_data_is_shown_and_refused(
    brief_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = write_rows(tmp_path / "rows.jsonl", "open", 6), tmp_path / "out"
    command: list[object] = [brief_checkpoint, "--data", rows, "--out", out]
    first = evaluated(out, *command[:3])

    write_rows(rows, "open", 7)
    line = complaint(command, capsys)
    assert 'data.rows: "6" → "7"; data.sha256: ' in line
    assert "start again with --force" in line
    write_rows(rows, "open", 6)

    changed = tmp_path / "changed"
    shutil.copytree(brief_checkpoint, changed)
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


def test_rows_of_a_recipe(brief_checkpoint: Path, tmp_path: Path) -> None:
    write_problems(tmp_path / "train.jsonl", rows=20, seed=0)
    written = write_problems(tmp_path / "test.jsonl", rows=5, seed=1)
    recipe = [
        *("--recipe", RECIPE, "validation_rows=4"),
        *(f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "test")),
    ]
    test = evaluated(tmp_path / "1", brief_checkpoint, *recipe)
    assert [record.text for record in test] == [row["input"] for row in written]
    assert [record.reference for record in test] == [row["rationale"] for row in written]
    validation = evaluated(tmp_path / "2", brief_checkpoint, *recipe, "--split", "validation")
    assert len(validation) == 4


def test_a_judge_scores_the_rationales(
    brief_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = write_rows(tmp_path / "rows.jsonl", "open", 6), tmp_path / "out"
    command = [str(brief_checkpoint), "--data", str(rows), "--judge-model", "grader"]
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
    brief_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", "open", 4)
    command = [brief_checkpoint, "--data", rows, "--out", tmp_path / "out", "--embedder", tmp_path]
    assert "cannot be loaded as an embedding model" in complaint(command, capsys)
