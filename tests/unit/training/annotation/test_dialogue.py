from typing import Any

import pytest

from tasks.builtin import TASKS
from training.annotation.answer import Annotation
from training.annotation.completion import Completion
from training.annotation.dialogue import Dialogue, Exchange, Failure
from training.annotation.prompt import Prompt, load_prompt
from training.data.row import DataError, Row

SVAMP, CQA, ESNLI = TASKS["svamp"], TASKS["cqa"], TASKS["esnli"]
ROW = Row("rows.jsonl, line 1", {"text": "Ada has 3 eggs and gets 4. How many?"}, "( 3 + 4 )")
OTHER = Row("rows.jsonl, line 2", {"text": "Ben has 9 hats and loses 2. How many?"}, "( 9 - 2 )")
RIGHT = Completion("3 + 4 = 7.\nAnswer: ( 3 + 4 )", "stop")
PROMPT = Prompt(instructions="Solve it.", question="{{ text }}", label="an equation")


def dialogue(prompt: Prompt = PROMPT, **changes: Any) -> Dialogue:
    keys: dict[str, Any] = {"task": SVAMP, "model": "m", "settings": {"temperature": 0.0}}
    keys |= {"as_json": False, "given_label": False} | changes
    return Dialogue(prompt=prompt, **keys)


def exchange(asked: Dialogue, *answers: Completion, row: Row = ROW, sample: int = 0) -> Exchange:
    """What comes of a row whose requests are answered so, in turn."""
    kept: dict[str, Completion] = {}
    for answer in answers:
        following = asked.exchange(row, sample, kept.get).following
        assert following is not None
        kept[following.key] = answer
    return asked.exchange(row, sample, kept.get)


def test_a_row_is_asked_about_and_its_answer_read() -> None:
    before = exchange(dialogue())
    assert before.following is not None
    assert before.following.body == {
        "model": "m",
        "messages": [
            {
                "role": "system",
                "content": "Solve it. Then end with a line of its own that is "
                '"Answer: " and an equation.',
            },
            {"role": "user", "content": ROW.input["text"]},
        ],
        "temperature": 0.0,
    }
    after = exchange(dialogue(), RIGHT)
    assert after.outcome == Annotation("( 3 + 4 )", ("3 + 4 = 7.",))
    assert (after.following, after.requests) == (None, before.requests)


def test_what_cannot_be_used_is_told_to_the_teacher_once() -> None:
    wrong = Completion("It is 7.", "stop")
    again = exchange(dialogue(), wrong)
    first, second = again.requests
    assert again.following == second
    assert second.body["messages"][:2] == first.body["messages"]
    said, told = second.body["messages"][2:]
    assert said == {"role": "assistant", "content": "It is 7."}
    assert told["role"] == "user"
    assert told["content"].startswith(
        'This cannot be used: answer without a line that begins with "Answer:".'
    )
    assert exchange(dialogue(), wrong, RIGHT).outcome == Annotation("( 3 + 4 )", ("3 + 4 = 7.",))
    cut = Completion("It is", "length")
    failed = exchange(dialogue(), wrong, cut)
    assert failed.outcome == Failure("answer cut off at the limit of tokens", "It is")
    assert len(failed.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Completion(RIGHT.text, "length"), "cut off at the limit of tokens"),
        (Completion("", "content_filter"), "withheld by a filter"),
        (Completion("", "refusal"), "refused by the model"),
        (Completion("", "stop"), "empty answer"),
    ],
)
def test_an_answer_that_did_not_end_is_none(answer: Completion, reason: str) -> None:
    again = exchange(dialogue(), answer)
    assert again.outcome is None
    said, told = again.requests[1].body["messages"][2:]
    assert reason in told["content"]
    assert said["content"]  # an endpoint refuses an empty one


def test_a_request_that_the_endpoint_refused_is_not_repeated() -> None:
    refused = exchange(dialogue(), Completion(None, refused="too long: 9,000 tokens"))
    assert refused.outcome == Failure("refused: too long: 9,000 tokens", None)
    assert len(refused.requests) == 1


def key(row: Row = ROW, sample: int = 0, **changes: Any) -> str:
    return exchange(dialogue(**changes), row=row, sample=sample).requests[0].key


def test_a_key_is_of_row_prompt_and_settings() -> None:
    again = Row("other.csv, line 9", ROW.input, "( 9 - 9 )")  # where a row stands is none of it
    assert key() == key(again)
    others = [
        key(OTHER),
        key(sample=1),
        key(model="n"),
        key(settings={"temperature": 0.1}),
        key(settings={"temperature": 0.0, "seed": 1}),
        key(prompt=PROMPT.model_copy(update={"instructions": "Solve it!"})),
        key(prompt=PROMPT.model_copy(update={"question": "Q: {{ text }}"})),
        key(prompt=PROMPT.model_copy(update={"label": "a number"})),
        key(as_json=True),
        key(given_label=True),
        key(again, given_label=True),
        key(prompt=load_prompt(SVAMP, None)),
    ]
    assert len({key(), *others}) == 1 + len(others)


def test_settings_are_laid_over_the_body_and_null_leaves_a_key_out() -> None:
    settings = {"temperature": None, "max_tokens": None, "max_completion_tokens": 5, "top_p": 0.9}
    body = exchange(dialogue(settings=settings)).requests[0].body
    assert set(body) == {"model", "messages", "max_completion_tokens", "top_p"}
    plain = {"type": "json_object"}
    body = exchange(dialogue(as_json=True, settings={"response_format": plain})).requests[0].body
    assert body["response_format"] == plain
    body = exchange(dialogue(as_json=True, settings={"response_format": None})).requests[0].body
    assert "response_format" not in body


def test_json_is_asked_for_by_a_schema_with_the_labels_of_the_row() -> None:
    choices = {"question": "What writes?", "choices": ["a pen", "a cup", "a pen"]}
    asked = dialogue(load_prompt(CQA, None), task=CQA, as_json=True)
    request = exchange(asked, row=Row("line 1", choices, None)).requests[0]
    schema = request.body["response_format"]["json_schema"]
    assert request.body["response_format"]["type"] == "json_schema"
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["label"] == {"type": "string", "enum": ["a pen", "a cup"]}
    assert list(schema["schema"]["properties"]) == ["rationale", "label"]  # the reasoning first
    assert schema["schema"]["required"] == ["rationale", "label"]
    assert schema["schema"]["additionalProperties"] is False
    request = exchange(dialogue(as_json=True)).requests[0]
    schema = request.body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"] == {"type": "string"}
    told = exchange(dialogue(as_json=True), Completion("So.", "stop")).requests[1].body["messages"]
    assert "not JSON. Reply again, with a JSON object alone" in told[-1]["content"]


def test_a_given_label_is_told_and_must_be_the_answer() -> None:
    asked = dialogue(given_label=True)
    question = exchange(asked).requests[0].body["messages"][-1]["content"]
    assert "known to be: ( 3 + 4 )" in question
    assert "( 3 + 4 )" not in str(exchange(dialogue()).requests[0].body)
    assert exchange(asked, RIGHT).outcome == Annotation("( 3 + 4 )", ("3 + 4 = 7.",))
    again = exchange(asked, Completion("4 - 3.\nAnswer: ( 4 - 3 )", "stop"))
    assert "another label than the given one" in again.requests[1].body["messages"][-1]["content"]
    without = exchange(asked, row=Row("line 1", ROW.input, None))
    assert without == Exchange([], Failure("row without a label to explain", None))


def test_a_template_that_fails_on_a_row_names_it() -> None:
    asked = dialogue(PROMPT.model_copy(update={"question": "{{ text.splitlines()[1] }}"}))
    with pytest.raises(DataError, match=r"rows.jsonl, line 1: the prompt's question fails: .*"):
        exchange(asked)


def test_rows_that_read_the_same_are_asked_about_once() -> None:
    same = Row("rows.jsonl, line 3", {"text": f" {ROW.input['text']}\n"}, None)
    unlabelled = [ROW, OTHER, same, ROW]
    asked = dialogue()
    following = [sorted(requests) for _, requests in asked.to_ask(unlabelled, 2, lambda key: None)]
    assert following == [[0, 1], [0, 1], [], []]
    first = exchange(asked).requests[0].key
    kept = {first: RIGHT}
    following = [sorted(requests) for _, requests in asked.to_ask(unlabelled, 2, kept.get)]
    assert following == [[1], [0, 1], [], []]
    given = dialogue(given_label=True)  # two labels are two questions
    other_label = Row("rows.jsonl, line 4", ROW.input, "( 4 + 3 )")
    none = Row("rows.jsonl, line 5", ROW.input, None)
    following = [
        sorted(requests) for _, requests in given.to_ask([ROW, other_label, none], 1, {}.get)
    ]
    assert following == [[0], [0], []]
