"""What is asked about a row, and what is written of its answer."""

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json
from pydantic_settings import SettingsError

from export.bundle import Manifest
from service.bulk.settings import BatchSettings
from service.bulk.sources import Row
from service.engine.prediction import Prediction, PredictRequest
from service.errors import InvalidInput, body_of
from service.schemas import PredictAnswer, check_input

INPUT: Final = "input"  # where the fields may stand together, as in the rows that training reads
# The manifest tells it, or it depends on who else was being answered.
LEFT_OUT: Final[Any] = {
    "decoder_passes": True,
    "model": True,
    "version": True,
    "usage": {"decoder_steps", "accepted_tokens"},
}


class RowReader:
    """Makes requests of rows.

    A field is looked for under its own name, or the column's that the settings give. The fields
    may also stand together in an object `input`, which may be the text itself where the task has
    one field; and so may the row.
    """

    def __init__(self, manifest: Manifest, settings: BatchSettings) -> None:
        """Raises SettingsError where the settings ask for what the model cannot do."""
        task, most = manifest.task, manifest.limits.rationale_tokens
        if (settings.max_rationale_tokens or 0) > most:
            raise SettingsError(
                f"--max-rationale-tokens: {manifest.name} writes from 1 to {most}, got "
                f"{settings.max_rationale_tokens}"
            )
        for field in settings.column_of:
            if field not in task.fields:
                raise SettingsError(
                    f"--columns: {field!r} is none of the task's fields, {', '.join(task.fields)}"
                )
        self._task, self._settings = task, settings
        self._columns = {name: settings.column_of.get(name, name) for name in task.fields}
        self._nested = not settings.column_of and INPUT not in task.fields
        self.wanted = {*self._columns.values(), *settings.keep}
        if self._nested:
            self.wanted.add(INPUT)

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raises SettingsError where no row of such columns can be asked about, or kept."""
        needed = [] if self._nested and INPUT in columns else list(self._columns.values())
        for column in [*needed, *self._settings.keep]:
            if column not in columns:
                raise SettingsError(f"{self._settings.input}: {_missing(column, columns)}")

    def request(self, row: Row) -> PredictRequest:
        """Raises InvalidInput."""
        given = self._fields(row)
        check_input("row", given)
        settings = self._settings
        return PredictRequest(
            given,
            settings.explain,
            settings.top_k,
            settings.max_rationale_tokens,
            settings.truncate,
        )

    def kept(self, row: Row) -> dict[str, Any]:
        """What goes from the row into its record. Raises InvalidInput where JSON cannot hold it."""
        if not self._settings.keep or isinstance(row, str):
            return {}
        kept = {name: row.get(name) for name in self._settings.keep}
        try:
            return {"row": json.loads(to_json(kept, inf_nan_mode="null", fallback=str))}
        except (PydanticSerializationError, UnicodeEncodeError) as error:
            raise InvalidInput(f"what --keep names cannot be kept as JSON: {error}") from error

    def _fields(self, row: Row) -> Any:
        if isinstance(row, str):
            return row
        given, names = row.get(INPUT), self._task.fields
        if self._nested and isinstance(given, dict):
            row = given
        elif self._nested and INPUT in row and len(names) == 1 and names[0] not in row:
            return given
        fields = {}
        for name, column in self._columns.items():
            if column not in row:
                raise InvalidInput(_missing(column, list(row)))
            fields[name] = row[column]
        return fields | self._choices(fields)

    def _choices(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Labels to choose from that came as JSON, as they must in CSV."""
        name = self._task.choices
        if name is None or not isinstance(fields[name], str):
            return {}
        try:
            return {name: json.loads(fields[name])}
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f'{name}: expected a list, as ["a", "b"], in JSON') from error


def _missing(column: str, columns: Sequence[str]) -> str:
    there = ", ".join(columns) or "nothing"
    return f"there is no {column!r}, but {there}; --columns FIELD=COLUMN tells where a field is"


def answer_record(line: int, kept: dict[str, Any], prediction: Prediction) -> bytes:
    answer = PredictAnswer.of(prediction).model_dump(exclude=LEFT_OUT, exclude_unset=True)
    return to_json({"line": line, **kept, **answer}) + b"\n"


def error_record(line: int, kept: dict[str, Any], error: Exception) -> bytes:
    return to_json({"line": line, **kept, **body_of(error).model_dump()}) + b"\n"
