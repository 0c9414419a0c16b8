"""What a run learns, however it is cut into parts, and which weights it keeps."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.recorded_losses import gradients_of, losses, record
from tests.support.rounding_bounds import assert_same_gradients, assert_same_weights
from training.distill import main


def test_training_stops_early_where_nothing_improves(arguments: list[str], tmp_path: Path) -> None:
    slow = ["steps=40", "learning_rate=1e-30", "early_stopping_patience=2"]
    with pytest.MonkeyPatch.context() as patch:
        record(patch, tmp_path / "losses.jsonl")
        assert main([*arguments, *slow]) == 0
    assert max(losses(tmp_path / "losses.jsonl")) == 5  # the best is the first, of step 2


def test_the_last_step_is_evaluated_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "steps=3", "eval_every=2", "learning_rate=1e-2"]) == 0
    printed = capsys.readouterr().out
    assert "step 2 of 3, validation: " in printed
    assert printed.count("step 3 of 3, validation: ") == 1


@pytest.mark.parametrize("objective", ["kl", "mi-infonce"])
def test_accumulated_batches_learn_what_one_does(
    objective: str, arguments: list[str], tmp_path: Path
) -> None:
    found = []
    for parts in (1, 4):
        run = [*arguments, f"objective={objective}", f"gradient_accumulation_steps={parts}"]
        with pytest.MonkeyPatch.context() as patch:
            record(patch, tmp_path / f"{parts}.jsonl")
            assert main([*run, "learning_rate=1e-2", f"output_dir={tmp_path / str(parts)}"]) == 0
        found.append(losses(tmp_path / f"{parts}.jsonl"))
    one, four = found
    assert four == pytest.approx(one, rel=1e-5)
    gradients, others = (gradients_of(tmp_path / f"{parts}.jsonl") for parts in (1, 4))
    assert_same_gradients(others, gradients)
    assert_same_weights(
        tmp_path / "4", tmp_path / "1", gradients=gradients, learning_rate=1e-2, steps=len(one)
    )


def test_bf16_learns_nearly_the_same(arguments: list[str], tmp_path: Path) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        with pytest.MonkeyPatch.context() as patch:
            record(patch, tmp_path / precision)
            out = f"output_dir={tmp_path / 'out' / precision}"
            assert main([*arguments, f"precision={precision}", out]) == 0
        found[precision] = losses(tmp_path / precision)
    assert found["bf16"] != found["fp32"]
    assert found["bf16"] == pytest.approx(found["fp32"], rel=0.02)


@pytest.mark.parametrize(("steps", "kept"), [(6, (4, 6)), (7, (6, 7))])
def test_the_mean_of_the_last_checkpoints(
    steps: int,
    kept: tuple[int, int],
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("training.run.distillation.shutil.rmtree", lambda folder: None)
    assert main([*arguments, f"steps={steps}", "eval_every=2", "average_last=2"]) == 0
    folders = [out, *(out / f"checkpoints/checkpoint-{step}" for step in kept)]
    student, one, other = (load_file(folder / "model.safetensors") for folder in folders)
    assert not torch.equal(one["shared.weight"], other["shared.weight"])
    for name, weight in student.items():
        torch.testing.assert_close(weight, (one[name] + other[name]) / 2)
    card = (out / "README.md").read_text()
    assert (
        f"its weights\nare the mean of those after the steps {kept[0]}, {kept[1]} of {steps}."
        in card
    )
