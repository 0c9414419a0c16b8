"""The command: a checkpoint's folder to a bundle, or one clear line."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from tokenizers import Tokenizer

from export import bundle, convert, graphs, verify, writing
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from tasks.builtin import TASKS
from tasks.placeholders import MaskedNumbers
from tests.support.bundles import reference
from tests.support.prediction_records import closed_records, open_records
from tests.support.prediction_records import record as make_record
from tests.support.tiny_students import (
    KINDS,
    answers,
    learned_student,
    problems,
    save_checkpoint,
    tiny_student,
)
from training.evaluation.temperature import fit_temperature, tempered
from training.student.record import write_calibration

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tiny_student(), tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_becomes_a_bundle(kind: str, tmp_path: Path) -> None:
    student = tiny_student(kind)
    checkpoint = save_checkpoint(student, tmp_path / "checkpoint")
    out = tmp_path / "new" / "bundle"
    assert convert.main([str(checkpoint), "--out", str(out), "--version", "2.1"]) == 0

    read = verify.read(out)
    manifest = read.manifest
    assert (manifest.name, manifest.version, manifest.precision) == ("tiny", "2.1", "fp32")
    assert manifest.task.answer == "arithmetic"
    assert manifest.task.examples == [{"text": text} for text in problems(2)]
    assert manifest.limits.rationale_tokens == 24
    assert manifest.provenance.parity["rows"] == 40
    assert manifest.provenance.parity["equal"] == 80
    assert manifest.provenance.recipe["steps"] == 1
    assert names(out.parent) == ["bundle"]
    draft = manifest.files[bundle.DRAFT]
    assert 0 < draft.size <= 0.1 * sum(entry.size for entry in manifest.files.values())

    assert len(read.golden) == 2
    for golden in read.golden:
        prompt = student.tokenizer(f"predict: {golden.fields['text']}", return_tensors="pt")
        with torch.inference_mode():
            tokens = student.model.generate(input_ids=prompt["input_ids"], max_new_tokens=16)[0]
        label = student.tokenizer.decode(tokens, skip_special_tokens=True)
        assert golden.label == label.strip()
        assert golden.rationale not in ("", golden.label)


def test_labels_that_an_input_names(copy: Path, tmp_path: Path) -> None:
    """The golden labels are the choices that transformers finds the most probable."""
    student = tiny_student()
    record = json.loads((copy / "student.json").read_text())
    record["task"] |= {
        "fields": ["text", "choices"],
        "template": "{{text}}{% for choice in choices %} {{choice}}{% endfor %}",
        "labels": {"field": "choices"},
        "answer": None,
    }
    record["recipe"]["examples"] = []
    (copy / "student.json").write_text(json.dumps(record))
    choices = ["pens", "apples", "pens and apples", "marbles"]
    rows = [
        {"input": {"text": text, "choices": choices}, "label": "pens", "rationale": None}
        for text in problems(4)
    ]
    (copy / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert convert.main([str(copy), "--out", str(tmp_path / "bundle")]) == 0

    read = verify.read(tmp_path / "bundle")
    assert read.manifest.task.choices == "choices"
    assert "to a label that is one of those that the input names in choices." in (
        (tmp_path / "bundle" / bundle.MODEL_CARD).read_text()
    )
    for golden in read.golden:
        prompt = f"predict: {golden.fields['text']} {' '.join(choices)}"
        inputs = student.tokenizer(prompt, return_tensors="pt")["input_ids"]
        logprobs = []
        for choice in choices:
            ids = student.tokenizer(choice, return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                logprobs.append(-student.model(input_ids=inputs, labels=ids).loss * ids.shape[1])
        assert golden.label == choices[int(torch.stack(logprobs).argmax())]


def test_a_label_with_too_many_tokens_is_refused(copy: Path, tmp_path: Path, capsys) -> None:
    record = json.loads((copy / "student.json").read_text())
    record["task"]["labels"] = ["yes", "7 " * 20]
    (copy / "student.json").write_text(json.dumps(record))
    assert convert.main([str(copy), "--out", str(tmp_path / "bundle")]) == 2
    assert "has over 16 tokens" in capsys.readouterr().err


def test_the_tokenizer_ends_texts_and_neither_pads_nor_truncates(
    copy: Path, tmp_path: Path
) -> None:
    stored = Tokenizer.from_file(str(copy / "tokenizer.json"))
    stored.enable_padding(length=100)
    stored.enable_truncation(5)
    stored.save(str(copy / "tokenizer.json"))
    assert convert.main([str(copy), "--out", str(tmp_path / "bundle")]) == 0
    tokenizer = Tokenizer.from_file(str(tmp_path / "bundle" / bundle.TOKENIZER))
    assert tokenizer.padding is None
    assert tokenizer.truncation is None
    ids = [encoding.ids for encoding in tokenizer.encode_batch(["a", problems(6)[5]])]
    assert [row[-1] for row in ids] == [1, 1]
    assert len(ids[0]) == 2
    assert len(ids[1]) > 5


def test_the_model_card_tells_how_the_student_was_made(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert convert.main([str(checkpoint), "--out", str(out)]) == 0
    card = (out / bundle.MODEL_CARD).read_text()
    golden = verify.read(out).golden[0]
    for expected in (
        "license: apache-2.0",
        "python training/distill.py recipe.yaml",
        f"python -m export.convert {checkpoint} --out {out} --version 1 --precision fp32",
        "| validation | accuracy 0.25, rows 40 |",
        json.dumps(golden.fields["text"]),
        golden.model_dump_json(indent=2),
        "on 40 inputs",
        "equal: 80 of 80",
    ):
        assert expected in card
    assert "{{" not in card
    assert "{%" not in card


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(learned_student(), tmp_path_factory.mktemp("learned"))


def test_int8_is_gated_on_the_validation_rows(learned: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert convert.main([str(learned), "--out", str(out), "--precision", "int8"]) == 0
    read = verify.read(out)
    assert read.manifest.precision == "int8"
    parity = read.manifest.provenance.parity
    assert (parity["rows"], parity["equal_labels"]) == (20, 20)  # of 40 examples
    assert (parity["accuracy"], parity["reference_accuracy"]) == (1.0, 1.0)
    assert (parity["least_equal_labels"], parity["most_accuracy_lost"]) == (0.99, 0.005)
    assert [golden.label for golden in read.golden] == ["( 3 + 0 )", "( 4 + 1 )"]
    card = (out / bundle.MODEL_CARD).read_text()
    for expected in (
        "two ONNX graphs\n(int8)",
        "--precision int8",
        "labels that are equal: 20 (at least 99 % must be)",
        "accuracy: 100.00 %, and 100.00 % by transformers (at most 0.5 points may be lost)",
        "measured before its export to int8",
    ):
        assert expected in card


def test_int8_of_a_student_that_is_not_sure_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert convert.main([str(checkpoint), "--out", str(out), "--precision", "int8"]) == 1
    assert "labels differ, but 99% must be equal" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_fp16_is_gated_on_the_processor(learned: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert convert.main([str(learned), "--out", str(out), "--precision", "fp16"]) == 0
    manifest = verify.read(out).manifest
    assert manifest.precision == "fp16"
    assert manifest.provenance.parity["equal_labels"] == 20


def test_bf16_is_written_with_a_warning_that_nothing_was_compared(
    learned: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "bundle"
    assert convert.main([str(learned), "--out", str(out), "--precision", "bf16"]) == 0
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "THE PARITY GATE WAS NOT RUN" in warning.message
    read = verify.read(out)
    assert read.golden == []
    parity = read.manifest.provenance.parity
    assert parity == {"not_run": "onnxruntime's CPU provider cannot run bf16"}
    card = (out / bundle.MODEL_CARD).read_text()
    assert "**Not compared with transformers**" in card
    assert "## Example" not in card


def test_the_command_line(checkpoint: Path, tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "export.convert", *arguments],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    done = command(str(checkpoint), "--out", str(tmp_path / "bundle"))
    assert done.returncode == 0
    assert "fewer than 200 inputs" in done.stderr  # the checkpoint has 40
    assert verify.read(tmp_path / "bundle").manifest.name == "tiny"
    assert command(str(checkpoint)).returncode == 2  # --out is missing


CLOSED = {"labels": ["pens", "apples", "pens and apples", "marbles"], "answer": None}


@pytest.mark.parametrize("task", [{}, CLOSED])
def test_the_bundle_serves_the_temperature_that_was_fitted(
    copy: Path, tmp_path: Path, task: dict[str, object]
) -> None:
    record = json.loads((copy / "student.json").read_text())
    edit_record(copy, task=record["task"] | task)
    assert convert.main([str(copy), "--out", str(tmp_path / "plain")]) == 0
    probabilities = np.array([[0.9, 0.1]] * 10)
    validation = open_records([0.5] * 10 + [0.1] * 10, [1] * 8 + [0] * 2 + [1] * 3 + [0] * 7)
    if task:
        validation = closed_records(probabilities, [0] * 7 + [1] * 3, ["yes", "no"])
    fitted = fit_temperature(validation)
    write_calibration(copy, fitted.calibration("10 validation rows"))
    assert convert.main([str(copy), "--out", str(tmp_path / "tempered")]) == 0

    calibration = verify.read(tmp_path / "tempered").manifest.calibration
    assert (calibration.temperature, calibration.offset) == (fitted.temperature, fitted.offset)
    assert calibration.temperature == pytest.approx(2.593 if task else 0.85, abs=0.05)
    assert calibration.fitted_on == "10 validation rows"
    card = (tmp_path / "tempered" / bundle.MODEL_CARD).read_text()
    offset = "" if task else f" and offset {fitted.offset:.3g}"
    said = f"temperature {fitted.temperature:.3g}{offset}"
    assert f"Confidences are at {said}, fitted on 10 validation rows." in card
    assert "temperature" not in (tmp_path / "plain" / bundle.MODEL_CARD).read_text()

    plain, served = serve(tmp_path / "plain"), serve(tmp_path / "tempered")
    assert [one.label for one in served] == [one.label for one in plain]
    assert [one.rationale for one in served] == [one.rationale for one in plain]
    scores = [{score.label: score.score for score in one.scores} for one in plain]
    records = [
        make_record(
            label=one.label,
            confidence=one.confidence,
            probabilities=probabilities if task else None,
        )
        for one, probabilities in zip(plain, scores, strict=True)
    ]
    expected = [one.confidence for one in tempered(records, fitted.temperature, fitted.offset)]
    assert [one.confidence for one in served] == pytest.approx(expected, rel=1e-4)
    for before, after in zip(plain, served, strict=True):
        assert after.confidence != pytest.approx(before.confidence, rel=0.05, abs=0)


def test_masked_numbers_come_back(tmp_path: Path) -> None:
    """In golden examples, which the engine reproduces, in its answers and in its streams."""
    student = learned_student(numbers="masked")
    task = TASKS["svamp"].model_copy(update={"numbers": "masked"})
    checkpoint = save_checkpoint(student, tmp_path / "checkpoint", task=task.model_dump())
    out = tmp_path / "bundle"
    assert convert.main([str(checkpoint), "--out", str(out)]) == 0
    manifest = verify.read(out).manifest
    assert manifest.task.numbers == "masked"
    for text, answer in zip(problems(6), serve(out), strict=True):
        codec = MaskedNumbers(text)
        said = reference(student, codec.text, manifest.limits)
        assert answer.label == codec.unmask_label(said.label.text)
        assert answer.rationale == codec.unmask_rationale(said.rationale.text)
        assert "n0" in said.label.text
        assert "n0" in said.rationale.text

    engine = Engine.load(out, threads=1, max_rows=2)

    async def stream(text: str) -> list[object]:
        return [item async for item in engine.stream(PredictRequest(text, explain=True))]

    try:
        for text in problems(6):
            _, *pieces, whole = asyncio.run(stream(text))
            assert isinstance(whole, Prediction)
            assert "".join(map(str, pieces)) == whole.rationale
    finally:
        engine.close()


def serve(folder: Path) -> list[Prediction]:
    engine = Engine.load(folder, threads=1, max_rows=1)

    async def ask() -> list[Prediction]:
        return [await engine.predict(PredictRequest(text, explain=True)) for text in problems(6)]

    try:
        return asyncio.run(ask())
    finally:
        engine.close()


def change_an_onnx_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the export itself wrong, as a mistake in it would be."""
    build = graphs.build_decoder

    def build_wrongly(model: torch.nn.Module, dtype: ir.DataType) -> ir.Model:
        graph = build(model, dtype)
        weight = graph.graph.initializers["1.feed_forward.wo"]
        assert weight.const_value is not None
        weight.const_value = ir.tensor(weight.const_value.numpy() + np.float32(0.5))
        return graph

    monkeypatch.setattr(graphs, "build_decoder", build_wrongly)


def test_a_failing_gate_leaves_the_old_bundle(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "bundle"
    assert convert.main([str(checkpoint), "--out", str(out)]) == 0
    old = contents(out)
    change_an_onnx_weight(monkeypatch)
    assert convert.main([str(checkpoint), "--out", str(out), "--version", "2"]) == 1
    assert capsys.readouterr().err.startswith("convert: no bundle written: ")
    assert contents(out) == old
    assert names(tmp_path) == ["bundle"]


def test_a_failing_gate_writes_no_bundle(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_an_onnx_weight(monkeypatch)
    assert convert.main([str(checkpoint), "--out", str(tmp_path / "bundle")]) == 1
    assert names(tmp_path) == []


def write_rows(path: Path, rows: int) -> Path:
    """Problems with their right labels, which `learned` knows by heart."""
    pairs = zip(problems(rows), answers(rows), strict=True)
    lines = [json.dumps({"input": text, "label": label}) for text, (label, _) in pairs]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_worse_student_leaves_the_bundle_that_it_is_held_against(
    checkpoint: Path, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, rows = tmp_path / "bundles" / "tiny", write_rows(tmp_path / "rows.jsonl", 20)
    gate = ["--gate-against", str(out), "--data", str(rows)]
    assert convert.main([str(checkpoint), "--out", str(out)]) == 0
    first = verify.read(out).manifest
    assert first.provenance.gate == {}
    assert "Beside the bundle before" not in (out / bundle.MODEL_CARD).read_text()

    assert convert.main([str(learned), "--out", str(out), "--version", "2", *gate]) == 0
    second = verify.read(out).manifest
    measured = second.provenance.gate
    assert second.version == "2"
    assert (measured["accuracy"], measured["old_accuracy"]) == (1.0, 0.0)
    assert (measured["rows"], measured["data"]) == (20, "rows.jsonl")
    assert measured["against"] == "tiny, version 1"
    assert measured["against_checksum"] == first.checksum
    card = (out / bundle.MODEL_CARD).read_text()
    for expected in (
        "## Beside the bundle before",
        f"It was held against tiny, version 1 (manifest checksum `{first.checksum[:12]}`), on the",
        "| accuracy | 100.0 % | 0.0 % | +100.0 points, +100.0 to +100.0, p = 1.9e-06 |",
        f"| healthy rationales | {100 * measured['healthy']:.1f} % | ",
        f"--version 2 --precision fp32 --gate-against {out} --data {rows}",
    ):
        assert expected in card
    assert "{{" not in card

    old = contents(out)
    capsys.readouterr()
    assert convert.main([str(checkpoint), "--out", str(out), "--version", "3", *gate]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "convert: no bundle written: significantly worse in label accuracy and in rationale "
        "health: accuracy 0.0% against 100.0% (-100.0 points, 95 % interval -100.0 to -100.0, "
        "p = 1.9e-06), Brier score 0.0000 "
    )
    assert "; more faults: only a label, or nothing, " in error
    assert contents(out) == old
    assert names(tmp_path / "bundles") == ["tiny"]


def test_the_gate_is_looked_at_before_anything_is_built(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(writing, "build_graphs", None)
    rows = write_rows(tmp_path / "rows.jsonl", 20)
    missing, out = tmp_path / "missing", tmp_path / "out"
    arguments = ["--out", str(out), "--gate-against", str(missing), "--data", str(rows)]
    assert convert.main([str(checkpoint), *arguments]) == 2
    assert f"convert: {missing}: not a bundle" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gate-against", "bundle"], "--gate-against BUNDLE and --data FILE need each other"),
        (["--data", "rows.jsonl"], "--gate-against BUNDLE and --data FILE need each other"),
        (
            ["--gate-against", "bundle", "--data", "rows.jsonl", "--layout", "optimum"],
            "the layout optimum has no --gate-against",
        ),
    ],
)
def test_a_gate_needs_its_rows(
    checkpoint: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        convert.main([str(checkpoint), "--out", str(tmp_path / "bundle"), *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_an_old_bundle_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    for version in ("1", "2"):
        assert convert.main([str(checkpoint), "--out", str(out), "--version", version]) == 0
        assert verify.read(out).manifest.version == version
    assert names(tmp_path) == ["bundle"]


def test_what_is_no_bundle_is_not_replaced(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "manifest.json").write_text('{"schema_version": 1}')
    (out / "holiday.jpg").write_text("the only copy")
    before = contents(out)
    assert convert.main([str(checkpoint), "--out", str(out)]) == 2
    assert "exists and is no bundle, so it is not replaced" in capsys.readouterr().err
    assert contents(out) == before


def edit_record(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(record | changes))


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
        (lambda folder: edit_config(folder, d_model=64), "cannot be loaded as a T5"),
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
def test_a_version_must_be_a_name(checkpoint: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        convert.main([str(checkpoint), "--out", str(tmp_path / "bundle"), "--version", version])
    assert stopped.value.code == 2
