"""The layout of Optimum: what its own classes make of it, beside transformers and our graphs."""

import sys
from pathlib import Path

import pytest
import torch

from export import convert
from export.checkpoint import load_checkpoint
from export.reference import until_end
from tests.support.tiny_students import (
    KINDS,
    Kind,
    problems,
    save_checkpoint,
    save_graphs,
    tiny_student,
)

onnxruntime_classes = pytest.importorskip("optimum.onnxruntime")

ARGUMENTS = ["--layout", "optimum"]


@pytest.mark.parametrize("kind", KINDS)
def test_optimum_gives_what_transformers_and_our_graphs_give(kind: Kind, tmp_path: Path) -> None:
    student = tiny_student(kind)
    source = save_checkpoint(student, tmp_path / "checkpoint")
    out = tmp_path / "new" / "folder"
    assert convert.main([str(source), "--out", str(out), *ARGUMENTS]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["folder"]

    theirs = onnxruntime_classes.ORTModelForSeq2SeqLM.from_pretrained(out)
    ours = save_graphs(student, tmp_path)
    eos_id = student.tokenizer.eos_token_id
    outputs = set()
    for text in problems(12):
        prompt = f"explain: {text}"
        input_ids = student.tokenizer(prompt, return_tensors="pt")["input_ids"]
        arguments = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "max_new_tokens": 24,
            "num_beams": 1,
            "do_sample": False,
        }
        with torch.inference_mode():
            expected = until_end(student.model.generate(**arguments)[0, 1:].tolist(), eos_id)
        assert until_end(theirs.generate(**arguments)[0, 1:].tolist(), eos_id) == expected
        assert ours.generate([prompt], 24) == [expected]
        outputs.add(tuple(expected))
    assert len(outputs) > 6


def test_its_tokenizer_comes_with_it(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    student = tiny_student()
    source = save_checkpoint(student, tmp_path / "checkpoint")
    assert convert.main([str(source), "--out", str(tmp_path / "out"), *ARGUMENTS]) == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in problems(5):
        assert tokenizer(text)["input_ids"] == student.tokenizer(text)["input_ids"]


def test_a_folder_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_text("the only copy")
    source = save_checkpoint(tiny_student(), tmp_path / "checkpoint")
    assert convert.main([str(source), "--out", str(tmp_path / "out"), *ARGUMENTS]) == 2
    assert "out exists; choose another --out, or delete it" in capsys.readouterr().err
    assert (tmp_path / "out" / "holiday.jpg").read_text() == "the only copy"


def test_what_is_no_checkpoint_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "nothing"), "--out", str(tmp_path / "out"), *ARGUMENTS]
    assert convert.main(arguments) == 2
    error = capsys.readouterr().err
    assert "student.json: missing" in error
    assert error.count("\n") == 1


def test_other_precisions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path), "--out", str(tmp_path / "out"), *ARGUMENTS]
    assert convert.main([*arguments, "--precision", "int8"]) == 2
    assert "the layout optimum has only --precision fp32" in capsys.readouterr().err


def test_without_optimum_bundles_are_written_and_its_layout_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "optimum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optimum", None)
    source = save_checkpoint(tiny_student(), tmp_path / "checkpoint")
    assert convert.main([str(source), "--out", str(tmp_path / "bundle")]) == 0
    assert convert.main([str(source), "--out", str(tmp_path / "out"), *ARGUMENTS]) == 2
    error = capsys.readouterr().err
    assert error.startswith("convert: the layout optimum needs the package optimum-onnx")
    assert not (tmp_path / "out").exists()


def test_what_differs_from_transformers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_checkpoint(tiny_student(), tmp_path / "checkpoint")
    other = load_checkpoint(save_checkpoint(tiny_student(seed=1), tmp_path / "other"))
    monkeypatch.setattr("export.optimum.load_checkpoint", lambda _: other)
    assert convert.main([str(source), "--out", str(tmp_path / "out"), *ARGUMENTS]) == 1
    assert "transformers give different labels" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "other"]
