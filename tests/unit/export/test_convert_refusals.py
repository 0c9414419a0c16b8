"""What convert refuses, in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from export import convert, writing
from tests.support.checkpoints import edit_record, names

EXAMPLE = '{"input": {"text": "a"}, "label": "b", "rationale": null}\n'


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def drop_end_token(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))


def truncate_weights(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "student.json: missing"),
        (write("student.json", "{"), "student.json: "),
        (write("student.json", "{}"), "student.json: name: Field required"),
        (lambda folder: edit_record(folder, max_label_tokens=0), "student.json: max_label_tokens"),
        (lambda folder: edit_record(folder, name="a/b"), "student.json: name"),
        (lambda folder: (folder / "examples.jsonl").unlink(), "examples.jsonl: missing"),
        (write("examples.jsonl", ""), "examples.jsonl, line 1: "),
        (write("examples.jsonl", '{"input": {"text": "a"}}'), "examples.jsonl, line 1: label"),
        (write("examples.jsonl", EXAMPLE + '{"input": 1}'), "jsonl, line 2: input"),
        (
            write("examples.jsonl", EXAMPLE.replace("text", "question")),
            "an example must give each of text a text, unlike",
        ),
        (write("config.json", "{"), "cannot be loaded as a T5"),
        (lambda folder: edit_config(folder, model_type="bert"), "is a 'bert', but a student"),
        (lambda folder: edit_config(folder, num_layers=3), "the weights lack encoder.block.2"),
        (lambda folder: edit_config(folder, d_model=64), "have another shape"),
        (lambda folder: edit_config(folder, decoder_start_token_id=None), "decoder_start_token_id"),
        (lambda folder: edit_config(folder, dense_act_fn="silu"), "the activation 'silu'"),
        (truncate_weights, "cannot be loaded as a T5"),
        (write("tokenizer.json", "{"), "cannot be loaded as a T5"),
        (drop_end_token, "does not end a text with the end token"),
        (write("calibration.json", "{"), "calibration.json: "),
        (write("calibration.json", '{"temperature": 0}'), "calibration.json: temperature: Input"),
        (write("calibration.json", '{"temperature": NaN}'), "calibration.json: temperature: Input"),
        (write("calibration.json", '{"temperatur": 2}'), "calibration.json: temperatur: Extra"),
        (
            lambda folder: edit_record(folder, recipe={"examples": [{"text": "7 " * 99}]}),
            "an example of the recipe has over 64 tokens",
        ),
    ],
)
def test_a_bad_checkpoint_is_one_line(
    copy: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(copy)
    assert convert.main([str(copy), "--out", str(tmp_path / "bundle")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith(f"convert: {copy}") or "activation" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "bundle").exists()


def test_a_student_too_large_for_a_file_is_refused(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(writing, "MAX_GRAPH_BYTES", 100_000)
    assert convert.main([str(checkpoint), "--out", str(tmp_path / "bundle")]) == 2
    assert "encoder.onnx would be" in capsys.readouterr().err
    assert names(tmp_path) == []


@pytest.mark.parametrize("version", ["", "../1", "a b"])
def test_a_version_must_be_a_name(
    checkpoint: Path, tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), "--out", str(tmp_path / "bundle"), "--version", version]
    assert convert.main(arguments) == 2
    expected = "convert: --version: expected 1 to 128 letters, digits, '.', '_' and '-', "
    assert capsys.readouterr().err.startswith(expected)
