"""Closed sets, equations and free text are told apart by the labels of all rows."""

from tests.support.seeded_rows import make_rows
from tests.support.simple_problems import problem
from training.data.row import Row
from training.start.labels import count_labels


def rows(labels: list[str], teacher: list[str] | None = None) -> list[Row]:
    said = teacher or [None] * len(labels)
    return [Row("r", {"t": "x"}, *pair) for pair in zip(labels, said, strict=True)]


def test_a_few_labels_that_repeat_are_a_closed_set() -> None:
    labels = count_labels(rows(["a"] * 9 + ["b"] * 3), learn_teacher=False)
    assert (labels.closed, labels.all) == (True, ["a", "b"])
    assert not count_labels(rows(["a", "b", "c", "a"]), learn_teacher=False).closed
    many = [str(number) for number in range(300)] * 9
    assert not count_labels(rows(many), learn_teacher=False).closed


def test_the_set_knows_the_labels_of_people_and_of_the_teacher() -> None:
    found = rows(["a"] * 6 + ["b"] * 6, ["a"] * 6 + ["c"] * 6)
    assert count_labels(found, learn_teacher=False).all == ["a", "b", "c"]
    assert count_labels(found, learn_teacher=True).all == ["a", "c", "b"]


def test_labels_that_may_be_mistakes_are_found() -> None:
    many = ["loans"] * 105 + ["fees"] * 94 + ["laons"] * 3 + ["Fees"] + ["cards"] * 20
    labels = count_labels(rows([*many, "loans "]), learn_teacher=False)
    assert labels.rare == ["laons", "Fees", "loans "]
    assert labels.alike == [["loans", "loans "], ["fees", "Fees"]]
    few = count_labels(rows(["a"] * 9 + ["b"] * 3), learn_teacher=False)
    assert (few.rare, few.alike) == ([], [])


def test_equations_are_known_by_their_operations() -> None:
    made = [row["label"] for row in make_rows(problem, 50, seed=0)]
    assert count_labels(rows(made), learn_teacher=False).equations
    mixed = rows([*made[:40], *["unknown"] * 10, "x + 1"])
    assert not count_labels(mixed, learn_teacher=False).equations
    assert not count_labels(rows(["12", "-4", "3.5"]), learn_teacher=False).equations
