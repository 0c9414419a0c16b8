from pathlib import Path

import pytest

from tasks.builtin import TASKS
from tasks.task import Task
from tests.support.rationale_records import record
from training.data.dss import load_dss
from training.data.sources import DssSource
from training.evaluation.faithfulness import Faithfulness, faithfulness

CQA, NLI = TASKS["cqa"], TASKS["esnli"]
CHOICES = ["wooded area", "club", "head north", "heading north", "gift shop", "shop"]


def measured(rationale: str, **rest: object) -> Faithfulness:
    found = faithfulness(record(rationale, **rest), rest.get("task", TASKS["svamp"]))
    assert found is not None
    return found


def chosen(rationale: str) -> str | None:
    fields = {"question": "Where?", "choices": CHOICES}
    return measured(rationale, task=CQA, input=fields, gold="club").conclusion


def test_a_faithful_rationale() -> None:
    found = measured("Ada had 3 red apples. Ben gave her 4 more. 3 + 4 = 7. Ada has 7 apples.")
    assert found == Faithfulness(
        conclusion="3 + 4",
        agrees=True,
        concludes_gold=True,
        statements=1,
        true_statements=1,
        input_numbers_used=1,
        numbers_grounded=1,
        input_words_used=1,  # Ada, red, apples, Ben, gave
        input_names_used=1,
        names_grounded=1,
        words=17,
        repetition=0,
        distinct_1=12 / 17,  # Ada, apples, 3, 4 and 7 stand twice
        distinct_2=1,
    )
    assert found.sound is True


def test_no_rationale_no_measure() -> None:
    assert faithfulness(record(None), TASKS["svamp"]) is None
    empty = measured("")
    assert (empty.conclusion, empty.words, empty.repetition, empty.distinct_1) == (None, 0) + (
        None,
    ) * 2
    assert (empty.numbers_grounded, empty.input_numbers_used, empty.sound) == (None, 0, None)


@pytest.mark.parametrize(
    ("rationale", "conclusion", "agrees"),
    [
        ("3 + 4 = 7.", "3 + 4", True),
        ("4 + 3 = 7.", "4 + 3", True),  # by value
        ("3 + 4 = 8.", "3 + 4", True),  # a false statement, but no disagreement
        ("4 - 3 = 1.", "4 - 3", False),
        ("3 + 4 = 7. But 7 - 4 = 3.", "7 - 4", False),
        ("4 - 3 = 1. The answer is (3 + 4).", "( 3 + 4 )", True),
        ("4 - 3 = 1. The answer is 7 apples.", "7", True),
        ("So she has 7 apples.", "7", True),
        ("So she has 8 apples.", "8", False),
        ("She has 7 apples.", None, None),  # a fact or a conclusion, who knows
    ],
)
def test_arithmetic_concludes_by_value(
    rationale: str, conclusion: str | None, agrees: bool | None
) -> None:
    found = measured(rationale)
    assert (found.conclusion, found.agrees) == (conclusion, agrees)


def test_the_predicted_and_the_gold_label_are_judged_apart() -> None:
    lucky = measured("4 - 3 = 1", label="( 3 + 4 )")
    assert (lucky.agrees, lucky.concludes_gold, lucky.sound) == (False, False, False)
    reverse = measured("3 + 4 = 7", label="( 4 - 3 )")
    assert (reverse.agrees, reverse.concludes_gold, reverse.sound) == (False, True, True)
    wrong_sum = measured("3 + 4 = 8")
    assert (wrong_sum.agrees, wrong_sum.true_statements, wrong_sum.sound) == (True, 0, False)
    assert measured("3 + 4 = 7", label="( 3 +").agrees is False


@pytest.mark.parametrize(
    ("rationale", "conclusion"),
    [
        ("Of the above choices, only wooded areas have them.", "wooded area"),
        ("Beavers like a club. So the answer is (a) wooded area.", "wooded area"),
        ("One dances there. The answer is club.", "club"),
        ("One dances there. The answer is: clubs", "club"),
        ("The answer is club.", None),  # no reason, and so no conclusion
        ("Of the above choices, only heading north is a goal.", "heading north"),
        ("Of these, a gift shop is the best.", "gift shop"),  # and not a shop
        ("In a club one sits. Only shops sell.", "shop"),
        ("It is a club, not a shop.", "club"),
        ("It is not a club.", None),
        ("It is a club or a shop.", None),
        ("It could be anything.", None),
        ("", None),
    ],
)
def test_choices_are_concluded_by_name(rationale: str, conclusion: str | None) -> None:
    assert chosen(rationale) == conclusion


@pytest.mark.parametrize(
    ("rationale", "conclusion"),
    [
        ("So this entails it.", "entailment"),
        ("It contradicts the premise.", "contradiction"),
        ("This doesn't necessarily entail killing. So the answer is neutral.", "neutral"),
        ("This does not contradict it.", None),
        ("A man sleeps.", None),
    ],
)
def test_labels_are_concluded_by_their_stems(rationale: str, conclusion: str | None) -> None:
    fields = {"premise": "A man sleeps.", "hypothesis": "A man is awake."}
    found = measured(rationale, task=NLI, input=fields, gold="neutral", label="entailment")
    assert found.conclusion == conclusion
    assert found.agrees == (None if conclusion is None else conclusion == "entailment")
    assert found.concludes_gold == (None if conclusion is None else conclusion == "neutral")


def test_an_open_label_is_what_the_answer_is_said_to_be() -> None:
    task = Task(name="capitals", fields=["text"], template="{{text}}")
    fields = {"text": "The capital of France?"}
    found = measured("Well known. The answer is Paris.", task=task, input=fields, gold="Paris")
    assert (found.conclusion, found.agrees) == ("Paris", True)
    assert measured("Well known.", task=task, input=fields, gold="Paris").agrees is None


def test_numbers_come_from_the_input_or_are_calculated() -> None:
    # 9 comes from nowhere, 7 does not until it is calculated
    found = measured("There are 9 and 7. 3 + 4 = 7. So 7.")
    assert found.numbers_grounded == pytest.approx(4 / 6)
    # the wrong sum is foreign, and so is all that is made of it
    assert measured("3 + 4 = 8. So 8.").numbers_grounded == pytest.approx(2 / 4)
    assert measured("10 / 3 = 3.33", input={"text": "10 for 3?"}).numbers_grounded == 1
    assert measured("three and 4").input_numbers_used == 1
    assert measured("3 and 3").input_numbers_used == 0.5
    assert measured("2 + 4 = 6", input={"text": "Two and 4?"}).numbers_grounded == 1


def test_words_and_names_of_the_input() -> None:
    found = measured("Ada ate the apple that Carl gave Zoe. Perhaps.")
    assert found.input_words_used == pytest.approx(3 / 5)  # Ada, apples, gave; not Ben, red
    assert found.input_names_used == 0.5
    assert found.names_grounded == pytest.approx(1 / 3)  # Ada; not Carl, Zoe; a start is no name


def test_repetition() -> None:
    found = measured("so it is so it is so it is")
    # 9 words; the 6 4-grams are 3 different ones, the 8 pairs likewise
    assert (found.words, found.repetition) == (9, 0.5)
    assert (found.distinct_1, found.distinct_2) == (pytest.approx(3 / 9), pytest.approx(3 / 8))
    assert measured("so it is").repetition is None


def test_a_teachers_conclusions_are_found(real_data: Path) -> None:
    """Its rationales end before the answer phrase, whose label is known."""
    for name, split, concluded, agreeing in (
        ("cqa", "test", 0.9, 0.99),
        ("svamp", "train", 0.99, 0.9),
    ):
        task = TASKS[name]
        source = DssSource(format="dss", path=real_data / "dss")
        rows, _ = load_dss(source, task, split)
        found = [
            measured(row.rationales[0], task=task, input=row.input, gold=row.teacher_label)
            for row in rows
            if row.rationales
        ]
        ended = [one for one in found if one.conclusion is not None]
        assert len(ended) >= concluded * len(found)
        assert sum(one.agrees is True for one in ended) >= agreeing * len(ended)
