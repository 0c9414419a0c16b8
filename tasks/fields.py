"""Checks and strips the fields of an input from a request, a file or a data set."""

import reprlib
from collections.abc import Mapping
from typing import Any, Final

from tasks.task import Fields, Task

_KINDS: Final = {bool: "a boolean", dict: "an object", float: "a number", int: "a number"} | {
    list: "a list",
    str: "a string",
    type(None): "null",
}


class FieldError(ValueError):
    """An input is not what its task expects. The message says which field is wrong, and why.

    `field` is None if the whole input is wrong. `expected` describes a right value, `found` the
    given one.
    """

    def __init__(self, message: str, field: str | None, expected: str, found: str) -> None:
        super().__init__(message)
        self.field, self.expected, self.found = field, expected, found


class EmptyField(FieldError):
    """A text is blank, or a list has no texts."""


def kind_of(value: Any) -> str:
    """The JSON type of a value, for messages: "a string", "null"."""
    return _KINDS.get(type(value), type(value).__name__)


def flaw_of(text: str) -> str | None:
    """The flaw of a string that is not a valid text, or None.

    "a NUL character" or "half of a surrogate pair".
    """
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half of a surrogate pair"
    return None


def parse_text(field: str, value: Any, within: str = "") -> str:
    """The stripped text of a field. Messages have `within` before the field's name.

    Raises FieldError, EmptyField.
    """
    name, expected = f"{within}{field}", "a non-empty text"
    if not isinstance(value, str):
        raise FieldError(f"{name} is {kind_of(value)}", field, expected, reprlib.repr(value))
    if flaw := flaw_of(value):
        raise FieldError(f"{name} has {flaw} in it", field, expected, flaw)
    text = value.strip()
    if not text:
        raise EmptyField(f"{name} is empty", field, expected, reprlib.repr(value))
    return text


def parse_texts(field: str, value: Any) -> list[str]:
    """The stripped texts of a list, at least one. Raises FieldError, EmptyField."""
    expected = "a list of texts"
    if not isinstance(value, list | tuple):
        raise FieldError(f"{field} is {kind_of(value)}", field, expected, reprlib.repr(value))
    if not value:
        raise EmptyField(f"{field} is empty", field, expected, reprlib.repr(value))
    return [parse_text(field, text, "a label in ") for text in value]


def parse_fields(task: Task, given: Any) -> Fields:
    """The fields of an input, in the task's order.

    `given` is an object with the fields, or a text if the task has one field and no choices. Raises
    FieldError, EmptyField.
    """
    if not isinstance(given, Mapping):
        if len(task.fields) > 1 or task.choices is not None:
            raise FieldError("the fields are missing", None, "an object", kind_of(given))
        given = {task.fields[0]: given}
    for name in task.fields:
        if name not in given:
            raise FieldError(f"{name} is missing", name, "a value", "nothing")
    for name in given:
        if name not in task.fields:
            raise FieldError(f"{reprlib.repr(name)} is unknown", name, "nothing", "a value")
    return {
        name: parse_texts(name, given[name])
        if name == task.choices
        else parse_text(name, given[name])
        for name in task.fields
    }
