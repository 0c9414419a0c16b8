"""Finds the fields of a task, and other facts about an input, in the columns of a file."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from tasks.task import Task

INPUT: Final = "input"  # the column that may hold all fields together

Columns = dict[str, str | list[str]]  # by name of a field, or of another value in a row


class MissingColumn(ValueError):
    """A row lacks `column`. `there` lists the columns that it has."""

    def __init__(self, column: str, there: Collection[str]) -> None:
        self.column, self.there = column, ", ".join(there) or "nothing"
        super().__init__(f"there is no {column!r}, but {self.there}")


class ColumnMap:
    """Finds a value in a row by name: in the columns that `columns` gives, or in that of its name.

    The column `a.b` is the value b of the object a. Several columns give a list of their values. An
    object `input` may also hold all fields, if `columns` maps no field and no field has that name.
    If the task has one field and no choices, `input` may be the text itself.
    """

    def __init__(self, task: Task, columns: Mapping[str, str | list[str]]) -> None:
        self._fields = task.fields
        self._columns = columns
        self._together = INPUT not in task.fields and columns.keys().isdisjoint(task.fields)
        self._text = task.fields[0] if task.fields == task.texts[:1] else None

    def columns_of(self, name: str) -> list[str]:
        """The columns that may hold the value of `name`."""
        columns = self._columns.get(name, name)
        return [columns] if isinstance(columns, str) else columns

    def find(self, name: str, row: Mapping[str, Any]) -> Any:
        """The value of `name` in a row; None if the row has no such column."""
        values = [_look_up(row, column) for column in self.columns_of(name)]
        if isinstance(self._columns.get(name, name), str):
            return values[0]
        return [value for value in values if value is not None]

    def require(self, name: str, there: Collection[str]) -> None:
        """Raises MissingColumn if a column of `name` is not among `there`, the columns of a row."""
        for column in self.columns_of(name):
            if column not in there and column.split(".")[0] not in there:
                raise MissingColumn(column, there)

    def find_fields(self, row: Mapping[str, Any]) -> Any:
        """The value of each field by its name, or the text that `input` holds.

        Does not check values: see `tasks.fields.parse_fields`. Raises MissingColumn.
        """
        if self._together and INPUT in row:
            if isinstance(row[INPUT], Mapping):
                row = row[INPUT]
            elif self._text is not None and self._text not in row:
                return row[INPUT]
        for name in self._fields:
            self.require(name, row)
        return {name: self.find(name, row) for name in self._fields}

    def require_fields(self, there: Collection[str]) -> None:
        """Raises MissingColumn if no row with these columns can have all fields."""
        if not (self._together and INPUT in there):
            for name in self._fields:
                self.require(name, there)

    def field_columns(self) -> set[str]:
        """All columns that `find_fields` may look into."""
        columns = {column for name in self._fields for column in self.columns_of(name)}
        columns |= {column.split(".")[0] for column in columns}
        return columns | {INPUT} if self._together else columns


def _look_up(row: Mapping[str, Any], column: str) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
