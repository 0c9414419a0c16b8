"""The survey of rows draws its sample from all rows."""

import pytest

from training.data.row import DataError
from training.start.survey import SAMPLE, survey_rows


def test_the_sample_is_drawn_from_all_rows() -> None:
    rows = 3 * SAMPLE
    survey = survey_rows(
        "s", ((str(row), {"n": row, "late": row >= SAMPLE}) for row in range(rows))
    )
    assert survey.rows == rows
    drawn = survey.columns["n"].values
    assert len(set(drawn)) == SAMPLE
    # two thirds of the rows, within five standard deviations
    assert survey.columns["late"].counts[True] == pytest.approx(SAMPLE * 2 / 3, abs=5 * 47)


def test_rows_may_have_different_columns() -> None:
    survey = survey_rows("s", [("1", {"a": "x"}), ("2", {"b": {"c": ["y"]}}), ("3", {"a": ""})])
    assert {name: column.values for name, column in survey.columns.items()} == {
        "a": ["x", None, ""],
        "b.c": [None, ["y"], None],
    }
    assert survey.columns["a"].missing == pytest.approx(2 / 3)
    assert survey.columns["b.c"].holds_lists


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError, match=r"^rows.csv: there are no rows$"):
        survey_rows("rows.csv", [])
