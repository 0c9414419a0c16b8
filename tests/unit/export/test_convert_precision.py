"""Bundles in int8, fp16 and bf16, and how they are compared with the student."""

from pathlib import Path

import pytest

from export import bundle, convert, verify
from tests.support.checkpoints import names


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
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert sum("THE PARITY GATE WAS NOT RUN" in message for message in warnings) == 1
    read = verify.read(out)
    assert read.golden == []
    parity = read.manifest.provenance.parity
    assert parity == {"not_run": "onnxruntime's CPU provider cannot run bf16"}
    card = (out / bundle.MODEL_CARD).read_text()
    assert "**Not compared with transformers**" in card
    assert "## Example" not in card
