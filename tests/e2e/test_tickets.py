"""A first-time user's task: tickets, distilled with the default objective, keep their reasons."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.seeded_rows import make_rows, write_rows
from tests.support.tickets import ticket
from training.config import load_config
from training.distill import main as distill
from training.evaluate import main as evaluate
from training.evaluation.intervals import difference_interval
from training.evaluation.predictions import read_predictions
from training.evaluation.record import Record

RECIPE = "tests/support/recipes/tickets.yaml"
GIVEN = "task.explain_given_label=true"
TEST_ROWS = 200


class Tickets:
    """Students of the tickets, each distilled and evaluated once, by the changes of its recipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = make_rows(ticket, 500 + TEST_ROWS, seed=0)
        write_rows(folder / "train.jsonl", rows[:500])
        write_rows(folder / "test.jsonl", rows[500:])
        self.evaluated = cache(self._evaluated)

    def _evaluated(self, *changes: str) -> Path:
        """The folder of the evaluation; the student's is beside it."""
        student = self.folder / ("-".join(changes).replace("=", "-") or "default")
        data = [f"data.{name}={self.folder / name}.jsonl" for name in ("train", "test")]
        assert distill([RECIPE, *data, f"output_dir={student}", *changes]) == 0
        out = student / "evaluation"
        test = str(self.folder / "test.jsonl")
        assert evaluate([str(student), "--data", test, "--out", str(out)]) == 0
        return out

    def rationales(self, *changes: str) -> dict[str, Any]:
        folder = self.evaluated(*changes)
        evaluation = json.loads((folder / "report.json").read_text())["evaluation"]
        right = evaluation["accuracy"]["right"]
        assert right["value"] >= 0.95
        measured = json.loads((folder.parent / "student.json").read_text())["metrics"]["test"]
        for name, figure in (("accuracy", "value"), ("low", "low"), ("high", "high")):
            assert measured[name] == round(right[figure], 4)  # training says the same
        rationales: dict[str, Any] = evaluation["rationales"]
        return rationales

    def records(self, *changes: str) -> list[Record]:
        return [*read_predictions(self.evaluated(*changes))]


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Tickets:
    return Tickets(tmp_path_factory.mktemp("tickets"))


@pytest.mark.parametrize("task", [[], [GIVEN]])
def test_the_default_objective_keeps_the_reasons(tickets: Tickets, task: list[str]) -> None:
    assert load_config(Path(RECIPE)).objective == "mi-infonce"
    health = tickets.rationales(*task)["health"]
    assert health["bare_label"] <= 0.01
    assert health["glued"] <= 0.01

    # as many are the teacher's own as with dss, or more, by the paired difference
    ours, theirs = tickets.records(*task), tickets.records("objective=dss")
    differences = [
        (one.rationale == one.reference) - (other.rationale == other.reference)
        for one, other in zip(ours, theirs, strict=True)
    ]
    _, high = difference_interval(differences, [one.cluster for one in ours])
    assert high >= 0


def test_what_was_the_default_loses_them_and_the_report_says_so(tickets: Tickets) -> None:
    unsafe = ("objective=mi-unsafe",)
    rationales = tickets.rationales(*unsafe)
    bare = rationales["health"]["bare_label"]
    assert bare >= 0.2
    # none of which counts as a conclusion that agrees with the label
    assert rationales["measures"]["agrees"]["count"] <= (1 - bare) * TEST_ROWS + 1e-9
    evaluation = tickets.evaluated(*unsafe)
    report = (evaluation / "report.md").read_text()
    assert "are healthy; the most frequent fault: only a label, or nothing" in report
    assert "### Only the label for a reason" in report
    card = (evaluation.parent / "README.md").read_text()
    (line,) = (line for line in card.splitlines() if line.startswith("| only a label, or nothing "))
    assert float(line.split("|")[2].strip(" %")) >= 20
