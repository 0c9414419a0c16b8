"""Students that are made to give no reasons, though all their labels are right: who says so."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.seeded_rows import make_rows, write_rows
from tests.support.tickets import ticket
from training.distill import main as distill
from training.evaluate import main as evaluate
from training.evaluation.checkpoint import Checkpoint
from training.evaluation.labelled import LabelledRow
from training.evaluation.record import Record


@pytest.mark.parametrize(
    ("rationale", "fault", "alarm"),
    [
        ("{gold}", "only a label, or nothing", "are only a label"),
        ("The customer writes so{gold}.", "a word glued to a piece of a label", "are glued"),
    ],
)
def test_log_card_and_report_name_the_fault(
    rationale: str,
    fault: str,
    alarm: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answers(self: Checkpoint, rows: Iterable[LabelledRow]) -> Iterator[Record]:
        labels = self.task.labels
        assert isinstance(labels, list)
        for row in rows:
            scores = {label: float(label == row.gold) for label in labels}
            said = rationale.format(gold=row.gold)
            yield Record.of(self.task, row, row.gold, 1.0, scores, said, False)

    monkeypatch.setattr(Checkpoint, "answers", answers)
    write_rows(tmp_path / "train.jsonl", make_rows(ticket, 80, seed=0))
    rows = tmp_path / "test.jsonl"
    write_rows(rows, make_rows(ticket, 30, seed=1))
    student = tmp_path / "student"
    data = [f"data.train={tmp_path / 'train.jsonl'}", "data.test=null", "validation_rows=20"]
    run = ["steps=2", "eval_every=1", "batch_size=4", f"output_dir={student}"]
    with caplog.at_level(logging.WARNING):
        assert distill(["tests/support/recipes/tickets.yaml", *data, *run]) == 0
    warnings = [line for line in caplog.messages if alarm in line]
    assert len(warnings) == 2  # one while training, one at the end
    assert all(line.startswith("warning: 100% of 20 rationales ") for line in warnings)
    assert f"| {fault} | 100.0 % |" in (student / "README.md").read_text()

    out = tmp_path / "evaluation"
    assert evaluate([str(student), "--data", str(rows), "--out", str(out)]) == 0
    verdict = f"0.0 % of its rationales are healthy; the most frequent fault: {fault} (100.0 %)."
    assert verdict in capsys.readouterr().out
    for form in ("md", "html"):
        report = (out / f"report.{form}").read_text()
        assert "The model is right on 100.0" in report
        assert fault in report
        assert "conclusions that agree with the model" not in report
