import json

import pytest

from tasks.builtin import TASKS
from tasks.task import Fields, Task
from training.annotation.answer import Annotation, Parser
from training.data.completions import Unparsed
from training.data.row import Row

CHOICES: Fields = {"question": "What writes?", "choices": ["a pen", "A pen", "new york", "to go."]}
INPUTS: dict[str, Fields] = {
    "svamp": {"text": "Ada has 3 eggs and gets 4. How many?"},
    "esnli": {"premise": "A man sleeps.", "hypothesis": "A man is awake."},
    "cqa": CHOICES,
    "open": {"text": "Which town?"},
}
OPEN = Task(name="open", fields=["text"], template="{{text}}")
PROMPT = ["Write two or three short sentences that say which numbers of the text matter."]


def parse(
    answer: str,
    task: str = "svamp",
    *,
    as_json: bool = False,
    gold: str | None = None,
    fields: Fields | None = None,
) -> Annotation:
    parser = Parser(TASKS.get(task, OPEN), PROMPT, as_json=as_json, given_label=gold is not None)
    return parser.parse(answer, Row("line 1", fields or INPUTS[task], gold))


@pytest.mark.parametrize(
    ("task", "answer", "rationale", "label"),
    [
        ("svamp", "3 + 4 = 7.\nAnswer: ( 3 + 4 )", "3 + 4 = 7.", "( 3 + 4 )"),
        ("svamp", "So.\n\n**Answer:** (3 + 4).\n", "So.", "(3 + 4)"),
        ("svamp", "So.\n**Answer**: `3 + 4`", "So.", "3 + 4"),
        ("svamp", "Two.\nLines.\n> answer: 3 + 4", "Two.\nLines.", "3 + 4"),
        ("svamp", "The Answer: 5 is not it.\nAnswer: 3 + 4", "The Answer: 5 is not it.", "3 + 4"),
        ("svamp", "<think>\nAnswer: 9\n</think>\nSo.\nAnswer: 3 + 4", "So.", "3 + 4"),
        ("svamp", "Hm.\nAnswer: 9\n</think>\nSo.\nAnswer: 3 + 4", "So.", "3 + 4"),
        ("esnli", "He sleeps.\nAnswer: Contradiction.", "He sleeps.", "contradiction"),
        ("cqa", "Ink.\nAnswer: a pen", "Ink.", "a pen"),
        ("cqa", "Ink.\nAnswer: A pen", "Ink.", "A pen"),
        ("cqa", "Ink.\nAnswer: (b) New York", "Ink.", "new york"),
        ("cqa", "Ink.\nAnswer: to go", "Ink.", "to go."),
        ("open", "It rains.\nAnswer: Bergen: the Answer: of all.", "It rains.", None),
        ("open", "It rains.\nAnswer: Bergen.", "It rains.", "Bergen"),
    ],
)
def test_a_text_is_a_rationale_and_then_a_line_with_the_label(
    task: str, answer: str, rationale: str, label: str | None
) -> None:
    expected = "Bergen: the Answer: of all" if label is None else label
    assert parse(answer, task) == Annotation(expected, (rationale,))


@pytest.mark.parametrize(
    ("task", "answer", "reason"),
    [
        ("svamp", " \n", "empty answer"),
        ("svamp", "<think>nothing follows</think>", "empty answer"),
        ("svamp", "<think>3 + 4\nAnswer: 3 + 4", "never comes to an end of its thoughts"),
        ("svamp", "It is 7.", 'without a line that begins with "Answer:"'),
        ("svamp", "The answer: 3 + 4", "without a line that begins"),
        ("svamp", "So.\nAnswer: 3 + 4\nAnswer: 7", "several lines that begin"),
        ("svamp", "So.\nAnswer: 3 + 4\nI hope that this helps!", "goes on after its label"),
        ("svamp", "So.\nAnswer:", "without a label"),
        ("svamp", "Answer: 3 + 4", "without a rationale"),
        ("svamp", "So.\nAnswer: 3 + 4 = 7", "no equation with a value"),
        ("svamp", "So.\nAnswer: 1 / 0", "no equation with a value"),
        ("esnli", "So.\nAnswer: unclear", "none of the labels"),
        ("esnli", "So.\nAnswer: neutral or entailment", "none of the labels"),
        ("cqa", "So.\nAnswer: (b)", "none of the labels"),
        ("open", f"So.\nAnswer: {'x' * 257}", "label of over 256 characters"),
    ],
)
def test_what_is_neither_has_a_reason(task: str, answer: str, reason: str) -> None:
    with pytest.raises(Unparsed, match=reason):
        parse(answer, task)


def test_json_has_the_same_two_parts() -> None:
    answer = json.dumps({"rationale": " 3 + 4 = 7. ", "label": "( 3 + 4 )."})
    assert parse(answer, as_json=True) == Annotation("( 3 + 4 )", ("3 + 4 = 7.",))
    thought = f"<think>{{</think>{answer}"
    assert parse(thought, as_json=True) == Annotation("( 3 + 4 )", ("3 + 4 = 7.",))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("So.\nAnswer: 3 + 4", "not JSON"),
        ('{"rationale": "So.", "label": "3 + 4"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["So.", "3 + 4"]', "no object of rationale and label alone"),
        ('{"rationale": "So."}', "no object of rationale and label alone"),
        ('{"rationale": "So.", "label": "3 + 4", "sure": true}', "no object of rationale and"),
        ('{"rationale": "So.", "label": 7}', "rationale or label is no text"),
        ('{"rationale": null, "label": "7"}', "rationale or label is no text"),
        ('{"rationale": " ", "label": "3 + 4"}', "without a rationale"),
        ('{"rationale": "So.", "label": "3 +\\n4"}', "goes on after its label"),
        ('{"rationale": "So \\ud83d.", "label": "3 + 4"}', "half of a surrogate pair"),
    ],
)
def test_json_that_is_neither_has_a_reason(answer: str, reason: str) -> None:
    with pytest.raises(Unparsed, match=reason):
        parse(answer, as_json=True)


def test_a_rationale_does_not_repeat_the_prompt_unless_its_row_does() -> None:
    leak = "I write two or three short sentences that say which numbers matter: 3 + 4."
    with pytest.raises(Unparsed, match="repeats the prompt"):
        parse(f"{leak}\nAnswer: 3 + 4")
    text = "Write two or three short sentences that say which numbers Ada has."
    assert parse(f"{leak}\nAnswer: 3 + 4", fields={"text": text}).rationales == (leak,)
    seven = "Two or three short sentences that say"  # a run of one word less
    assert parse(f"{seven} so.\nAnswer: 3 + 4").rationales == (f"{seven} so.",)


def test_a_given_label_is_explained_and_not_mentioned() -> None:
    assert parse("So.\nAnswer: 4 + 3", gold="3 + 4") == Annotation("4 + 3", ("So.",))  # one value
    with pytest.raises(Unparsed, match="another label than the given one"):
        parse("So.\nAnswer: 4 - 3", gold="3 + 4")
    for told in ("The given answer is right.", "As the label was given, so.", "A known label."):
        with pytest.raises(Unparsed, match="tells that the label was given"):
            parse(f"{told}\nAnswer: 3 + 4", gold="3 + 4")
        assert parse(f"{told}\nAnswer: 3 + 4").rationales == (told,)  # harmless where none was
    fine = "Of the given answer choices a pen writes."
    assert parse(f"{fine}\nAnswer: a pen", "cqa", gold="a pen").rationales == (fine,)
