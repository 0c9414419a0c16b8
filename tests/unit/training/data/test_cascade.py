from training.data.cascade import conclude
from training.student.files import Example


def test_a_rationale_concludes_with_the_answer() -> None:
    example = Example({"text": "Ann has 3 pens and 4 more."}, "( 3 + 4 )", "She has both.")
    concluded = conclude(example)
    assert concluded.rationale == "She has both. So the answer is ( 3 + 4 )."
    assert (concluded.input, concluded.label) == (example.input, example.label)


def test_without_a_rationale_there_is_nothing_to_conclude() -> None:
    example = Example({"text": "Ann has 3 pens."}, "3", None)
    assert conclude(example) == example
