"""Makes rows of a data set from what files and data sets hold, by a recipe's map of columns."""

import math
import reprlib
from collections.abc import Mapping
from typing import Any

from tasks.columns import INPUT, ColumnMap, Columns, MissingColumn
from tasks.fields import FieldError, parse_fields
from tasks.task import Fields, Task
from training.data.row import DataError, Row, label_of, text_of, texts_of, wrong_column

OUTPUTS = ("label", "teacher_label", "rationale")  # what a row may have beside its input


class RowReader:
    """Reads rows. What the map leaves out is looked for under its own name; see ColumnMap."""

    def __init__(self, task: Task, columns: Columns) -> None:
        """Raises DataError where the map does not fit the task."""
        known = [*task.fields, *OUTPUTS]
        for name in set(task.fields) & set(OUTPUTS):
            raise DataError(f"task.fields: {name!r} is the name of an output; choose another")
        for name, column in columns.items():
            if name not in known:
                raise DataError(f"data.columns: {name!r} is none of {', '.join(known)}")
            if isinstance(column, list) and name not in (task.choices, "rationale"):
                raise DataError(f"data.columns.{name}: expected one column, not a list")
        self.task = task
        self.columns = ColumnMap(task, columns)
        self.mapped = [(name, one) for name in columns for one in self.columns.columns_of(name)]

    def read(self, place: str, values: dict[str, Any], *, labelled: bool) -> Row:
        """The row of these values by column. With `labelled`, they need a column of labels.

        Raises DataError where a field is missing or wrong, or a label is not one of the labels.
        """
        try:
            fields = self._fields(place, values)
            if labelled:
                self.columns.require("label", values)
        except MissingColumn as error:
            raise DataError(
                f'{place}: no "{error.column}"; there is {error.there}; if its name is another, '
                "name it by data.columns of the recipe"
            ) from error
        labels = self.task.labels_of(fields)
        return Row(
            place,
            fields,
            self._label("label", place, values, labels),
            self._label("teacher_label", place, values, labels),
            tuple(dict.fromkeys(self._rationales(place, values))),
            _agreement(values.get("agreement"), place),
            values.get("label_given") is True,
        )

    def _fields(self, place: str, values: dict[str, Any]) -> Fields:
        given = self.columns.find_fields(values)
        try:
            fields = parse_fields(self.task, given)
        except FieldError as error:
            key = INPUT
            if error.field is not None and isinstance(given, Mapping):
                key = self._key(error.field)
            raise wrong_column(error, key, place) from error
        try:
            self.task.render(fields)
        except Exception as error:  # a template is data: it may raise whatever it likes
            raise DataError(f"{place}: the task's template fails: {error}") from error
        return fields

    def _label(
        self, name: str, place: str, values: dict[str, Any], labels: list[str] | None
    ) -> str | None:
        value = self.columns.find(name, values)
        return None if value is None else label_of(value, self._key(name), labels, place)

    def _rationales(self, place: str, values: dict[str, Any]) -> list[str]:
        value, key = self.columns.find("rationale", values), self._key("rationale")
        if value is None or value == []:
            return []
        if isinstance(value, list):
            return texts_of(value, key, place)
        return [text_of(value, key, place)]

    def _key(self, name: str) -> str:
        return ", ".join(self.columns.columns_of(name))


def _agreement(value: Any, place: str) -> float | None:
    if value is None:
        return None
    try:
        share = float(value)  # CSV has texts
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share <= 1:
        raise DataError(
            f'{place}: expected a share of 0 to 1 under "agreement", found {reprlib.repr(value)}'
        )
    return share
