import pytest

from tasks.builtin import TASKS
from training.data.filters import filter_rows
from training.data.load_report import LoadReport
from training.data.row import DataError, Row
from training.data.sources import Filters

SVAMP = TASKS["svamp"]


def row(place: str, text: str = "How many?", label: str = "1 + 1", **rest: object) -> Row:
    return Row(place, {"text": text}, label, **rest)


def kept(rows: list[Row], labels: str = "gold", **filters: object) -> tuple[list[Row], LoadReport]:
    report = LoadReport("rows.csv")
    return filter_rows(rows, Filters(**filters), SVAMP, report, labels=labels, seed=1), report


def test_without_filters_all_rows_stay() -> None:
    rows = [row("a"), row("b")]
    assert kept(rows)[0] == rows


def test_rows_whose_teacher_is_right() -> None:
    rows = [
        row("a", teacher_label="4 - 2", rationales=("so",)),
        row("b", teacher_label="4 - 1", rationales=("so", "thus")),
        row("c"),
    ]
    left, report = kept(rows, teacher_correct="row")
    assert left == rows[:1]
    assert (report.dropped, report.without_rationale) == (2, 0)
    assert report.reasons == {
        "row whose teacher_label is wrong": 1,
        "row without a teacher_label to judge": 1,
    }
    left, report = kept(rows, teacher_correct="rationale")
    assert [(one.place, one.rationales) for one in left] == [("a", ("so",)), ("b", ()), ("c", ())]
    assert (report.dropped, report.without_rationale) == (0, 1)
    assert report.reasons == {"row whose teacher_label is wrong: rationale left out": 1}
    with pytest.raises(DataError, match="no row has a teacher_label"):
        kept([row("a")], teacher_correct="row")


def test_long_inputs_and_long_rationales() -> None:
    rows = [row("a", "12345"), row("b", "123456"), row("c", "1", rationales=("1234", "12345"))]
    left, report = kept(rows, max_input_characters=5, max_rationale_characters=4)
    assert [(one.place, one.rationales) for one in left] == [("a", ()), ("c", ("1234",))]
    assert (report.dropped, report.without_rationale) == (1, 0)
    assert report.reasons == {
        "input over 5 characters": 1,
        "rationale over 4 characters: left out": 1,
    }


def test_of_the_same_inputs_the_first_stays_and_conflicts_are_told() -> None:
    rows = [
        row("a"),
        row("b", "Which?"),
        row("rows.csv, line 4", " How\r\n  many?\n", "4 - 2"),
        row("rows.csv, line 5", label="3"),
    ]
    left, report = kept(rows, duplicates=True)
    assert left == rows[:2]
    assert "1 × duplicate input (first: line 4)" in str(report)
    assert "1 × duplicate input, another label (first: line 5)" in str(report)


def test_rows_that_the_samples_agree_on() -> None:
    rows = [row("a", agreement=0.6), row("b", agreement=0.4), row("c")]
    left, report = kept(rows, min_agreement=0.6)
    assert left == rows[:1]
    assert report.reasons == {"row with an agreement below 0.6": 1, "row without an agreement": 1}
    with pytest.raises(DataError, match="no row has an agreement"):
        kept([row("a")], min_agreement=0.5)


def test_rationales_that_repeat_a_prompt() -> None:
    rows = [row("a", rationales=("Because.", "BECAUSE of Q: how")), row("b", rationales=("q: no",))]
    left, report = kept(rows, leaks=["Q:", "Answer Choices"])
    assert [(one.place, one.rationales) for one in left] == [("a", ("Because.",)), ("b", ())]
    assert (report.dropped, report.without_rationale) == (0, 1)
    assert report.reasons == {"rationale with a text of filters.leaks: left out": 2}


def test_no_label_has_more_rows_than_it_may() -> None:
    rows = [row(str(n), label="1 + 1" if n % 4 else "2 * 3", teacher_label="5") for n in range(12)]
    left, report = kept(rows, max_per_label=4)
    assert [one.label for one in left].count("2 * 3") == 3
    assert [one.label for one in left].count("1 + 1") == 4
    assert [int(one.place) for one in left] == sorted(int(one.place) for one in left)
    assert left != [*rows[:6], rows[8]]  # drawn, and not the first ones
    assert report.reasons == {"row beyond 4 of its label": 5}
    left, _ = kept(rows, "teacher", max_per_label=4)
    assert len(left) == 4
