import numpy as np
import pytest

from tasks.task import Task
from tests.support.prediction_records import open_records
from training.evaluation.comparison import compare
from training.evaluation.evaluation import evaluate
from training.reports.comparison_page import comparison_page
from training.reports.page import Headline, Page, Table

TASK = Task(name="open", fields=["text"], template="{{text}}")


def compared(both: int, only_a: int, only_b: int, neither: int) -> Page:
    counts = (both, only_a, only_b, neither)
    a, b = (
        open_records([0.5] * sum(counts), np.repeat(right, counts))
        for right in ([1, 1, 0, 0], [1, 0, 1, 0])
    )
    sides = [
        ({"model": {"source": name}, "data": {"source": "rows"}}, evaluate(records, TASK))
        for name, records in (("a", a), ("b", b))
    ]
    return comparison_page(compare(a, b), *sides, cases=[], reproduce=Table(("", ""), []))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (
            (40, 20, 3, 37),
            Headline("+17.0 points", "of accuracy: A is right more often than B", "better"),
        ),
        (
            (40, 3, 20, 37),
            Headline("−17.0 points", "of accuracy: A is right less often than B", "worse"),
        ),
        (
            (45, 3, 5, 47),
            Headline("No significant difference", "in accuracy: −2.0 points, A less B", "words"),
        ),
        (
            (0, 2, 0, 1),
            Headline("No significant difference", "in accuracy: +66.7 points, A less B", "words"),
        ),
        (
            (100, 0, 0, 0),
            Headline("No significant difference", "in accuracy: 0.0 points, A less B", "words"),
        ),
        (
            (0, 6, 0, 0),
            Headline("+100.0 points", "of accuracy: A is right more often than B", "better"),
        ),
    ],
)
def test_only_a_significant_difference_is_better_or_worse(
    counts: tuple[int, int, int, int], expected: Headline
) -> None:
    assert compared(*counts).headline == expected


def test_one_row() -> None:
    headline = compared(0, 1, 0, 0).headline
    assert headline.kind == "words"
    assert "points" not in headline.text


@pytest.mark.parametrize("counts", [(40, 20, 3, 37), (40, 3, 20, 37), (45, 3, 5, 47)])
def test_the_headline_says_what_the_verdict_says(counts: tuple[int, int, int, int]) -> None:
    page = compared(*counts)
    beginning = {
        "better": "A is right more often than B on 100 rows: ",
        "worse": "B is right more often than A on 100 rows: ",
        "words": "These 100 rows do not show that one model is right more often: ",
    }
    assert page.verdict[0].startswith(beginning[page.headline.kind])
