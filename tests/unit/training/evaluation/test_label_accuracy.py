"""Labels in training: what counts as right, and which step is selected."""

import numpy as np
import pytest
from transformers import EvalPrediction

from tasks.builtin import TASKS
from tasks.task import Task
from tests.support.tiny_students import tiny_student
from training.data.batches import JudgedExamples
from training.data.row import DataError
from training.evaluation.label_accuracy import LabelAccuracy
from training.student.files import Example
from training.student.load import train_tokenizer
from training.student.passes import IGNORED

SVAMP = TASKS["svamp"]
MASKED = SVAMP.model_copy(update={"numbers": "masked"})
MOODS = Task(name="moods", fields=["text"], template="{{text}}", labels=["good", "bad", "so so"])
TOKENIZER = train_tokenizer(["( 1 + 2 ) * 3"], vocab_size=320)
LIMITS = {"max_input_tokens": 64, "max_label_tokens": 16, "max_rationale_tokens": 16}


def accuracy_on(task: Task, texts: list[str], golds: list[str]) -> LabelAccuracy:
    examples = [Example({"text": text}, gold) for text, gold in zip(texts, golds, strict=True)]
    accuracy = LabelAccuracy(task, TOKENIZER)
    accuracy.rows = JudgedExamples(examples, task, TOKENIZER, place="validation", **LIMITS)
    return accuracy


def written(
    predictions: list[str],
    golds: list[str],
    losses: list[float],
    task: Task = SVAMP,
    text: str = "",
) -> dict[str, float]:
    """The measures of labels that were decoded."""
    ids = [TOKENIZER(said)["input_ids"] for said in predictions]
    longest = max(map(len, ids))
    padded = np.array([row + [IGNORED] * (longest - len(row)) for row in ids])
    accuracy = accuracy_on(task, [text] * len(golds), golds)
    return accuracy(EvalPrediction(padded, padded, losses=np.array(losses)))


def test_accuracy_is_by_value_and_exact_by_text() -> None:
    measured = written(
        ["( 1 + 2 )", "( 2 + 1 )", "( 3 - 1 )", "3"],
        ["( 1 + 2 )", "( 1 + 2 )", "( 1 + 2 )", "( 1 + 2 )"],
        [1.0],
    )
    assert (measured["accuracy"], measured["exact"]) == (0.75, 0.25)


def test_masked_numbers_are_judged_by_the_rows_own() -> None:
    measured = written(
        ["( n0 - n1 )", "( n0 / n1 )", "( n1 + n0 )"],
        ["( 4.0 / 2.0 )", "( 4.0 / 2.0 )", "( 4.0 - 2.0 )"],
        [1.0],
        MASKED,
        "4 of 2",
    )
    assert (measured["accuracy"], measured["exact"]) == (2 / 3, 1 / 3)


def test_labels_of_a_closed_set_are_named_by_their_places() -> None:
    accuracy = accuracy_on(MOODS, ["a", "b", "c", "d"], ["bad", "so so", "good", "good"])
    places = np.array([[1], [2], [1], [0], [1], [1]])  # the last two fill up a process's batch
    measured = accuracy(EvalPrediction(places, places, losses=np.array([1.0])))
    assert accuracy.right == [True, True, False, True]
    assert (measured["accuracy"], measured["exact"]) == (0.75, 0.75)


def test_of_equally_accurate_steps_the_lower_loss_is_selected() -> None:
    better = written(["3", "4"], ["3", "1"], [0.5, 0.7])["selection"]
    worse = written(["3", "4"], ["3", "1"], [0.9, 0.7])["selection"]
    more_accurate = written(["3", "1"], ["3", "1"], [9.0, 9.0])["selection"]
    assert worse < better < more_accurate


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["fine", "a much longer label"], "test row 1: the label 'a much longer label' has "),
        ([str(i) for i in range(1001)], "test row 1: 1001 labels, but at most 1000 may be"),
    ],
)
def test_labels_that_a_service_would_refuse_are_refused_before_training(
    options: list[str], complaint: str
) -> None:
    task = TASKS["cqa"]
    rows = [
        Example({"question": "Which?", "choices": choices}, choices[0])
        for choices in (["yes", "no", "yes"], options)
    ]
    tokenizer = tiny_student().tokenizer
    limits = {**LIMITS, "max_label_tokens": 8}
    known = JudgedExamples(rows[:1], task, tokenizer, place="test", **limits).label_sets[0]
    assert known is not None
    assert known.names == ["yes", "no"]
    assert known.ids == tokenizer(["yes", "no"])["input_ids"]
    with pytest.raises(DataError) as raised:
        JudgedExamples(rows, task, tokenizer, place="test", **limits)
    assert complaint in str(raised.value)
