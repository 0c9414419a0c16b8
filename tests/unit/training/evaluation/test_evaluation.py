import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.builtin import TASKS
from tests.support.fake_judge import judging, said
from tests.support.prediction_records import closed_records, open_records, softmax, to_json
from tests.support.rationale_records import record as explained
from tests.support.server_process import ROOT, environment
from training.evaluation.calibration import measure_calibration
from training.evaluation.evaluation import Mean, evaluate
from training.evaluation.judge import Judge
from training.evaluation.temperature import fit_temperature, tempered

SVAMP = TASKS["svamp"]
REFERENCE = "Ada has 3 apples and gets 4. 3 + 4 = 7. The answer is 7."
RECORDS = [
    explained("3 + 4 = 7", index=0, confidence=0.9, reference=REFERENCE),
    explained("3 + 4 = 8, and 3 + 3 = 6", index=1, confidence=0.8, reference=REFERENCE),
    explained("4 - 3 = 1", index=2, label="( 4 - 3 )", confidence=0.6),
    explained("Both count: 3 + 4", index=3, label="( 4 - 3 )", confidence=0.3),
    explained("I cannot say.", index=4, label="( 9 - 3 )", confidence=0.2),
    explained(None, index=5, confidence=0.2),
]


def test_what_rationales_come_to() -> None:
    found = evaluate(RECORDS, SVAMP)
    assert found.accuracy.right.value == 0.5
    assert found.overconfidence.value == pytest.approx(
        (0.9 + 0.8 + 0.6 + 0.3 + 0.2 + 0.2) / 6 - 0.5
    )
    rationales = found.rationales
    assert rationales.written == 5
    assert rationales.with_reference == 2
    assert rationales.overlap is not None
    assert rationales.true_statements == Mean(4, 0.75)  # all but 3 + 4 = 8
    assert rationales.measures["agrees"] == Mean(4, 0.5)  # rows 0 and 2
    assert rationales.measures["concludes_gold"] == Mean(4, 0.5)  # rows 0 and 3
    assert rationales.measures["words"].count == 5
    agrees = rationales.correlations["agrees"]
    assert (agrees.rows, agrees.mean_of_right, agrees.mean_of_wrong) == (4, 0.5, 0.5)
    true = rationales.correlations["true_statements"]
    assert (true.rows, true.mean_of_right, true.mean_of_wrong) == (3, 0.75, 1)
    assert rationales.correlations.keys() == {"agrees", "true_statements", "chrf"}
    kinds = {case.kind for case in found.cases}
    assert {"right label, wrong reasoning", "wrong label, right reasoning"} <= kinds
    to_json(found)


def test_a_student_that_gives_its_label_for_a_reason_does_not_agree_with_itself() -> None:
    """It has no reasons that could; and its faults are named, and shown."""
    bare = [explained("( 3 + 4 )", index=i, reference=REFERENCE) for i in range(3)]
    found = evaluate(bare, SVAMP)
    assert found.accuracy.right.value == 1
    assert found.rationales.measures["agrees"] == Mean(0, None)
    assert found.rationales.health["bare_label"] == 1
    assert found.rationales.health["healthy"] == 0
    assert found.rationales.reference_health["healthy"] == 1
    assert found.rationales.equal_reference == Mean(3, 0)
    assert [case.kind for case in found.cases].count("only the label for a reason") == 3


def test_a_student_that_glues() -> None:
    task = SVAMP.model_copy(update={"labels": ["addition", "subtraction"], "answer": None})
    text = "They say 3 + 4.addition"
    rows = [
        explained(text, task=task, gold="addition", index=i, reference=REFERENCE) for i in range(2)
    ]
    found = evaluate(rows, task)
    assert found.rationales.health["glued"] == 1
    assert found.rationales.equal_reference == Mean(2, 0)
    assert [case.kind for case in found.cases].count("another fault of the rationale") == 2


def test_a_fitted_temperature_is_tried_on_other_rows(numbers: list[float]) -> None:
    validation = open_records(numbers, [number > 0.9 for number in numbers])
    fitted = fit_temperature(validation)
    assert fitted.problem is None
    assert fitted.temperature != 1
    rows = open_records(numbers, [number > 0.8 for number in numbers])
    found = evaluate(rows, SVAMP, temperature=fitted)
    assert found.calibration == measure_calibration(rows)
    assert found.calibrated == measure_calibration(
        tempered(rows, fitted.temperature, fitted.offset)
    )
    assert evaluate(validation, SVAMP, temperature=fitted, fitted_here=True).calibrated is None
    problem = fit_temperature(open_records([0.5, 0.7], [True, True]))
    found = evaluate(rows, SVAMP, temperature=problem)
    assert (found.temperature, found.calibrated) == (problem, None)


@pytest.fixture
def numbers() -> list[float]:
    return [number / 100 for number in range(1, 100)]


def test_a_judge(tmp_path: Path) -> None:
    def reply(body: dict[str, object], number: int) -> tuple[int, str]:
        text = str(body["messages"])
        return said(
            "I do not know" if "cannot say" in text else f"Score: {2 if '= 7' in text else 4}"
        )

    with judging(reply) as grader:
        endpoint = Judge(grader.url, "grader")
        found = evaluate(RECORDS, SVAMP, judge=endpoint, judgements=tmp_path / "judgements")
    judged = found.rationales.judged
    assert judged is not None
    assert judged.scores == {1: 0, 2: 1, 3: 0, 4: 3, 5: 0}
    assert judged.unjudged == 1
    assert judged.mean.value == 3.5
    score = found.rationales.correlations["judge"]
    assert (score.rows, score.mean_of_right, score.mean_of_wrong) == (4, 3, 4)


def test_closed_labels() -> None:
    labels = ["entailment", "neutral", "contradiction"]
    logits = np.random.default_rng(0).normal(size=(60, 3))
    records = closed_records(softmax(logits), np.arange(60) % 3, labels)
    premises = [
        replace(one, input={"premise": f"Premise {one.index}.", "hypothesis": "It is."})
        for one in records
    ]
    found = evaluate(premises, TASKS["esnli"])
    assert found.accuracy.classes is not None
    assert sum(map(sum, found.accuracy.classes.confusion)) == 60
    assert found.calibration.probabilities is not None
    assert found.rationales.written == 0
    assert found.rationales.correlations == {}
    assert found.rationales.measures["agrees"] == Mean(0, None)
    to_json(found)


def test_no_rows_and_a_label_that_is_none() -> None:
    with pytest.raises(ValueError, match="no rows"):
        evaluate([], SVAMP)
    fields = {"premise": "A.", "hypothesis": "B."}
    with pytest.raises(ValueError, match="the label 'perhaps' is not one of entailment"):
        evaluate([explained(task=TASKS["esnli"], input=fields, gold="perhaps")], TASKS["esnli"])


MANY = """
import resource, sys
from pathlib import Path
import training.evaluation.significance
from tests.support.rationale_records import record
from training.evaluation.evaluation import evaluate
from training.reports.report import EvaluationReport, write_evaluation
from tasks.builtin import (TASKS)

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

training.evaluation.significance.RESAMPLES = 250  # which are more than are drawn at once
texts = ["3 + 4 = 7. The answer is 7.", "He has 4 - 3 = 2.", "It is a lot."]
records = [
    record(
        texts[i % 3], index=i, confidence=(i % 97) / 100, reference=texts[0],
        label=None if i % 2 else "( 4 - 3 )",
    )
    for i in range(10_000)
]
before = most()
found = evaluate(records, TASKS["svamp"])
run = {"model": {"source": "m"}, "data": {"source": "d"}}
write_evaluation(Path(sys.argv[1]), EvaluationReport(run, TASKS["svamp"], "", {}, found))
print(most() - before, found.accuracy.rows, found.accuracy.right.value)
"""


def test_ten_thousand_rows_in_bounded_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    megabytes, rows, right = done.stdout.split()
    assert int(megabytes) < 400
    assert (rows, right) == ("10000", "0.5")
    assert all(path.stat().st_size < 500_000 for path in tmp_path.iterdir())
