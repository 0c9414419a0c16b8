"""The command: a checkpoint's folder to a bundle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from export import bundle, convert, verify
from tests.support.checkpoints import names
from tests.support.server_process import ROOT
from tests.support.tiny_students import KINDS, problems, save_checkpoint, tiny_student


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
    assert "- label: one of the input's `choices`\n" in (
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
