"""Case studies: rows to read, chosen by rule and seed and not by hand."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from training.evaluation.faithfulness import Faithfulness
from training.evaluation.health import Health
from training.evaluation.record import Record

Kind = Literal[
    "most confident, right",
    "most confident, wrong",
    "least confident, right",
    "least confident, wrong",
    "right label, wrong reasoning",
    "wrong label, right reasoning",
    "only the label for a reason",
    "another fault of the rationale",
    "only A is right",
    "only B is right",
    "both are wrong, differently",
]


@dataclass(frozen=True)
class Case:
    """A row to read: what a model said, and in a comparison what the other model said."""

    kind: Kind
    record: Record
    other: Record | None = None


def choose_cases(
    records: Sequence[Record],
    measured: Sequence[Faithfulness | None],
    health: Sequence[Health | None],
    *,
    each: int = 3,
    seed: int = 0,
) -> list[Case]:
    """At most `each` cases of a kind, for N records, their faithfulness [N] and their health [N].

    Confidence ranks the cases of the first kinds, and the seed breaks ties. The other cases are
    drawn from strata in turn: by gold label where labels are closed, else by the operators of the
    gold equation. `Faithfulness.sound` says whether reasoning is wrong.
    """
    shuffled = random.Random(seed).sample(records, len(records))
    right = [record for record in shuffled if record.right]
    wrong = [record for record in shuffled if not record.right]
    sound = {
        record.index: one.sound
        for record, one in zip(records, measured, strict=True)
        if one is not None
    }
    by_confidence: list[tuple[Kind, list[Record], bool]] = [
        ("most confident, right", right, True),
        ("most confident, wrong", wrong, True),
        ("least confident, right", right, False),
        ("least confident, wrong", wrong, False),
    ]
    cases = [
        Case(kind, record)
        for kind, found, most in by_confidence
        for record in sorted(found, key=lambda one: one.confidence, reverse=most)[:each]
    ]
    unsound = [record for record in right if sound.get(record.index) is False]
    lucky = [record for record in wrong if sound.get(record.index)]
    cases += [Case("right label, wrong reasoning", one) for one in _in_turn(unsound, each)]
    cases += [Case("wrong label, right reasoning", one) for one in _in_turn(lucky, each)]
    faults = {record.index: one for record, one in zip(records, health, strict=True)}
    bare = [record for record in shuffled if (one := faults[record.index]) and one.bare_label]
    others = [
        record
        for record in shuffled
        if (one := faults[record.index]) and not (one.healthy or one.bare_label)
    ]
    cases += [Case("only the label for a reason", one) for one in _in_turn(bare, each)]
    cases += [Case("another fault of the rationale", one) for one in _in_turn(others, each)]
    return cases


def choose_differences(
    a: Sequence[Record], b: Sequence[Record], *, each: int = 3, seed: int = 0
) -> list[Case]:
    """At most `each` cases of a kind in which two models differ, drawn from strata in turn.

    The records [N] of both models are of the same rows, in the same order.
    """
    kinds: dict[Kind, Callable[[Record, Record], bool]] = {
        "only A is right": lambda a, b: a.right and not b.right,
        "only B is right": lambda a, b: b.right and not a.right,
        "both are wrong, differently": lambda a, b: (
            not a.right and not b.right and a.label != b.label
        ),
    }
    pairs = [*zip(a, b, strict=True)]
    shuffled = random.Random(seed).sample(pairs, len(pairs))
    cases = []
    for kind, differ in kinds.items():
        others = {one.index: other for one, other in shuffled if differ(one, other)}
        differing = [one for one, _ in shuffled if one.index in others]
        cases += [Case(kind, one, others[one.index]) for one in _in_turn(differing, each)]
    return cases


def _in_turn(records: Iterable[Record], count: int) -> list[Record]:
    """The first record of each stratum, then the second of each, and so on, at most `count`."""
    taken: dict[str, int] = {}
    ranked = []
    for record in records:
        stratum = _stratum(record)
        taken[stratum] = taken.get(stratum, 0) + 1
        ranked.append((taken[stratum], record))
    return [record for _, record in sorted(ranked, key=lambda pair: pair[0])[:count]]


def _stratum(record: Record) -> str:
    if record.probabilities is not None:
        return record.gold
    return "".join(sorted(set(record.gold) & set("+-*/")))
