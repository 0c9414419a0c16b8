"""Reads a file of rows for training. The first wrong row is an error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.row_files import Format, RowError, RowFileError, open_rows
from training.data.row import DataError

PlacedRow = tuple[str, dict[str, Any]]  # the row's place, for messages, and its values by column


def read_rows(path: Path, file_format: Format | None = None) -> Iterator[PlacedRow]:
    """Yields the rows of a file. Without a format, the suffix of its name decides.

    Raises DataError, which names the file, and the line or row that is wrong.
    """
    try:
        file = open_rows(path, file_format)
        for begin, content in file.rows():
            place = f"{path}, {file.unit} {begin.line}"
            if isinstance(content, RowError):
                raise DataError(f"{place}: {content}")
            if not isinstance(content, dict):
                found = type(content).__name__
                raise DataError(f"{place}: expected an object, found {found}")
            yield place, content
    except RowFileError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
