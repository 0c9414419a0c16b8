"""Files of rows: JSON lines, CSV and Parquet, each as records whose place is known."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

import pyarrow as pa
from pyarrow import parquet

from training.data.row import DataError

Record = tuple[str, dict[str, Any]]  # the place, for messages, and the values by column
Format = Literal["jsonl", "csv", "parquet"]


@contextmanager
def _opened(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error})") from error


def read_json_lines(path: Path) -> Iterator[Record]:
    """Yields each line's object; empty lines are passed over. Raises DataError."""
    with _opened(path) as lines:
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


def read_csv(path: Path) -> Iterator[Record]:
    """Yields the rows below a header, an empty cell as None. Raises DataError.

    A row that spans lines, its cell quoted, is named by its last one.
    """
    # the standard library's reader: pyarrow's and pandas' do not tell the line of a row
    with _opened(path, newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            columns = next(reader, [])
            if not all(map(str.strip, columns)) or len(set(columns)) != len(columns):
                raise DataError(f"{path}, line 1: a column has no name, or another's")
            for cells in reader:
                place = f"{path}, line {reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise DataError(
                        f"{place}: {len(cells)} values, but the header names {len(columns)}"
                    )
                yield place, {k: v or None for k, v in zip(columns, cells, strict=True)}
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


def read_parquet(path: Path) -> Iterator[Record]:
    """Yields the rows of a Parquet file, counted from 1. Raises DataError."""
    number = 0
    try:
        with path.open("rb") as file:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as Parquet ({reason})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, after row {number}: not UTF-8 ({error})") from error


READERS: dict[Format, Callable[[Path], Iterator[Record]]] = {
    "jsonl": read_json_lines,
    "csv": read_csv,
    "parquet": read_parquet,
}
