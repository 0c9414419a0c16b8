from typing import Any

import pytest

from tasks.columns import ColumnMap, Columns, MissingColumn
from tasks.task import LabelField, Task

ONE = Task(name="one", fields=["text"], template="{{text}}")
PAIR = Task(name="pair", fields=["a", "b"], template="{{a}} {{b}}")
NAMED_INPUT = Task(name="input", fields=["input"], template="{{input}}")
CHOICES = Task(name="c", fields=["choices"], template="c", labels=LabelField(field="choices"))


@pytest.mark.parametrize(
    ("task", "columns", "row", "found"),
    [
        (ONE, {}, {"text": " a", "id": 1}, {"text": " a"}),
        (ONE, {}, {"input": "a", "label": "b"}, "a"),
        (ONE, {}, {"input": None}, None),
        (ONE, {}, {"input": "a", "text": "b"}, {"text": "b"}),
        (ONE, {}, {"input": {"text": 3}, "text": "b"}, {"text": 3}),
        (ONE, {"label": "gold"}, {"input": "a"}, "a"),
        (ONE, {"text": "body"}, {"body": "a", "input": "b"}, {"text": "a"}),
        (ONE, {"text": "body.en"}, {"body": {"en": "a"}}, {"text": "a"}),
        (ONE, {"text": "body.en"}, {"body.en": "a", "body": {"en": "b"}}, {"text": "a"}),
        (ONE, {"text": "body.en"}, {"body": "no object"}, {"text": None}),
        (PAIR, {}, {"input": {"a": "x", "b": "y"}, "a": "z"}, {"a": "x", "b": "y"}),
        (PAIR, {"b": "c"}, {"input": {"a": "x"}, "a": "z", "c": "y"}, {"a": "z", "b": "y"}),
        (NAMED_INPUT, {}, {"input": {"input": "a"}}, {"input": {"input": "a"}}),
        (
            CHOICES,
            {"choices": ["x", "y", "z"]},
            {"x": "a", "y": None, "z": "b"},
            {"choices": ["a", "b"]},
        ),
    ],
)
def test_fields_are_found(task: Task, columns: Columns, row: dict[str, Any], found: Any) -> None:
    map_ = ColumnMap(task, columns)
    assert map_.find_fields(row) == found
    map_.require_fields(list(row))
    assert row.keys() & map_.field_columns()


@pytest.mark.parametrize(
    ("task", "columns", "row", "column", "there"),
    [
        (ONE, {}, {}, "text", "nothing"),
        (PAIR, {}, {"a": "x", "c": "y"}, "b", "a, c"),
        (PAIR, {}, {"input": "x"}, "a", "input"),
        (PAIR, {}, {"input": {"a": "x"}, "b": "y"}, "b", "a"),
        (ONE, {"text": "body.en"}, {"text": "a"}, "body.en", "text"),
        (CHOICES, {}, {"input": ["a"]}, "choices", "input"),
        (CHOICES, {"choices": ["x", "y"]}, {"x": "a"}, "y", "x"),
    ],
)
def test_a_missing_column_is_named(
    task: Task, columns: Columns, row: dict[str, Any], column: str, there: str
) -> None:
    with pytest.raises(MissingColumn, match=f"^there is no '{column}', but {there}$") as error:
        ColumnMap(task, columns).find_fields(row)
    assert (error.value.column, error.value.there) == (column, there)


def test_columns_are_told_apart_before_any_row() -> None:
    ColumnMap(PAIR, {}).require_fields(["input"])
    ColumnMap(ONE, {"text": "body.en"}).require_fields(["body"])
    for columns, there in (({"text": "body"}, ["text", "input"]), ({}, ["body"])):
        with pytest.raises(MissingColumn):
            ColumnMap(ONE, columns).require_fields(there)


def test_what_a_row_tells_beside_its_fields_is_found() -> None:
    map_ = ColumnMap(ONE, {"rationale": ["why", "or"], "label": "gold"})
    row = {"why": None, "or": "so", "gold": "1"}
    assert [map_.find(name, row) for name in ("rationale", "label", "other")] == [["so"], "1", None]
    assert map_.columns_of("rationale") == ["why", "or"]
    with pytest.raises(MissingColumn, match="'other'"):
        map_.require("other", row)
