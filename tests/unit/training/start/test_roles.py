"""What the columns of rows are: the input, the label, the rationale, or nothing."""

from typing import Any

import pytest

from training.data.row import DataError
from training.start.roles import Roles, guess_roles
from training.start.survey import survey_rows

WORDS = [
    *("The", "clerk", "at", "this", "desk", "was"),
    *("slow", "and", "my", "bag", "came", "very", "late"),
]


def text(row: int) -> str:
    return f"{WORDS[row % 13]} {WORDS[row % 11]} {WORDS[row % 7]}, row {row}"


def roles(columns: dict[str, Any], rows: int = 100, **given: Any) -> Roles:
    """The roles of columns; a function gives each row's value, a list repeats."""

    def value(column: Any, row: int) -> Any:
        if callable(column):
            return column(row)
        return column[row % len(column)] if isinstance(column, list) else column

    made = [{name: value(one, row) for name, one in columns.items()} for row in range(rows)]
    survey = survey_rows(
        "rows.jsonl", [(f"rows.jsonl, line {n}", row) for n, row in enumerate(made, 1)]
    )
    return guess_roles(survey, **given)


def test_names_tell_labels_and_rationales() -> None:
    found = roles(
        {
            "Review Text": text,
            "Gold Label": ["good", "bad"],
            "teacher_label": ["good", "bad", "good"],
            "agreement": [1.0, 0.6],
            "explanation_1": lambda row: f"The {WORDS[row % 13]} says it.",
            "explanation_2": lambda row: f"So says the {WORDS[row % 11]}.",
        }
    )
    assert found.fields == {"review_text": "Review Text"}
    assert (found.label, found.teacher_label) == ("Gold Label", "teacher_label")
    assert found.rationale == ["explanation_1", "explanation_2"]
    assert found.dropped == {}


def test_a_column_of_few_short_values_is_the_label() -> None:
    found = roles({"message": text, "mood": ["glad", "sad", "cross"]})
    assert (found.label, list(found.fields), found.rationale) == ("mood", ["message"], [])


def test_what_is_no_input_is_named_with_the_reason() -> None:
    found = roles(
        {
            "ticket_id": lambda row: f"T{row}",
            "hash": lambda row: f"{row * 7919:x}0",
            "scan": lambda row: f"scan-{row // 2}",
            "url": lambda row: f"https://example.com/{row}",
            "created": lambda row: f"2024-05-{row % 28 + 1:02} 10:00:00",
            "price": lambda row: f"{row}.50",
            "age": lambda row: row,
            "paid": [True, False, True],
            "tags": [["a"], ["b"], ["a", "b"]],
            "country": ["NO", "DE", "FR", "IT", "ES", "PT"],
            "source": "mail",
            "note": lambda row: text(row) if row % 3 else None,
            "void": None,
            "ticket": text,
            "label": ["how-to", "outage"],
            "label_id": [4, 9],
        }
    )
    assert list(found.fields) == ["ticket"]
    assert found.dropped == {
        "ticket_id": "ids",
        "hash": "ids",
        "scan": "ids",
        "url": "addresses",
        "created": "times",
        "price": "numbers",
        "age": "numbers",
        "paid": "true or false",
        "tags": "lists",
        "country": "one of 6 words",
        "source": "the same in every row",
        "note": "missing in 34% of the rows",
        "void": "empty",
        "label_id": "numbers",
    }


def test_a_text_that_gives_the_label_away_is_no_input() -> None:
    long = ["This is one of the happy ones", "This is one of the sad ones"]
    found = roles({"message": text, "label": ["glad", "sad"], "about": long})
    assert list(found.fields) == ["message"]
    assert found.dropped == {"about": "it says the same as label"}


def test_the_name_of_a_label_goes_before_its_number() -> None:
    found = roles({"message": text, "label": [0, 1], "label_text": ["glad", "sad"]})
    assert found.label == "label_text"
    assert found.dropped == {"label": "numbers"}
    assert roles({"message": text, "label": [0, 1]}).label == "label"


def test_values_within_objects_are_columns() -> None:
    found = roles(
        {
            "input": lambda row: {"premise": text(row), "hypothesis": text(row + 5)},
            "label": ["yes", "no"],
        }
    )
    assert found.fields == {"premise": "input.premise", "hypothesis": "input.hypothesis"}


@pytest.mark.parametrize("together", [True, False])
def test_choices_are_found_by_the_label_among_them(together: bool) -> None:
    def choices(row: int) -> list[str]:
        return [WORDS[row % 13], WORDS[(row + 1) % 13], WORDS[(row + 2) % 13]]

    columns: dict[str, Any] = {"question": text, "answer": lambda row: choices(row)[row % 3]}
    if together:
        columns["options"] = choices
    else:
        for place in range(3):
            columns[f"option_{place}"] = lambda row, place=place: choices(row)[place]
    found = roles(columns)
    expected = ["options"] if together else ["option_0", "option_1", "option_2"]
    assert (found.choices, list(found.fields), found.label) == (expected, ["question"], "answer")
    assert found.dropped == {}


def test_the_teachers_labels_are_learnt_where_there_are_no_others() -> None:
    found = roles({"message": text, "teacher_label": ["glad", "sad"], "rationale": text})
    assert (found.label, found.learn_teacher, found.teacher_label) == ("teacher_label", True, None)


def test_flags_go_before_guesses() -> None:
    columns = {"message": text, "title": text, "label": ["a", "b"], "mood": ["x", "y", "z"]}
    columns["reason"] = text
    found = roles(columns, label="mood", fields=["title", "label"], rationale=[])
    assert (found.label, found.rationale) == ("mood", [])
    assert found.fields == {"title": "title", "label_text": "label"}
    assert found.dropped == {"message": "not among --fields", "reason": "not among --fields"}


@pytest.mark.parametrize(
    ("columns", "given", "complaint"),
    [
        (
            {"message": text, "category": ["a", "b"], "sentiment": ["x", "y", "z"]},
            {},
            "rows.jsonl: the label may be category, sentiment; choose by --label",
        ),
        ({"message": text}, {}, "no column looks like a label; name it by --label. There is mess"),
        ({"m": text, "label": lambda row: row / 7}, {}, "name it by --label"),
        ({"m": text, "score": lambda row: row / 7}, {"label": "score"}, "'score', is not a text"),
        (
            {"m": text, "label": ["a", "b"]},
            {"label": "mood"},
            "--label: rows.jsonl has no column 'mood",
        ),
        ({"m": text, "label": ["a", "b"]}, {"fields": ["x"]}, "--fields: rows.jsonl has no column"),
        ({"m": text, "label": ["a", "b"]}, {"rationale": ["x"]}, "--rationale: rows.jsonl has no"),
        ({"n": [1, 2], "label": ["a", "b"]}, {"fields": ["n"]}, "'n' does not hold a text in each"),
        (
            {"m": text, "label": ["a", "b"], "rationale": text, "why": text},
            {},
            "the rationale may be rationale, why; choose by --rationale",
        ),
        (
            {"id": lambda row: f"r{row}", "label": ["a", "b"]},
            {},
            "no column looks like a text to read (id: ids); name the fields by --fields",
        ),
    ],
)
def test_an_arbitrary_guess_is_not_made(
    columns: dict[str, Any], given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(DataError) as error:
        roles(columns, **given)
    assert complaint in str(error.value)
