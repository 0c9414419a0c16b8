"""The verdict of the gate on two evaluations, and the evaluations that it refuses."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.task import LabelField, Task
from tests.support.gate_decisions import TASK, admitted, calibrated, pair, refused
from tests.support.prediction_records import record
from training.evaluation.comparison import DifferentRowsError
from training.evaluation.gate import Evaluated, GateError, hold_against
from training.evaluation.record import Record


def evaluated(
    records: list[Record], task: Task = TASK, version: str = "1", **run: dict[str, str]
) -> Evaluated:
    model = {"source": "bundles/b", "kind": "bundle", "name": "b", "version": version}
    data = {"source": "data/rows.jsonl", "rows": str(len(records)), "sha256": "ab" * 32}
    model |= {"checksum": version * 64}
    return Evaluated({"model": model, "data": data} | run, task, records)


def test_the_verdict_tells_of_which_bundles_and_rows_it_is() -> None:
    new, old = pair(both=150, only_new=12, only_old=8, neither=80)
    verdict = hold_against(evaluated(new, version="2"), evaluated(old))
    assert verdict.admitted
    assert verdict.sentence.startswith("not significantly worse: accuracy 64.8% against 63.2% ")
    assert (verdict.new["version"], verdict.new["checksum"]) == ("2", "2" * 64)
    assert (verdict.old["version"], verdict.old["checksum"]) == ("1", "1" * 64)
    assert verdict.data["sha256"] == "ab" * 32
    assert verdict.measured == admitted(new, old)
    new, old = pair(both=100, only_new=0, only_old=50, neither=0)
    verdict = hold_against(evaluated(new), evaluated(old))
    assert not verdict.admitted
    assert verdict.sentence == refused(new, old).sentence


RECORDS = calibrated(2, right=1, confidence=0.9)
CHOICES = TASK.model_copy(
    update={"fields": ["text", "options"], "labels": LabelField(field="options"), "answer": None}
)


@pytest.mark.parametrize(
    "task", [CHOICES, TASK.model_copy(update={"template": "Q: {{text}}", "predict_prefix": "a: "})]
)
def test_the_same_task_may_have_another_template(task: Task) -> None:
    old = task.model_copy(update={"template": "A: {{text}}"})
    fields = {"text": "Which?", "options": ["a", "b"]}
    records = [record(i, input=fields, confidence=0.9, rationale="So.") for i in range(2)]
    assert hold_against(evaluated(records, task), evaluated(records, old)).measured["rows"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sums"}, "task.name is 'sums' in A, but 'problems' in B"),
        ({"fields": ["text", "hint"]}, "task.fields is ['text', 'hint'] in A, but ['text'] in B"),
        ({"labels": ["a", "b"]}, "task.labels is ['a', 'b'] in A, but 'open' in B"),
        ({"answer": None}, "task.answer is None in A, but 'arithmetic' in B"),
    ],
)
def test_another_task_is_refused(change: dict[str, Any], message: str) -> None:
    new = evaluated(RECORDS, TASK.model_copy(update=change))
    with pytest.raises(GateError) as found:
        hold_against(new, evaluated(RECORDS))
    assert str(found.value) == (
        f"--gate: A and B are of different tasks, so they cannot be compared: {message}"
    )


def test_rows_that_tell_nothing_are_refused() -> None:
    group = [replace(one, cluster="0") for one in RECORDS]
    for records in (RECORDS[:1], group):
        with pytest.raises(GateError, match="one group of rows, is not enough; give at least 200"):
            hold_against(evaluated(records), evaluated(records))
    with pytest.raises(DifferentRowsError, match="A has 2 rows and B has 3"):
        hold_against(evaluated(RECORDS), evaluated(calibrated(3, right=1, confidence=0.9)))


def test_what_is_no_bundle_is_refused() -> None:
    checkpoint = {"source": "runs/a", "kind": "checkpoint", "name": "a", "sha256": "a"}
    with pytest.raises(GateError) as found:
        hold_against(evaluated(RECORDS), evaluated(RECORDS, model=checkpoint))
    assert str(found.value) == (
        "--gate: B is the evaluation of runs/a, which is no bundle; evaluate a bundle's folder, or "
        "a service"
    )
