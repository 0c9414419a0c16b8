"""Examples: what a row is, and the JSON lines loader."""

import json
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.tasks import Fields, Task


class DataError(ValueError):
    """A data file is missing or wrong. The message names the file and the line."""


@dataclass(frozen=True)
class Example:
    """An input's fields, its label, and the teacher's rationale where there is one."""

    input: Fields
    label: str
    rationale: str | None


@dataclass
class Report:
    """What a loader read, and what it could not use."""

    source: str
    read: int = 0
    dropped: int = 0
    without_rationale: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        why = "".join(f"; {count} × {reason}" for reason, count in self.reasons.items())
        return (
            f"{self.source}: {self.read} rows, {self.dropped} dropped, "
            f"{self.without_rationale} without a rationale{why}"
        )


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, row) for each line of a JSON lines file; `place` is for error messages."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                place = f"{path}, line {number}"
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{place}: not JSON ({error})") from error
                if not isinstance(row, dict):
                    raise DataError(f"{place}: expected an object, found {type(row).__name__}")
                yield place, row
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error})") from error


def text_of(row: dict[str, Any], key: str, place: str) -> str:
    """The non-empty text under `key` of a row. Raises DataError."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = reprlib.repr(value)
        raise DataError(f'{place}: expected a non-empty text under "{key}", found {found}')
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f'{place}: half of a surrogate pair under "{key}", which is no text')
    return value.strip()


def texts_of(row: dict[str, Any], key: str, place: str) -> list[str]:
    """The non-empty list of non-empty texts under `key` of a row. Raises DataError."""
    values = row.get(key)
    if not isinstance(values, list) or not values:
        raise DataError(f'{place}: expected a list of texts under "{key}", found {values!r}')
    return [text_of({key: value}, key, place) for value in values]


def load_json_lines(path: Path, task: Task) -> tuple[list[Example], Report]:
    """Reads rows `{"input", "label", "rationale"}`.

    `input` is an object with the task's fields, or a text where the task has one field. A field
    that holds an input's labels is a list of texts.
    `rationale` may be missing or null: such a row trains the predict pass only.
    """
    report, examples = Report(str(path)), []
    for place, row in read_rows(path):
        report.read += 1
        inputs = row.get("input")
        if isinstance(inputs, dict):
            fields: Fields = {name: text_of(inputs, name, place) for name in task.texts}
            if task.choices is not None:
                fields[task.choices] = texts_of(inputs, task.choices, place)
        elif task.fields == task.texts and len(task.fields) == 1:
            fields = {task.fields[0]: text_of(row, "input", place)}
        else:
            raise DataError(f'{place}: "input" must be an object with {", ".join(task.fields)}')
        rationale = None
        if row.get("rationale") is None:
            report.without_rationale += 1
        else:
            rationale = text_of(row, "rationale", place)
        label, labels = text_of(row, "label", place), task.labels_of(fields)
        if labels is not None and label not in labels:
            raise DataError(f"{place}: the label {label!r} is not one of {', '.join(labels[:20])}")
        examples.append(Example(fields, label, rationale))
    return examples, report
