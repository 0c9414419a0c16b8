"""What a row of a data set is, and how its texts are checked."""

import json
import reprlib
from dataclasses import dataclass
from typing import Any

from tasks.fields import FieldError, parse_text, parse_texts
from tasks.task import Fields


class DataError(ValueError):
    """Data are missing or wrong. The message names the file, and the line or the row."""


@dataclass(frozen=True)
class Row:
    """A row of a data set: an input, and what people and the teacher say of it."""

    place: str  # its file and line, for messages
    input: Fields
    label: str | None  # the right one, where it is known
    teacher_label: str | None = None
    rationales: tuple[str, ...] = ()
    agreement: float | None = None  # share of the teacher's samples that have its label
    label_given: bool = False  # the teacher was told the label, and explained it


def text_of(value: Any, column: str, place: str) -> str:
    """A text, stripped. Raises DataError."""
    try:
        return parse_text(column, value)
    except FieldError as error:
        raise wrong_column(error, column, place) from error


def texts_of(value: Any, column: str, place: str) -> list[str]:
    """A list of texts, each stripped, and at least one. Raises DataError."""
    try:
        return parse_texts(column, value)
    except FieldError as error:
        raise wrong_column(error, column, place) from error


def label_of(value: Any, column: str, labels: list[str] | None, place: str) -> str:
    """A label, one of `labels` where these are given. Raises DataError.

    Integers and booleans are labels too, as JSON writes them: "3", "true".
    """
    label = text_of(json.dumps(value) if isinstance(value, int) else value, column, place)
    if labels is not None and label not in labels:
        some = ", ".join(labels[:20])
        raise DataError(f"{place}: the label {reprlib.repr(label)} is not one of {some}")
    return label


def wrong_column(error: FieldError, column: str, place: str) -> DataError:
    """The error that names the row and the column in which a field is wrong."""
    return DataError(f'{place}: expected {error.expected} under "{column}", found {error.found}')
