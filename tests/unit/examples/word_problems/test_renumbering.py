import random

import pytest

from examples.word_problems.renumbering import renumbered
from tasks.equations import evaluate_equation
from tasks.placeholders import MaskedNumbers
from training.evaluation.arithmetic import read_arithmetic
from training.student.files import Example

TEXT = "Ann had 15 pears and two boxes. She ate 6 pears and gave 3 away. How many are left?"
ROW = Example({"text": TEXT}, "( ( 15.0 - 6.0 ) - 3.0 )", "15 - 6 = 9 were left. So 9 - 3 = 6 are.")


def test_the_equation_holds_of_other_numbers() -> None:
    rng, values = random.Random(0), set()
    codec = MaskedNumbers(TEXT)
    for _ in range(200):
        other = renumbered(ROW, rng)
        assert other is not None
        text, rationale = other.input["text"], other.rationale
        assert isinstance(text, str)
        assert rationale is not None
        again = MaskedNumbers(text)
        assert again.text == codec.text
        assert again.mask_label(other.label) == "( ( n0 - n2 ) - n3 )"
        value = evaluate_equation(other.label)
        assert value is not None
        assert value > 0
        assert value == int(value)
        values.add(value)
        statements = read_arithmetic(rationale)[1]
        assert len(statements) == 2
        assert all(statement.true for statement in statements)
        assert rationale.endswith(f"= {value:g} are.") or value >= 1e6
    assert len(values) > 30


def test_a_row_without_a_rationale() -> None:
    other = renumbered(Example({"text": TEXT}, "( 15.0 / 3.0 )", None), random.Random(0))
    assert other is not None
    assert other.rationale is None
    assert evaluate_equation(other.label) == int(evaluate_equation(other.label) or 0.5)


@pytest.mark.parametrize(
    ("text", "label", "rationale"),
    [
        ("How are you?", "( 3.0 + 4.0 )", None),  # no numbers
        (TEXT, "several steps", None),  # no equation
        (TEXT, "( 99.0 - 7.0 )", None),  # of numbers that are not there
        (TEXT, "15.0", "It says so, on page 7."),  # a number that comes from nowhere
        (" ".join(map(str, range(100, 130))), "( 100.0 + 101.0 )", None),  # too many
    ],
)
def test_what_stays_as_it_is(text: str, label: str, rationale: str | None) -> None:
    assert renumbered(Example({"text": text}, label, rationale), random.Random(0)) is None


def test_two_texts_stay_as_they_are() -> None:
    row = Example({"premise": TEXT, "hypothesis": "It has 15 pears."}, "( 15.0 - 6.0 )", None)
    assert renumbered(row, random.Random(0)) is None
