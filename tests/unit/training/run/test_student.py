import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.nn import Dropout
from transformers import AutoTokenizer, T5ForConditionalGeneration

from tests.support.pretrained_t5 import PIECES, write_pretrained
from tests.support.simple_problems import distillation
from training.config import load_config
from training.distill import main
from training.run.student import load_student
from training.trainer import TwoPassTrainer


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A command line that distils a trimmed student in a few steps, but for its `output_dir`."""
    model = write_pretrained(tmp_path / "t5", dropout_rate=0.1)
    return distillation(tmp_path, f"model={model}", "trim_vocab=true")


def test_a_trimmed_student_tells_what_was_dropped(arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*arguments, f"output_dir={out}"]) == 0
    record = json.loads((out / "student.json").read_text())
    model = T5ForConditionalGeneration.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert model.config.vocab_size == len(tokenizer) < 400
    assert record["vocabulary"] == {
        "pieces": len(tokenizer),
        "dropped": PIECES + 100 - len(tokenizer),
    }
    assert record["recipe"]["trim_vocab"] is True


def test_a_pretrained_student_may_get_another_dropout_rate(
    arguments: list[str], tmp_path: Path
) -> None:
    for rate in (None, 0.3):
        overrides = [] if rate is None else [f"dropout_rate={rate}"]
        student = load_student(load_config(Path(arguments[0]), [*arguments[1:], *overrides]), ["a"])
        rates = {part.p for part in student.model.modules() if isinstance(part, Dropout)}
        assert rates == {0.1 if rate is None else rate}
        assert student.model.decoder.block[0].layer[1].EncDecAttention.dropout == rates.pop()


def test_a_stopped_run_goes_on_with_the_same_vocabulary(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main([*arguments, f"output_dir={whole}"]) == 0
    step = TwoPassTrainer.training_step

    def step_or_stop(self: TwoPassTrainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(TwoPassTrainer, "training_step", step_or_stop)
        assert main([*arguments, f"output_dir={stopped}"]) == 130
    assert (stopped / "checkpoints" / "checkpoint-4").is_dir()
    assert main([*arguments, f"output_dir={stopped}"]) == 0
    assert (stopped / "tokenizer.json").read_bytes() == (whole / "tokenizer.json").read_bytes()
    weights = load_file(stopped / "model.safetensors")
    for name, weight in load_file(whole / "model.safetensors").items():
        assert weight.equal(weights[name]), name


def test_the_labels_to_choose_from_keep_their_pieces(arguments: list[str], tmp_path: Path) -> None:
    rows = [
        {
            "input": {"question": f"What would you do with {n} of them?", "choices": choices},
            "label": choices[0],
            "rationale": "That is what one does.",
        }
        for n, choices in enumerate([["debug", "import"], ["encode", "iterate"]] * 10)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = (
        "{name: choose, fields: [question, choices], template: '{{question}}', "
        "labels: {field: choices}}"
    )
    out = tmp_path / "out"
    changes = [f"task={task}", f"output_dir={out}", "data.test=null", "validation_rows=4"]
    assert main([*arguments, *changes]) == 0
    full = AutoTokenizer.from_pretrained(tmp_path / "t5")
    tokenizer = AutoTokenizer.from_pretrained(out)
    for label in ("debug", "import", "encode", "iterate"):
        assert tokenizer.tokenize(label) == full.tokenize(label)
