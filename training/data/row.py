"""Data: what a row is, what a student learns from it, and what was read of a file."""

import reprlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tasks.task import Fields


class DataError(ValueError):
    """Data are missing or wrong. The message names the file, and the line or the row."""


@dataclass(frozen=True)
class Row:
    """A row of a data set: an input, and what people and the teacher say of it.

    `place` names its file and line, for messages. `agreement` is the share of the teacher's samples
    that have its label; `label_given` tells that the teacher explained a label that it was told.
    """

    place: str
    input: Fields
    label: str | None  # the right one, where it is known
    teacher_label: str | None = None
    rationales: tuple[str, ...] = ()
    agreement: float | None = None
    label_given: bool = False


@dataclass(frozen=True)
class Example:
    """What is learnt: an input's fields, its label, and a rationale where there is one."""

    input: Fields
    label: str
    rationale: str | None


@dataclass
class Report:
    """What a loader read of `source`, and what it could not use: `reasons` counts why."""

    source: str
    read: int = 0
    dropped: int = 0
    without_rationale: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def note(self, reason: str, place: str) -> None:
        """Counts a reason; the place of the first row that it holds for is kept."""
        self.reasons[reason] += 1
        self.first.setdefault(reason, place.removeprefix(f"{self.source}, "))

    def drop(self, reason: str, place: str) -> None:
        """Counts a dropped row."""
        self.dropped += 1
        self.note(reason, place)

    def __str__(self) -> str:
        why = "".join(
            f"; {count} × {reason} (first: {self.first[reason]})"
            for reason, count in self.reasons.items()
        )
        return (
            f"{self.source}: {self.read} rows, {self.dropped} dropped, "
            f"{self.without_rationale} without a rationale{why}"
        )


def text_of(value: Any, name: str, place: str) -> str:
    """`value` as a text, stripped. Raises DataError where it is none, or empty."""
    if not isinstance(value, str) or not value.strip():
        found = reprlib.repr(value)
        raise DataError(f'{place}: expected a non-empty text under "{name}", found {found}')
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f'{place}: half of a surrogate pair under "{name}", which is no text')
    return value.strip()


def texts_of(value: Any, name: str, place: str) -> list[str]:
    """`value` as a non-empty list of non-empty texts, stripped. Raises DataError."""
    if not isinstance(value, list) or not value:
        found = reprlib.repr(value)
        raise DataError(f'{place}: expected a list of texts under "{name}", found {found}')
    return [text_of(item, name, place) for item in value]


def label_of(value: Any, name: str, labels: list[str] | None, place: str) -> str:
    """`value` as a label, one of `labels` where these are given. Raises DataError."""
    label = text_of(value, name, place)
    if labels is not None and label not in labels:
        some = ", ".join(labels[:20])
        raise DataError(f"{place}: the label {reprlib.repr(label)} is not one of {some}")
    return label
