from tasks.builtin import NLI_LABELS, TASKS
from tasks.task import Task
from training.annotation.answer import Annotation
from training.annotation.dialogue import Failure
from training.annotation.vote import vote

SVAMP = TASKS["svamp"]
TONE = Task(name="tone", fields=["text"], template="{{text}}", labels=["good", "bad"])
LOST = Failure("answer without a label", "So.")


def test_most_samples_decide_and_their_rationales_stay() -> None:
    samples = [
        Annotation("bad", ("one",)),
        Annotation("good", ("two",)),
        Annotation("good", ("three",)),
        Annotation("good", ("two",)),
        LOST,
    ]
    assert vote(samples, TONE) == Annotation("good", ("two", "three"), 3 / 5)


def test_equations_of_one_value_are_one_label() -> None:
    samples = [
        Annotation("( 9 - 2 )", ("a",)),
        Annotation("( 3 + 4 )", ("b",)),
        Annotation("( 4.0 + 3.0 )", ("c",)),
        Annotation("( 3 * 4 )", ("d",)),
        Annotation("( 3 * 4.0 )", ("e",)),
    ]
    assert vote(samples, SVAMP) == Annotation("( 9 - 2 )", ("a", "b", "c"), 0.6)


def test_of_as_many_the_first_one_is_taken() -> None:
    samples = [Annotation(NLI_LABELS[n % 3], (str(n),)) for n in (2, 0, 1)]
    assert vote(samples, TASKS["esnli"]) == Annotation("contradiction", ("2",), 1 / 3)


def test_one_sample_agrees_with_itself() -> None:
    assert vote([Annotation("good", ("a",))], TONE) == Annotation("good", ("a",), 1.0)


def test_where_all_fail_the_reason_is_that_of_most() -> None:
    cut = [Failure("answer cut off", str(n)) for n in range(2)]
    assert vote([LOST, *cut], TONE) == cut[0]
    assert vote([LOST, cut[0]], TONE) == LOST
