import random

import pytest

from examples.word_problems.equations import Teacher, equation, label, letters, solved, value_of
from tasks.equations import evaluate_equation

NUMBERS = {"a": 84, "b": 2, "c": 5}


def test_labels_are_as_in_distilling_step_by_step() -> None:
    assert label(equation("( a + b ) * c"), NUMBERS) == "( ( 84.0 + 2.0 ) * 5.0 )"
    assert label(equation("a / 7"), NUMBERS) == "( 84.0 / 7.0 )"
    assert value_of(equation("( a + b ) * c"), NUMBERS) == 430


def test_the_teacher_says_nothing_twice() -> None:
    teacher = Teacher(NUMBERS)
    assert teacher.state(equation("a+b")) == "84 + 2 = 86"
    assert teacher.state(equation("(a+b)*c")) == "86 * 5 = 430"
    assert teacher.state(equation("(a+b)*c-(a-b)")) == "430 - ( 84 - 2 ) = 348"


@pytest.mark.parametrize(
    "text", ["a - b", "( a - b ) / c", "c / ( a - b )", "( a * b ) / c", "( c / a ) - b"]
)
def test_numbers_come_out_even(text: str) -> None:
    tree, rng = equation(text), random.Random(0)
    used = letters(tree) | {"d"}
    found = [solved(tree, used, lambda numbers: numbers["d"] > 9, rng) for _ in range(100)]
    numbers = [one for one in found if one is not None]
    assert len(numbers) > 50
    for one in numbers:
        value = evaluate_equation(label(tree, one))
        assert value is not None
        assert value > 0
        assert value == int(value)
        assert len({*one.values(), value}) == 1 + len(used)
        assert one["d"] > 9


@pytest.mark.parametrize("text", ["a **", "a ** b", "a // b"])
def test_what_is_no_equation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"equation|known"):
        equation(text)
