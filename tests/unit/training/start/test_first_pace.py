"""The time of a run is added up from its steps, evaluations and rationales."""

import time
from pathlib import Path

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from tests.support.simple_problems import RECIPE, write_problems
from training.config import load_config
from training.data.splits import load_splits
from training.run.student import load_student, student_texts
from training.start.pace import Clock, Pace, measure_pace


def test_the_parts_of_a_run_add_up(tmp_path: Path) -> None:
    config = load_config(RECIPE, ["steps=100", "eval_every=25"])
    pace = Pace(step=2.0, row=0.1, rationale=0.5)
    # four evaluations and one at the end, of 300 rows; 4 × 64 rationales, and 256 at the end
    assert pace.seconds(config, 300) == pytest.approx(200 + 5 * 30 + (256 + 256) * 0.5)
    assert pace.seconds(config, 10) == pytest.approx(200 + 5 * 1 + 5 * 10 * 0.5)


def test_waiting_for_a_busy_machine_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = TrainingArguments(str(tmp_path), report_to="none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    times = {"thread_time": [1.0, 1.25], "perf_counter": [0.0, 9.0]}
    for name, values in times.items():
        monkeypatch.setattr(time, name, iter(values).__next__)
    clock = Clock()
    clock.on_step_begin()
    clock.on_step_end(arguments, TrainerState(), TrainerControl())
    assert clock.steps == [0.25]


@pytest.mark.parametrize("objective", ["mi-infonce", "finetune"])
def test_a_recipes_pace_is_measured_without_a_trace(
    objective: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_problems(tmp_path / "rows.jsonl", rows=40, seed=0)
    monkeypatch.chdir(tmp_path)
    changes = ["data={format: jsonl, train: rows.jsonl}", f"objective={objective}"]
    changes += ["batch_size=8", "validation_rows=8", "output_dir=out", "model.scratch.d_model=32"]
    config = load_config(RECIPE, changes)
    splits = load_splits(config)
    student = load_student(config, student_texts(config.task, splits.train))
    pace = measure_pace(config, splits, student)
    assert pace.step > 0
    assert pace.row > 0
    assert (pace.rationale > 0) == (objective != "finetune")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert capfd.readouterr() == ("", "")
