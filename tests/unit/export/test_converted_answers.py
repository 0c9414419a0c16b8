"""What the engine answers with a converted bundle: its temperature, its placeholders."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from export import bundle, convert, verify
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from tasks.builtin import TASKS
from tasks.placeholders import MaskedNumbers
from tests.support.bundles import reference
from tests.support.checkpoints import edit_record
from tests.support.prediction_records import closed_records, open_records
from tests.support.prediction_records import record as make_record
from tests.support.tiny_students import learned_student, problems, save_checkpoint
from training.evaluation.temperature import fit_temperature, tempered
from training.student.files import write_calibration


def serve(folder: Path) -> list[Prediction]:
    engine = Engine.load(folder, threads=1, max_rows=1)

    async def ask() -> list[Prediction]:
        return [await engine.predict(PredictRequest(text, explain=True)) for text in problems(6)]

    try:
        return asyncio.run(ask())
    finally:
        engine.close()


CLOSED = {"labels": ["pens", "apples", "pens and apples", "marbles"], "answer": None}


@pytest.mark.parametrize("task", [{}, CLOSED])
def test_the_bundle_serves_the_temperature_that_was_fitted(
    copy: Path, tmp_path: Path, task: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    record = json.loads((copy / "student.json").read_text())
    edit_record(copy, task=record["task"] | task)
    assert convert.main([str(copy), "--out", str(tmp_path / "plain")]) == 0
    assert caplog.text.count("warning: its confidence is not calibrated") == 1
    caplog.clear()
    probabilities = np.array([[0.9, 0.1]] * 10)
    validation = open_records([0.5] * 10 + [0.1] * 10, [1] * 8 + [0] * 2 + [1] * 3 + [0] * 7)
    if task:
        validation = closed_records(probabilities, [0] * 7 + [1] * 3, ["yes", "no"])
    fitted = fit_temperature(validation)
    write_calibration(copy, fitted.calibration("10 validation rows"))
    assert convert.main([str(copy), "--out", str(tmp_path / "tempered")]) == 0
    assert "not calibrated" not in caplog.text

    calibration = verify.read(tmp_path / "tempered").manifest.calibration
    assert (calibration.temperature, calibration.offset) == (fitted.temperature, fitted.offset)
    assert calibration.temperature == pytest.approx(2.593 if task else 0.85, abs=0.05)
    assert calibration.fitted_on == "10 validation rows"
    card = (tmp_path / "tempered" / bundle.MODEL_CARD).read_text()
    offset = "" if task else f" and offset {fitted.offset:.3g}"
    said = f"temperature {fitted.temperature:.3g}{offset}"
    assert f"Confidences are at {said}, fitted on 10 validation rows." in card
    plain_card = (tmp_path / "plain" / bundle.MODEL_CARD).read_text()
    assert "temperature" not in plain_card
    assert "Confidences are **not calibrated**" in plain_card
    assert "not calibrated" not in card

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

    async def stream(text: str) -> tuple[str, Prediction]:
        async with engine.stream(PredictRequest(text, explain=True)) as answer:
            pieces = [piece async for piece in answer.rationale()]
            return "".join(pieces), await answer.prediction()

    try:
        for text in problems(6):
            written, whole = asyncio.run(stream(text))
            assert written == whole.rationale
    finally:
        engine.close()
