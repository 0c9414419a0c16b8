"""Each fault of a rationale, of texts written by hand, and what is none."""

from pathlib import Path

import pytest

from tasks.builtin import TASKS
from tasks.task import LabelField, Task
from tests.support.rationale_records import record
from training.data.load import load_rows
from training.data.sources import DssSource
from training.evaluation.health import (
    FAULTS,
    Health,
    equals_reference,
    health_shares,
    is_bare_label,
    measure_health,
)
from training.evaluation.record import Record

TICKETS = Task(
    name="tickets",
    fields=["ticket"],
    template="{{ticket}}",
    labels=["billing", "outage", "how-to", "cancellation"],
)
OPERATIONS = Task(
    name="operations",
    fields=["text"],
    template="{{text}}",
    labels=["addition", "subtraction", "several steps"],
)
HEALTHY = "The page does not load, so the service is out."


def ticket(rationale: str | None, index: int = 0, **changes: object) -> Record:
    facts = {
        "task": TICKETS,
        "input": {"ticket": f"The page does not load, number {index}."},
        "gold": "outage",
        "reference": HEALTHY,
        "index": index,
    }
    return record(rationale, **(facts | changes))  # type: ignore[arg-type]


def faults_of(rationale: str, **changes: object) -> set[str]:
    """Of one rationale, between two healthy rows."""
    others = [ticket(HEALTHY, 1), ticket(HEALTHY, 2)]
    found = measure_health([ticket(rationale, **changes), *others], changes.get("task", TICKETS))  # type: ignore[arg-type]
    health, *rest = found
    assert health is not None
    assert all(one is not None and one.healthy for one in rest)
    return {name for name in FAULTS if getattr(health, name)}


def word_problem(rationale: str, label: str = "( 48.0 / 6.0 )") -> set[str]:
    row = record(rationale, gold="( 48.0 / 6.0 )", label=label)
    (health,) = measure_health([row], TASKS["svamp"])
    assert health is not None
    return {name for name in FAULTS if getattr(health, name)}


@pytest.mark.parametrize(
    "rationale",
    [
        HEALTHY,
        "The outage lasts, and nobody can log in.",
        "An outage, since it fails for everyone.",
        "It is a cancellation, so the plan ends.",
        "Two cancellations of plans are asked for.",  # an inflection of a label
        "The how-tos do not help.",
        "He says (rightly) that it's down.",
        'The customer says "it is down."',
    ],
)
def test_a_reason_has_no_fault(rationale: str) -> None:
    assert faults_of(rationale) == set()


@pytest.mark.parametrize(
    "rationale",
    ["outage", "Outage.", "how-to", "billing", "It is an outage.", "So the answer is outage.", ""],
)
def test_a_bare_label(rationale: str) -> None:
    assert faults_of(rationale) >= {"bare_label"}
    assert is_bare_label(ticket(rationale), TICKETS)


@pytest.mark.parametrize(
    ("rationale", "bare"),
    [
        ("( 48.0 / 6.0 )", True),
        ("( 48 - 6 )", True),  # no reason either
        ("So 48 / 6.", True),
        ("The answer is 8.", True),
        ("8.0", True),
        ("( - )", True),
        ("48 / 6 = 8.", False),  # what it comes to was worked out
        ("48 rolls / 6 bags.", False),
    ],
)
def test_a_bare_equation(rationale: str, bare: bool) -> None:
    assert ("bare_label" in word_problem(rationale)) == bare


def test_a_choice_of_the_row_is_a_bare_label_of_that_row() -> None:
    task = Task(
        name="choices",
        fields=["question", "choices"],
        template="{{question}} {{choices}}",
        labels=LabelField(field="choices"),
    )
    fields = {"question": "Where is milk cold?", "choices": ["oven", "fridge"]}
    rows = [record(text, task=task, input=fields, gold="fridge") for text in ("oven", "garden")]
    assert [is_bare_label(row, task) for row in rows] == [True, False]


@pytest.mark.parametrize(
    "rationale",
    [
        "The page does not load so it is anoutage.",
        "The pagecancellation does not load.",
        "AcancellationAcancellation is what it is.",
        "It is outagethe page does not load.",
        "The page billingoutage does not load.",
        "It does not load.outage is what it is.",
    ],
)
def test_a_label_glued_to_a_word(rationale: str) -> None:
    assert faults_of(rationale) == {"glued"}


@pytest.mark.parametrize(
    ("rationale", "glued"),
    [
        ("Theyubtraction takes 4 from 11 apples.", True),
        ("Ben has 11 apples.action is needed.", True),
        ("Ben has 11.action is needed.", True),
        ("Take 4 from 11, an attraction of sorts.", False),  # a word of English
        ("The addiction to apples is an abstraction.", False),
        ("Take 4 from 11 apples (subtraction).", False),
        ("It is subtraction/addition of apples.", False),
        ("Ben takes the footsteps of Ada.", False),
        ("Ben's xyzaction takes 4 apples.", False),  # odd, but no word that anybody knows
        ("Ben takes 3.5 apples of 11.", False),
    ],
)
def test_a_piece_of_a_label_glued_to_a_word(rationale: str, glued: bool) -> None:
    text = {"text": "They say Ben had 11 apples and gave 4 away."}
    (health,) = measure_health(
        [record(rationale, task=OPERATIONS, input=text, gold="subtraction")], OPERATIONS
    )
    assert health is not None
    assert health.glued == glued


@pytest.mark.parametrize(
    ("rationale", "repeats"),
    [
        ("The page is down. The page is down.", True),
        ("The page is down, down, is down, down, is down, down.", False),
        ("The page the page the page is down.", True),
        ("Really really really down.", True),
        ("Down. Down.", False),  # a word alone is no sentence
        ("It loads no page. It loads no file.", False),
    ],
)
def test_repetition(rationale: str, repeats: bool) -> None:
    assert ("repeats" in faults_of(rationale)) == repeats


def test_a_sum_of_equal_numbers_is_no_loop() -> None:
    assert word_problem("8 apples each: 2 + 2 + 2 + 2 + 2 = 8 + 2.") == set()


def test_an_end_within_a_sentence() -> None:
    assert faults_of("The page does not") == {"cut"}
    assert faults_of("The page does not load!”") == set()
    assert faults_of("页面打不开。") == set()


def test_where_no_reference_ends_with_a_mark_an_end_without_is_none() -> None:
    rows = [ticket(f"the page {i} is down", i, reference=f"page {i} down") for i in range(3)]
    assert health_shares(measure_health(rows, TICKETS))["cut"] == 0
    # without references, by what most rationales do
    texts = ["The page is down.", "It is down.", "The page is"]
    rows = [ticket(text, i, reference=None) for i, text in enumerate(texts)]
    assert [one and one.cut for one in measure_health(rows, TICKETS)] == [False, False, True]


@pytest.mark.parametrize("reference", [HEALTHY, None])
def test_the_same_text_for_another_label(reference: str | None) -> None:
    labels = ["outage", "outage", "billing"]
    rows = [
        ticket("See above, it is clear.", i, label=label, reference=reference)
        for i, label in enumerate(labels)
    ]
    assert health_shares(measure_health(rows, TICKETS))["shared"] == 1
    # as a template of the label it is none
    assert health_shares(measure_health(rows[:2], TICKETS))["shared"] == 0


def test_the_same_text_as_the_teacher_is_this_rows_own() -> None:
    rows = [ticket(HEALTHY, 0), ticket(HEALTHY, 1, label="billing", reference="The bill is high.")]
    assert [one and one.shared for one in measure_health(rows, TICKETS)] == [False, True]


def test_what_has_no_rationale_has_no_health() -> None:
    assert measure_health([ticket(None)], TICKETS) == [None]
    assert health_shares([None]) == {}
    assert measure_health([], TICKETS) == []


def test_shares_are_of_the_rationales_that_there_are() -> None:
    good = Health(False, False, False, False, False)
    bad = Health(bare_label=True, glued=False, repeats=False, cut=True, shared=False)
    assert health_shares([good, bad, None, good]) == {
        "healthy": pytest.approx(2 / 3),
        "bare_label": pytest.approx(1 / 3),
        "glued": 0,
        "repeats": 0,
        "cut": pytest.approx(1 / 3),
        "shared": 0,
    }


@pytest.mark.parametrize(
    ("name", "split"), [("cqa", "train"), ("anli1", "valid"), ("svamp", "train")]
)
def test_a_big_models_rationales_are_healthy(real_data: Path, name: str, split: str) -> None:
    """Of real texts, and without references, so that no word is known from them."""
    task = TASKS[name]
    source = DssSource(format="dss", path=real_data / "dss", train=split, test=None)
    rows, _ = load_rows(source, task)
    records = [
        record(row.rationales[0], task=task, input=row.input, gold=row.label, index=index)
        for index, row in enumerate(rows)
        if row.rationales and row.label is not None
    ]
    shares = health_shares(measure_health(records, task))
    assert len(records) > 700
    assert shares["healthy"] > 0.99
    assert shares["glued"] == shares["bare_label"] == shares["cut"] == 0


def test_the_reference_itself() -> None:
    assert equals_reference(ticket(f" {HEALTHY}\n"))
    assert not equals_reference(ticket("outage"))
    assert equals_reference(ticket("outage", reference=None)) is None
    assert equals_reference(ticket(None)) is None
