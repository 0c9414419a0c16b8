"""Students that learnt no explain pass: what their bundles hold, and what they refuse."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from export import bundle, convert, verify
from service.engine.engine import Engine
from service.engine.prediction import PredictRequest
from service.errors import InvalidParameter
from tests.support.checkpoints import edit_record
from tests.support.tiny_students import problems


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_bundle_says_that_its_student_does_not_explain(
    learned: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "checkpoint", tmp_path / "plain"
    shutil.copytree(learned, source)
    edit_record(source, explains=False)
    written: list[str] = []
    generate = convert.write_bundle.__globals__["OnnxStudent"].generate

    def listened(self: object, prompts: list[str], *rest: object) -> object:
        written.extend(prompts)
        return generate(self, prompts, *rest)

    monkeypatch.setattr("export.writing.OnnxStudent.generate", listened)
    assert convert.main([str(source), "--out", str(out), "--precision", precision]) == 0
    assert written
    assert not [prompt for prompt in written if not prompt.startswith("predict: ")]
    found = verify.read(out)
    assert found.manifest.explains is False
    assert found.golden
    assert all(golden.rationale is None for golden in found.golden)
    assert "equal_rationales" not in found.manifest.provenance.parity
    card = (out / bundle.MODEL_CARD).read_text()
    assert "It gives **no rationale**" in card
    assert "It ran the predict pass" in card
    assert "explain pass" not in card
    assert '"rationale"' not in card

    engine = Engine.load(out, threads=1, max_rows=1)  # verifies the golden examples
    try:
        text = problems(1)[0]
        assert asyncio.run(engine.predict(PredictRequest(text))).rationale is None
        with pytest.raises(InvalidParameter, match="explain: tiny was trained without rationales"):
            asyncio.run(engine.predict(PredictRequest(text, explain=True)))
    finally:
        engine.close()


def test_its_drafts_are_of_labels_alone(learned: Path, tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    shutil.copytree(learned, source)
    sizes = []
    for explains in (True, False):
        edit_record(source, explains=explains)
        out = tmp_path / str(explains)
        assert convert.main([str(source), "--out", str(out)]) == 0
        draft = (out / bundle.DRAFT).read_bytes()
        sizes.append(sum(draft[i : i + 8] != bytes(8) for i in range(0, len(draft), 8)))
    assert sizes[1] < sizes[0]


def test_a_bundle_from_before_the_key_explains() -> None:
    folder = Path(__file__).parents[2] / "fixtures" / "svamp-mini"
    assert "explains" not in json.loads((folder / bundle.MANIFEST).read_text())
    assert verify.read(folder).manifest.explains is True
