from typing import Any

import pytest

from tasks.fields import EmptyField, FieldError, kind_of, parse_fields, parse_text, parse_texts
from tasks.task import LabelField, Task

ONE = Task(name="one", fields=["text"], template="{{text}}")
PAIR = Task(name="pair", fields=["premise", "hypothesis"], template="{{premise}}")
CHOICES = Task(
    name="cqa",
    fields=["question", "choices"],
    template="{{question}}",
    labels=LabelField(field="choices"),
)
ONLY_CHOICES = Task(
    name="only", fields=["choices"], template="{{choices}}", labels=LabelField(field="choices")
)


@pytest.mark.parametrize(
    ("task", "given", "fields"),
    [
        (ONE, " a\n", {"text": "a"}),
        (ONE, {"text": "\u2003é 🍎 "}, {"text": "é 🍎"}),
        (PAIR, {"hypothesis": "b ", "premise": "a"}, {"premise": "a", "hypothesis": "b"}),
        (
            CHOICES,
            {"question": "a", "choices": ["b ", " c", "b"]},
            {"question": "a", "choices": ["b", "c", "b"]},
        ),
        (ONLY_CHOICES, {"choices": ("b",)}, {"choices": ["b"]}),
    ],
)
def test_fields_are_stripped(task: Task, given: Any, fields: Any) -> None:
    assert parse_fields(task, given) == fields
    assert list(parse_fields(task, given)) == task.fields


@pytest.mark.parametrize(
    ("task", "given", "field", "message"),
    [
        (PAIR, "a", None, "the fields are missing"),
        (ONLY_CHOICES, ["a"], None, "the fields are missing"),
        (ONE, None, "text", "text is null"),
        (ONE, {"text": 3}, "text", "text is a number"),
        (ONE, {"text": "a", "x": "b"}, "x", "'x' is unknown"),
        (PAIR, {"premise": "a"}, "hypothesis", "hypothesis is missing"),
        (CHOICES, {"question": ["a"], "choices": ["b"]}, "question", "question is a list"),
        (CHOICES, {"question": "a", "choices": "b"}, "choices", "choices is a string"),
        (
            CHOICES,
            {"question": "a", "choices": ["b", None]},
            "choices",
            "a label in choices is null",
        ),
        (ONE, {"text": "a\0"}, "text", "text has a NUL character in it"),
        (ONE, "a\ud83c", "text", "text has half of a surrogate pair in it"),
    ],
)
def test_what_is_wrong_is_told(task: Task, given: Any, field: str | None, message: str) -> None:
    with pytest.raises(FieldError) as error:
        parse_fields(task, given)
    assert (str(error.value), error.value.field) == (message, field)
    assert not isinstance(error.value, EmptyField)


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [
        (ONE, "", "text is empty"),
        (PAIR, {"premise": "a", "hypothesis": "\n\t\x85 "}, "hypothesis is empty"),
        (CHOICES, {"question": "a", "choices": []}, "choices is empty"),
        (CHOICES, {"question": "a", "choices": ["b", " "]}, "a label in choices is empty"),
    ],
)
def test_what_is_empty_is_told_apart(task: Task, given: Any, message: str) -> None:
    with pytest.raises(EmptyField) as error:
        parse_fields(task, given)
    assert str(error.value) == message


def test_an_error_has_its_parts() -> None:
    for parse, value, expected, found in (
        (parse_text, 3, "a non-empty text", "3"),
        (parse_text, " ", "a non-empty text", "' '"),
        (parse_text, "\0", "a non-empty text", "a NUL character"),
        (parse_texts, "a", "a list of texts", "'a'"),
        (parse_texts, [], "a list of texts", "[]"),
        (parse_texts, ["a", None], "a non-empty text", "None"),
    ):
        with pytest.raises(FieldError) as error:
            parse("why", value)
        assert (error.value.field, error.value.expected, error.value.found) == (
            *("why", expected),
            found,
        )


def test_kinds_are_those_of_json() -> None:
    values = [True, {}, 1.5, 2, [], "", None, ()]
    assert [*map(kind_of, values)] == [
        *("a boolean", "an object", "a number", "a number", "a list", "a string", "null", "tuple")
    ]
