"""The one door to data: rows of any source, for training, evaluation and the teacher."""

import math
import reprlib
from typing import Any, Literal

from tasks.task import Fields, Task
from training.data.dss import load_dss
from training.data.files import READERS
from training.data.hub import read_hub
from training.data.row import DataError, Report, Row, label_of, text_of, texts_of
from training.data.sources import AnySource, Columns, DssSource, HubSource

OUTPUTS = ("label", "teacher_label", "rationale")  # what a row may tell beside its input


def load_rows(
    source: AnySource,
    task: Task,
    split: Literal["train", "validation", "test"] = "train",
    *,
    labelled: bool = True,
) -> tuple[list[Row], Report]:
    """Reads what `source` names as its `split`.

    With `labelled`, a row needs a label: one whose label is null is dropped and counted. A
    rationale may be missing or null: such a row trains the predict pass only. Raises DataError,
    which names the file and line of a row that is wrong.
    """
    where = getattr(source, split)
    if isinstance(source, DssSource):
        # only what is learnt from needs the teacher
        rows, report = load_dss(source, task, where, completions=split == "train")
    else:
        rows, report = _load_records(source, task, where, labelled=labelled)
    if not rows:
        raise DataError(f"{report}: no row can be used")
    return rows, report


def _load_records(
    source: Any, task: Task, where: Any, *, labelled: bool
) -> tuple[list[Row], Report]:
    if isinstance(source, HubSource):
        records = read_hub(source.path, source.name, source.revision, where)
        report = Report(f"{source.path} ({where})")
    else:
        records = READERS[source.format](where)
        report = Report(str(where))
    reader = RowReader(task, source.columns)
    rows, seen = [], set[str]()
    for place, record in records:
        report.read += 1
        seen |= record.keys()
        row = reader.read(place, record, labelled=labelled)
        if labelled and row.label is None:
            report.drop("row whose label is null", place)
            continue
        report.without_rationale += not row.rationales
        if row.label_given:
            report.note("rationale of a label that the teacher was told", place)
        rows.append(row)
    for name, column in reader.mapped:
        if rows and column not in seen and column.split(".")[0] not in seen:
            raise DataError(
                f"{report.source}: no row has the column {column!r} of data.columns.{name}; "
                f"there is {', '.join(sorted(seen))}"
            )
    return rows, report


class RowReader:
    """Makes rows of records, by a recipe's column map.

    What the map leaves out is looked for under its own name. The fields of the task may also stand
    together in an object `input`; `input` may be the text itself where the task has one field.
    """

    def __init__(self, task: Task, columns: Columns) -> None:
        known = [*task.fields, *OUTPUTS]
        for name in set(task.fields) & set(OUTPUTS):
            raise DataError(f"task.fields: {name!r} is the name of an output; choose another")
        for name, column in columns.items():
            if name not in known:
                raise DataError(f"data.columns: {name!r} is none of {', '.join(known)}")
            if isinstance(column, list) and name not in (task.choices, "rationale"):
                raise DataError(f"data.columns.{name}: expected one column, not a list")
        self.task = task
        self.columns: Columns = {**{name: name for name in known}, **columns}
        self.mapped = [
            (name, column)
            for name, value in columns.items()
            for column in ([value] if isinstance(value, str) else value)
        ]
        self.nested = not set(columns) & set(task.fields) and "input" not in task.fields

    def read(self, place: str, record: dict[str, Any], *, labelled: bool) -> Row:
        """Raises DataError where a text is missing or none, or a label is not one of the labels."""
        fields = self._fields(place, record)
        labels = self.task.labels_of(fields)
        if labelled:
            self._need("label", place, record)

        def label(name: str) -> str | None:
            value = self._value(name, record)
            return None if value is None else label_of(value, self._key(name), labels, place)

        value, key = self._value("rationale", record), self._key("rationale")
        if value is None:
            rationales: list[str] = []
        elif isinstance(value, list):
            rationales = texts_of(value, key, place) if value else []
        else:
            rationales = [text_of(value, key, place)]
        return Row(
            place,
            fields,
            label("label"),
            label("teacher_label"),
            tuple(dict.fromkeys(rationales)),
            _agreement(record, place),
            record.get("label_given") is True,
        )

    def _fields(self, place: str, record: dict[str, Any]) -> Fields:
        given, single = record.get("input"), self.task.fields == self.task.texts[:1]
        if self.nested and isinstance(given, dict):
            record = given
        elif self.nested and single and "input" in record and self.task.fields[0] not in record:
            return {self.task.fields[0]: text_of(given, "input", place)}
        fields: Fields = {}
        for name in self.task.fields:
            self._need(name, place, record)
            value, key = self._value(name, record), self._key(name)
            read = texts_of if name == self.task.choices else text_of
            fields[name] = read(value, key, place)
        try:
            self.task.render(fields)
        except Exception as error:  # a template is data: it may raise whatever it likes
            raise DataError(f"{place}: the task's template fails: {error}") from error
        return fields

    def _need(self, name: str, place: str, record: dict[str, Any]) -> None:
        columns = self.columns[name]
        for column in [columns] if isinstance(columns, str) else columns:
            if column not in record and column.split(".")[0] not in record:
                there = ", ".join(record) or "nothing"
                raise DataError(f'{place}: no "{column}"; there is {there}')

    def _value(self, name: str, record: dict[str, Any]) -> Any:
        """What a record holds of `name`: of several columns the list of what they hold."""
        columns = self.columns[name]
        if isinstance(columns, str):
            return _look_up(record, columns)
        values = (_look_up(record, column) for column in columns)
        return [value for value in values if value is not None]

    def _key(self, name: str) -> str:
        columns = self.columns[name]
        return columns if isinstance(columns, str) else ", ".join(columns)


def _agreement(record: dict[str, Any], place: str) -> float | None:
    value = record.get("agreement")
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


def _look_up(record: dict[str, Any], column: str) -> Any:
    if column in record:
        return record[column]
    value: Any = record
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
