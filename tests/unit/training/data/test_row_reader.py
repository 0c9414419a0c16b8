from typing import Any

import pytest

from tasks.builtin import TASKS
from tasks.columns import Columns
from tasks.task import Task
from training.data.row import DataError, Row
from training.data.row_reader import RowReader

SVAMP, CQA = TASKS["svamp"], TASKS["cqa"]
PAIR = Task(name="pair", fields=["a", "b"], template="{{a}}</s>{{b}}")
PLACE = "rows.jsonl, line 1"


def read(task: Task, columns: Columns, values: dict[str, Any], *, labelled: bool = True) -> Row:
    return RowReader(task, columns).read(PLACE, values, labelled=labelled)


def test_choices_are_read_and_hold_the_label() -> None:
    values: dict[str, Any] = {
        "input": {"question": "What?", "choices": ["pen", " ink "]},
        "label": "ink",
    }
    assert read(CQA, {}, values).input == {"question": "What?", "choices": ["pen", "ink"]}
    for changes, complaint in (
        ({"label": "nib"}, "the label 'nib' is not one of pen, ink"),
        ({"teacher_label": "nib"}, "the label 'nib' is not one of pen, ink"),
        ({"input": {"question": "What?", "choices": "pen"}}, 'a list of texts under "choices"'),
        ({"input": {"question": "What?", "choices": []}}, 'a list of texts under "choices"'),
        ({"input": {"question": "What?", "choices": [""]}}, 'a non-empty text under "choices"'),
        ({"input": "What?"}, 'line 1: no "question"; there is input, label'),
    ):
        with pytest.raises(DataError, match=complaint):
            read(CQA, {}, values | changes)


def test_choices_stand_in_several_columns_or_within_one() -> None:
    values = {"question": "What?", "x": "pen", "y": "ink", "z": None, "label": "ink"}
    row = read(CQA, {"choices": ["x", "y", "z"]}, values)
    assert row.input == {"question": "What?", "choices": ["pen", "ink"]}
    values = {"question": "What?", "choices": {"text": ["pen", "ink"]}, "label": "ink"}
    row = read(CQA, {"choices": "choices.text"}, values)
    assert row.input == {"question": "What?", "choices": ["pen", "ink"]}


def test_the_column_that_is_wrong_is_named() -> None:
    for columns, values, column, found in (
        ({}, {"input": 3}, "input", "3"),
        ({"text": "question"}, {"question": " "}, "question", "' '"),
        ({}, {"text": "a", "rationale": ["b", None]}, "rationale", "None"),
        ({"label": "gold"}, {"text": "a", "gold": 2.5}, "gold", "2.5"),
    ):
        with pytest.raises(DataError) as error:
            read(SVAMP, columns, values, labelled=False)
        assert str(error.value) == (
            f'{PLACE}: expected a non-empty text under "{column}", found {found}'
        )
    mapped: Columns = {"choices": ["x", "y"]}
    with pytest.raises(DataError, match=r'expected a non-empty text under "x, y", found 3$'):
        read(CQA, mapped, {"question": "What?", "x": "pen", "y": 3}, labelled=False)


def test_a_label_may_be_an_integer_or_a_boolean() -> None:
    for value, label in ((0, "0"), (17, "17"), (True, "true"), (False, "false")):
        row = read(SVAMP, {}, {"text": "a", "label": value, "teacher_label": value})
        assert (row.label, row.teacher_label) == (label, label)


def test_a_label_may_be_needed() -> None:
    assert read(PAIR, {}, {"a": "x", "b": "y"}, labelled=False).label is None
    assert read(PAIR, {}, {"a": "x", "b": "y", "label": None}).label is None
    complaint = 'no "label"; there is a, b; if its name is another, name it by data.columns of the'
    with pytest.raises(DataError, match=f"line 1: {complaint} recipe$"):
        read(PAIR, {}, {"a": "x", "b": "y"})


def test_a_field_named_as_an_output_is_refused() -> None:
    task = Task(name="t", fields=["label"], template="{{label}}")
    with pytest.raises(DataError, match="'label' is the name of an output"):
        RowReader(task, {})
