"""The sentences of reports at the extremes: they claim no more than the rows show."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tasks.task import Task
from tests.support.prediction_records import open_records
from training.evaluation.comparison import compare
from training.evaluation.estimate import Estimate
from training.evaluation.evaluation import evaluate
from training.evaluation.record import Record
from training.reports.comparison_page import comparison_page
from training.reports.evaluation_page import evaluation_page
from training.reports.page import Headline, Page, Table, interval, interval_text

TASK = Task(name="t", fields=["text"], template="{{text}}")
RUN = {
    "model": {"source": "m", "name": "m", "version": "1", "checksum": "0"},
    "data": {"source": "d", "rows": "1", "sha256": "0"},
}
NOTHING = Table(("",), [])


def verdict(records: Sequence[Record]) -> list[str]:
    return [*evaluation_page(RUN, evaluate(records, TASK), NOTHING).verdict]


def compared(a: Sequence[Record], b: Sequence[Record]) -> Page:
    evaluations = [(RUN, evaluate(records, TASK)) for records in (a, b)]
    return comparison_page(compare(a, b), evaluations[0], evaluations[1], [], NOTHING)


def test_rows_that_are_training_rows_too_are_the_first_limit() -> None:
    run = RUN | {"data": RUN["data"] | {"warning": "3 of 8 test rows are training rows too"}}
    records = open_records([0.9, 0.8], [1, 0])
    found = evaluate(records, TASK)
    told = "3 of 8 test rows are training rows too."
    assert evaluation_page(run, found, NOTHING).limits[0] == told
    both = compare(records, records)
    for a, b in ((run, run), (RUN, run)):  # once
        limits = comparison_page(both, (a, found), (b, found), [], NOTHING).limits
        assert [line for line in limits if "training rows" in line] == [told]
        assert limits[0] == told
    assert told not in evaluation_page(RUN, found, NOTHING).limits


@pytest.mark.parametrize(
    ("rows", "doubt", "accuracy", "gap"),
    [
        (40, 0.0, "40 rows (95 % interval 91.2 % to 100.0 %)", "a gap of 0.0 points"),
        (40, 0.0005, "40 rows (95 % interval 91.2 % to 100.0 %)", "a gap of −0.1 points"),
        (10_000, 1e-4, "10000 rows (95 % interval 99.96 % to 100.00 %)", "a gap of 0.0 points"),
        (1, 0.1, "1 row (95 % interval 20.7 % to 100.0 %)", "too few rows to tell"),
        (2, 0.1, "2 rows (95 % interval 34.2 % to 100.0 %)", "a gap of −9.9 points"),
    ],
)
@pytest.mark.parametrize("right", [1, 0])
def test_a_model_that_is_always_right_or_wrong(
    right: int, rows: int, doubt: float, accuracy: str, gap: str
) -> None:
    doubts = np.random.default_rng(0).uniform(0.9 * doubt, 1.1 * doubt, rows)
    first, second, _ = verdict(open_records(np.abs(right - doubts), [right] * rows))
    if right:
        assert first == f"The model is right on 100.0 % of {accuracy}."
        assert gap in second
    else:
        assert first.startswith(f"The model is right on 0.0 % of {accuracy.split(' (')[0]} (")
    assert "confident" not in second.replace("confidence", "")
    assert "100.0 % to 100.0 %" not in first + second
    assert "0.0 % to 0.0 %" not in first + second
    assert "0.0 to 0.0" not in second


def test_a_model_that_is_really_too_unsure() -> None:
    _, second, _ = verdict(open_records([0.8] * 40, [1] * 40))
    assert second == (
        "It is underconfident: its mean confidence is 80.0 %, 20.0 points too low (95 % interval "
        "11.2 to 20.0)."
    )


def test_rows_of_groups_are_worth_less() -> None:
    records = open_records([0.8] * 42, [1] * 42)
    grouped = [replace(one, cluster=str(one.index // 6)) for one in records]
    first, second, _ = verdict(grouped)
    assert first == "The model is right on 100.0 % of 42 rows (95 % interval 64.6 % to 100.0 %)."
    assert "do not show that it is too high or too low" in second  # as Wilson's of 7 rows is


def test_two_perfect_models() -> None:
    a, b = (open_records([confidence] * 40, [1] * 40) for confidence in (0.999, 0.9))
    page = compared(a, b)
    assert page.headline == Headline(
        "No significant difference", "in accuracy: 0.0 points, A less B", "words"
    )
    assert page.verdict == [
        "A and B give the same label on each of the 40 rows.",
        "These rows cannot show whether one is better calibrated.",
    ]
    assert page.sections[0].tables[0].rows == [
        ("right, points", "0.0", "−8.8 … +8.8"),
        ("ECE", "−0.099", "–"),
        ("Brier score", "−0.010", "–"),
    ]


@pytest.mark.parametrize(
    ("rows", "begin"),
    [
        (1, "This row does not show that one model is right more often: "),
        (2, "These 2 rows do not show that one model is right more often: "),
        (40, "A is right more often than B on 40 rows: "),
    ],
)
def test_one_model_is_always_right_and_the_other_never(rows: int, begin: str) -> None:
    a, b = (open_records([0.9] * rows, [right] * rows) for right in (1, 0))
    (first, *_) = compared(a, b).verdict
    assert first.startswith(f"{begin}the difference of A less B is +100.0 points of accuracy")


def test_a_verdict_needs_both_the_test_and_the_interval() -> None:
    """6 rows of 240 that only A has right: p = 0.03."""
    a = open_records([0.9] * 240, [1] * 240)
    b = open_records([0.9] * 240, [0] * 6 + [1] * 234)
    (first, *_) = compared(a, b).verdict
    assert first.startswith("A is right more often than B on 240 rows: ")
    assert "+2.5 points of accuracy (95 % interval +0.9 to +5.3; p = 0.031)" in first


@pytest.mark.parametrize(
    ("low", "high", "kind", "text"),
    [
        (0.9996, 1.0, "%", "99.96 % … 100.00 %"),
        (0.0, 0.00002, "%", "0.000 % … 0.002 %"),
        (0.5, 0.6, "%", "50.0 % … 60.0 %"),
        (-0.00004, 0.0004, "+3", "0.0000 … +0.0004"),
        (5.0, 5.0, "2", "–"),
    ],
)
def test_bounds_have_the_decimals_that_they_need(
    low: float, high: float, kind: str, text: str
) -> None:
    assert interval(Estimate(0.5, low, high), kind) == text


def test_a_mean_of_equal_scores_has_no_interval() -> None:
    assert interval_text(Estimate(5.0, 5.0, 5.0), "2") == ", the same on every row"


@pytest.mark.parametrize(("wrong", "shown"), [(0, False), (5, True), (20, False)])
def test_correlations_are_shown_where_there_are_any(wrong: int, shown: bool) -> None:
    records = [
        replace(one, rationale=f"It has {one.index}.", reference=f"It has {one.index % 7}.")
        for one in open_records([0.8] * 20, [0] * wrong + [1] * (20 - wrong))
    ]
    tables = evaluation_page(RUN, evaluate(records, TASK), NOTHING).sections[-1].tables
    assert any(table.head[0] == "correlation with being right" for table in tables) == shown
