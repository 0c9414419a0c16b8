"""Whose run an output folder is, and what is left in it."""

import json
import logging
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.pretrained_t5 import write_pretrained
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


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_fails_before_its_first_step_claims_no_folder(
    there: bool, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "notes.txt").write_text("mine")

    def fails(error: BaseException) -> Callable[..., None]:
        def step(*_: object, **__: object) -> None:
            raise error

        return step

    too_many = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has …")
    for error, status in ((KeyboardInterrupt(), 130), (too_many, 2)):
        for place in ("TwoPassTrainer.__init__", "TwoPassTrainer.training_step"):
            with monkeypatch.context() as patch:
                patch.setattr(f"training.trainer.{place}", fails(error))
                assert main([*arguments, "beta=0.5"]) == status
            found = sorted(path.name for path in out.iterdir()) if out.exists() else None
            assert found == (["notes.txt"] if there else None)
    assert main([*arguments, "steps=1"]) == 0  # of another recipe
    assert (out / "notes.txt").exists() == there


def test_a_pretrained_model_is_looked_at_before_the_rows_and_the_folder(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint_of([*arguments, "model=./no/t5", "data.train=/nowhere.jsonl"], capsys)
    assert line == "distill: model: ./no/t5: there is no such folder"
    assert not (tmp_path / "out").exists()


def test_a_finished_run_needs_its_pretrained_model_no_more(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_pretrained(tmp_path / "t5", dropout_rate=0.0)
    run = [*arguments, f"model={model}", "steps=1"]
    assert main(run) == 0
    closing = capsys.readouterr().out.splitlines()[-3:]
    assert [line.partition(": ")[0] for line in closing] == ["student", "quality", "next"]
    shutil.rmtree(model)
    assert main(run) == 0
    assert capsys.readouterr().out.splitlines() == closing


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
