import json
from dataclasses import asdict

import pytest

from tasks.builtin import TASKS
from tests.support.rationale_records import record
from training.evaluation.cases import choose_cases, choose_differences
from training.evaluation.faithfulness import faithfulness
from training.evaluation.health import measure_health
from training.evaluation.record import Record

SVAMP, NLI = TASKS["svamp"], TASKS["esnli"]
FIELDS = {"premise": "A man sleeps.", "hypothesis": "A man is awake."}


def chosen(records: list[Record], **rest: int) -> dict[str, list[int]]:
    measured = [faithfulness(one, SVAMP) for one in records]
    cases = choose_cases(records, measured, measure_health(records, SVAMP), **rest)
    json.dumps([asdict(case) for case in cases])
    kinds: dict[str, list[int]] = {}
    for case in cases:
        kinds.setdefault(case.kind, []).append(case.record.index)
    return kinds


def test_the_most_and_the_least_confident_right_and_wrong() -> None:
    rows = [
        record(label="1" if number % 2 else None, index=number, confidence=number / 10)
        for number in range(10)
    ]
    assert chosen(rows, each=2) == {
        "most confident, right": [8, 6],
        "most confident, wrong": [9, 7],
        "least confident, right": [0, 2],
        "least confident, wrong": [1, 3],
    }


def test_labels_and_reasoning_that_part() -> None:
    rows = [
        record("3 + 4 = 7", index=0),
        record("4 - 3 = 1", index=1),  # right label, wrong conclusion
        record("3 + 4 = 8", index=2),  # right label, wrong sum
        record("3 + 4 = 7", label="1", index=3),  # wrong label, right reasoning
        record("4 - 3 = 1", label="1", index=4),
        record("Well.", index=5),  # no conclusion is no wrong one
        record("Well.", label="1", index=6),
        record(None, index=7),
    ]
    kinds = chosen(rows)
    assert sorted(kinds["right label, wrong reasoning"]) == [1, 2]
    assert kinds["wrong label, right reasoning"] == [3]


def test_all_strata_have_their_turn_and_the_seed_decides() -> None:
    rows = [record("4 - 3 = 1", index=number) for number in range(90)]
    rows += [
        record("4 - 3 = 1", gold="( 3 * 4 )", index=90),
        record("4 - 3 = 1", gold="( 3 / 4 )", index=91),
    ]
    kind = "right label, wrong reasoning"
    draws = [chosen(rows, each=4, seed=seed)[kind] for seed in range(5)]
    for draw in draws:
        assert {90, 91} < set(draw)
        assert len(set(draw)) == 4
    assert len({tuple(sorted(draw)) for draw in draws}) > 1
    assert chosen(rows, each=4, seed=3)[kind] == draws[3]


def nli(index: int, gold: str, label: str) -> Record:
    return record(task=NLI, input=FIELDS, gold=gold, label=label, index=index)


def test_rows_where_two_models_differ() -> None:
    gold = ["neutral"] * 4 + ["entailment"]
    first = [nli(*row) for row in zip(range(5), gold, gold, strict=True)]
    labels = ["neutral", "entailment", "contradiction", "entailment", "neutral"]
    second = [nli(*row) for row in zip(range(5), gold, labels, strict=True)]
    cases = choose_differences(first, second, each=2)
    assert {case.kind for case in cases} == {"only A is right"}
    assert 4 in [case.record.index for case in cases]  # the other gold label has its turn
    for case in cases:
        assert case.record == first[case.record.index]
        assert case.other == second[case.record.index]
    assert [case.kind for case in choose_differences(second, first, each=9)] == [
        "only B is right"
    ] * 4
    third = [nli(0, "neutral", "neutral"), *(nli(n, gold[n], "contradiction") for n in range(1, 5))]
    differing = [
        case.record.index
        for case in choose_differences(second, third, each=9)
        if case.kind == "both are wrong, differently"
    ]
    assert sorted(differing) == [1, 3, 4]
    with pytest.raises(ValueError, match="shorter"):
        choose_differences(first, second[1:])
