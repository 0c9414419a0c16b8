import asyncio
import json
from datetime import date
from typing import Any

import pytest
from pydantic_settings import SettingsError

from export.bundle import Limits, Manifest
from export.verify import read_manifest
from service.bulk.rows import RequestMaker, answer_record, content_of, error_record
from service.bulk.settings import BulkSettings
from service.engine.engine import Engine
from service.engine.prediction import PredictRequest
from service.errors import InvalidInput, InvalidJson, ServiceError, TooManyTokens
from service.settings import EMBEDDED_STUDENT
from tasks.row_files import FileRow, NotJson, Place, RowError
from tasks.task import LabelField, Task

ONE = Task(name="one", fields=["text"], template="{{text}}")
PAIR = Task(name="pair", fields=["premise", "hypothesis"], template="{{premise}}")
CHOICES = Task(
    name="cqa",
    fields=["question", "choices"],
    template="{{question}}",
    labels=LabelField(field="choices"),
)


def manifest(task: Task) -> Manifest:
    limits = Limits(input_tokens=64, label_tokens=12, rationale_tokens=48)
    return read_manifest(EMBEDDED_STUDENT).model_copy(update={"task": task, "limits": limits})


def maker(task: Task, **settings: Any) -> RequestMaker:
    given = {"input": "rows.jsonl", "output": "out", **settings}
    return RequestMaker(manifest(task), BulkSettings(**given))


@pytest.mark.parametrize(
    ("task", "columns", "row", "given"),
    [
        (ONE, "", "a text", "a text"),
        (ONE, "", {"text": "a", "id": 1}, {"text": "a"}),
        (ONE, "", {"input": "a", "label": "b"}, "a"),  # as training reads it
        (ONE, "text=body.text", {"body": {"text": "a"}}, {"text": "a"}),
        (ONE, "", {"input": {"text": "a"}}, {"text": "a"}),
        (ONE, "", {"input": "a", "text": "b"}, {"text": "b"}),
        (ONE, "text=body", {"body": "a", "input": "b"}, {"text": "a"}),
        (PAIR, "hypothesis=h", {"premise": "a", "h": "b"}, {"premise": "a", "hypothesis": "b"}),
        (CHOICES, "", {"question": "a", "choices": ["b"]}, {"question": "a", "choices": ["b"]}),
        (CHOICES, "", {"question": "a", "choices": '["b"]'}, {"question": "a", "choices": ["b"]}),
    ],
)
def test_a_row_gives_the_fields(task: Task, columns: str, row: Any, given: Any) -> None:
    assert maker(task, columns=columns).request(row) == PredictRequest(given)


@pytest.mark.parametrize(
    ("task", "columns", "row", "message"),
    [
        (ONE, "", {"other": "a"}, "there is no 'text', but other; say where a field is"),
        (ONE, "text=body", {"text": "a"}, "there is no 'body', but text"),
        (PAIR, "", {"input": "a"}, "there is no 'premise', but input"),
        (ONE, "", {"text": None}, "row['text']: expected a string or a list of strings, got null"),
        (ONE, "", {"text": date(2026, 1, 1)}, "row['text']: expected a string or a list of "),
        (ONE, "", {"input": 5}, "row: expected a string or an object with the task's fields"),
        (
            CHOICES,
            "",
            {"question": "a", "choices": "b, c"},
            'choices: expected a JSON list, as ["a"',
        ),
    ],
)
def test_a_wrong_row_is_told(task: Task, columns: str, row: Any, message: str) -> None:
    with pytest.raises(ServiceError) as error:
        maker(task, columns=columns).request(row)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (NotJson("not JSON: it is nested"), InvalidJson, "not JSON: it is nested"),
        (RowError("3 values"), InvalidInput, "3 values"),
        ([1], InvalidInput, "expected an object or a string, got a list"),
        (None, InvalidInput, "expected an object or a string, got null"),
    ],
)
def test_what_is_no_row_is_told(content: Any, error: type[ServiceError], message: str) -> None:
    with pytest.raises(error) as caught:
        content_of(FileRow(Place(0, 1), content))
    assert str(caught.value) == message


@pytest.mark.parametrize("content", ["a text", {"text": "a"}, {}])
def test_texts_and_objects_are_rows(content: Any) -> None:
    assert content_of(FileRow(Place(0, 1), content)) == content


def test_the_settings_go_into_the_request() -> None:
    asking = maker(ONE, explain=True, top_k=2, max_rationale_tokens=7, truncate=True)
    assert asking.request("a") == PredictRequest("a", True, 2, 7, True)


def test_wrong_settings_are_told_before_any_row() -> None:
    for settings, message in (
        ({"columns": "body=b"}, "--columns: 'body' is none of the task's fields, text"),
        ({"max_rationale_tokens": 49}, "--max-rationale-tokens: svamp-numbers writes from 1 to 48"),
    ):
        with pytest.raises(SettingsError) as error:
            maker(ONE, **settings)
        assert str(error.value).startswith(message)


def test_columns_that_are_not_there_are_told_before_any_row() -> None:
    for task, settings, columns in (
        (ONE, {}, ["body"]),
        (ONE, {"columns": "text=body"}, ["text", "input"]),
        (ONE, {"keep": "id"}, ["text"]),
        (PAIR, {}, ["premise"]),
    ):
        with pytest.raises(SettingsError, match=r"^rows\.jsonl: there is no '"):
            maker(task, **settings).check_columns(columns)
    maker(ONE, keep="id").check_columns(["input", "id"])
    maker(ONE, columns="text=body").check_columns(["body"])
    maker(ONE, columns="text=body.text").check_columns(["body"])


def test_what_is_kept_is_json() -> None:
    row = {"text": "a", "id": 7, "day": date(2026, 1, 2), "none": float("nan"), "more": {"b": [1]}}
    kept = maker(ONE, keep="id,day,none,absent,more").kept(row)
    assert kept == {
        "row": {"id": 7, "day": "2026-01-02", "none": None, "absent": None, "more": {"b": [1]}}
    }
    assert maker(ONE).kept(row) == {}
    assert maker(ONE, keep="id").kept("a text") == {}
    with pytest.raises(ServiceError, match="cannot be kept"):
        maker(ONE, keep="id").kept({"id": "\ud800"})


def test_only_the_columns_that_matter_are_wanted() -> None:
    assert maker(ONE, keep="id").wanted == {"text", "input", "id"}
    assert maker(ONE, columns="text=body").wanted == {"body"}
    assert maker(ONE, columns="text=body.text").wanted == {"body", "body.text"}


async def predict(engine: Engine, text: str) -> Any:
    return await engine.predict(PredictRequest(text, explain=True))


def test_a_record_is_the_answer_less_what_neighbours_change(engine: Engine) -> None:
    prediction = asyncio.run(predict(engine, "Ann has 3 apples."))
    record = answer_record(5, {"row": {"id": 7}}, prediction)
    assert record.endswith(b"}\n")
    usage = prediction.usage
    assert json.loads(record) == {
        "line": 5,
        "row": {"id": 7},
        "label": prediction.label,
        "confidence": prediction.confidence,
        "answer": prediction.answer,
        "scores": [{"label": prediction.label, "score": prediction.confidence}],
        "rationale": prediction.rationale,
        "usage": {
            "input_tokens": usage.input_tokens,
            "label_tokens": usage.label_tokens,
            "rationale_tokens": usage.rationale_tokens,
            "truncated": False,
        },
    }


def test_an_error_has_the_shape_that_it_has_over_http() -> None:
    record = json.loads(error_record(3, {}, TooManyTokens("too long")))
    assert record == {"line": 3, "error": "too long", "error_type": "too_many_tokens"}
    hidden = json.loads(error_record(3, {}, RuntimeError("secret")))
    assert hidden["error_type"] == "internal"
    assert "secret" not in hidden["error"]
