"""Makes requests of rows, and records of answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json
from pydantic_settings import SettingsError

from export.bundle import Manifest
from service.bulk.settings import BulkSettings
from service.engine.prediction import Prediction, PredictRequest
from service.errors import LABELS_ONLY, InvalidInput, InvalidJson, body_of
from service.schemas import PredictAnswer, check_input
from tasks.columns import ColumnMap, MissingColumn
from tasks.fields import kind_of
from tasks.json_errors import why_unreadable
from tasks.row_files import FileRow, NotJson, RowError, RowFile, open_rows

MAX_LINE_BYTES: Final = 2 * 2**20  # the default limit of a request
# These are in the manifest, or depend on the other rows in a step.
LEFT_OUT: Final[Any] = {
    "decoder_passes": True,
    "model": True,
    "version": True,
    "usage": {"decoder_steps", "accepted_tokens"},
}


def open_input(path: Path) -> RowFile:
    """The file of a job. Raises RowFileError, OSError."""
    return open_rows(path, max_line_bytes=MAX_LINE_BYTES)


def content_of(row: FileRow) -> dict[str, Any] | str:
    """What a row holds. Raises InvalidJson, InvalidInput."""
    if isinstance(row.content, NotJson):
        raise InvalidJson(str(row.content))
    if isinstance(row.content, RowError):
        raise InvalidInput(str(row.content))
    if not isinstance(row.content, dict | str):
        raise InvalidInput(f"expected an object or a string, got {kind_of(row.content)}")
    return row.content


class RequestMaker:
    """Makes requests of rows.

    A field is looked for under its own name, or in the column that the settings give; see
    ColumnMap. A row may also be the text itself.
    """

    def __init__(self, manifest: Manifest, settings: BulkSettings) -> None:
        """Raises SettingsError if the settings do not fit the model."""
        task, most = manifest.task, manifest.limits.rationale_tokens
        if (settings.max_rationale_tokens or 0) > most:
            raise SettingsError(
                f"--max-rationale-tokens: {manifest.name} writes from 1 to {most}, got "
                f"{settings.max_rationale_tokens}"
            )
        if settings.explain and not manifest.explains:
            raise SettingsError(
                f"--explain: {manifest.name} {LABELS_ONLY}; leave --explain out, or give --model a "
                "bundle that explains"
            )
        for field in settings.column_of:
            if field not in task.fields:
                raise SettingsError(
                    f"--columns: {field!r} is none of the task's fields, {', '.join(task.fields)}"
                )
        self._settings, self._choices = settings, task.choices
        self._columns = ColumnMap(task, settings.column_of)
        self.wanted = {*self._columns.field_columns(), *settings.keep}

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raises SettingsError if a file with these columns lacks a field, or a column to keep."""
        try:
            self._columns.require_fields(columns)
            for column in self._settings.keep:
                if column not in columns:
                    raise MissingColumn(column, columns)
        except MissingColumn as error:
            raise SettingsError(f"{self._settings.input}: {_hint(error)}") from error

    def request(self, content: dict[str, Any] | str) -> PredictRequest:
        """The request of a row. Raises InvalidInput."""
        given = content if isinstance(content, str) else self._found(content)
        check_input("row", given)
        settings = self._settings
        return PredictRequest(
            given,
            settings.explain,
            settings.top_k,
            settings.max_rationale_tokens,
            settings.truncate,
        )

    def kept(self, content: dict[str, Any] | str) -> dict[str, Any]:
        """The columns of `keep`, for the record. Raises InvalidInput if JSON cannot hold them."""
        if not self._settings.keep or isinstance(content, str):
            return {}
        kept = {name: content.get(name) for name in self._settings.keep}
        try:
            return {"row": json.loads(to_json(kept, inf_nan_mode="null", fallback=str))}
        except (PydanticSerializationError, UnicodeEncodeError) as error:
            raise InvalidInput(f"the columns of --keep cannot be kept as JSON: {error}") from error

    def _found(self, content: dict[str, Any]) -> Any:
        try:
            given = self._columns.find_fields(content)
        except MissingColumn as error:
            raise InvalidInput(_hint(error)) from error
        if self._choices is not None and isinstance(given[self._choices], str):
            given[self._choices] = _list_in_json(self._choices, given[self._choices])
        return given


def _list_in_json(name: str, text: str) -> Any:
    """A list of choices from a JSON text, the only form that CSV allows. Raises InvalidInput."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = why_unreadable(error)
        raise InvalidInput(f'{name}: expected a JSON list, as ["a", "b"]: {reason}') from error


def _hint(error: MissingColumn) -> str:
    return f"{error}; say where a field is with --columns FIELD=COLUMN"


def answer_record(line: int, kept: dict[str, Any], prediction: Prediction) -> bytes:
    """A line of a shard, for a row that was answered."""
    answer = PredictAnswer.of(prediction).model_dump(exclude=LEFT_OUT, exclude_unset=True)
    return to_json({"line": line, **kept, **answer}) + b"\n"


def error_record(line: int, kept: dict[str, Any], error: Exception) -> bytes:
    """A line of a shard, for a row that could not be answered."""
    return to_json({"line": line, **kept, **body_of(error).model_dump()}) + b"\n"
