"""Files of rows: JSON lines, CSV and Parquet, streamed from any record on.

What is wrong with a record costs that record alone.
"""

import csv
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from service.errors import InvalidInput, InvalidJson, ServiceError, unreadable
from service.schemas import kind_of

MAX_LINE_BYTES: Final = 2 * 2**20  # as a request may have, by default
BATCH_ROWS: Final = 256  # of Parquet, decoded at once
BUFFER_BYTES: Final = 2**20  # of a column of Parquet, read at once

Row = dict[str, Any] | str


class SourceError(ValueError):
    """A file cannot be read as what its name says. The message says why."""


class Place(NamedTuple):
    """Where a record begins: at which byte, and in which line. Of Parquet both count rows."""

    offset: int  # from 0
    line: int  # from 1


class Record(NamedTuple):
    """A record, or what is wrong with it."""

    place: Place
    row: Row | ServiceError


class Source(ABC):
    """A file's records, in order. Reading raises SourceError, and OSError."""

    columns: Sequence[str] | None = None  # where all records have the same

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wanted: Collection[str] | None = None  # columns that matter; None: all

    @abstractmethod
    def places(self) -> Iterator[Place]:
        """Where each record begins."""

    @abstractmethod
    def records(self, begin: Place) -> Iterator[Record]:
        """The records from one that begins there."""


@dataclass(frozen=True)
class Survey:
    """What a file holds, and where in it each shard of `shard_rows` rows begins."""

    sha256: str
    rows: int
    shard_rows: int
    begins: list[Place]

    def size(self, shard: int) -> int:
        """Rows of a shard: the last one may have fewer."""
        return min(self.shard_rows, self.rows - shard * self.shard_rows)


def open_source(path: Path) -> Source:
    """By the suffix of its name. Raises SourceError, and OSError where it cannot be opened."""
    path.open("rb").close()
    match path.suffix.lower():
        case ".jsonl":
            return JsonLines(path)
        case ".csv":
            return Csv(path)
        case ".parquet":
            return Parquet(path)
    raise SourceError(f"{path}: expected a file named *.jsonl, *.csv or *.parquet")


def survey(source: Source, shard_rows: int) -> Survey:
    """Reads a file once to its end."""
    rows, begins = 0, []
    for place in source.places():
        if rows % shard_rows == 0:
            begins.append(place)
        rows += 1
    with source.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Survey(sha256, rows, shard_rows, begins)


class JsonLines(Source):
    """An object a line, or a text; empty lines are passed over."""

    def places(self) -> Iterator[Place]:
        return (place for place, _ in self._lines(Place(0, 1)))

    def records(self, begin: Place) -> Iterator[Record]:
        for place, line in self._lines(begin):
            try:
                yield Record(place, _json_row(line))
            except ServiceError as error:
                yield Record(place, error)

    def _lines(self, begin: Place) -> Iterator[tuple[Place, bytes | None]]:
        """None for a line that is too long."""
        with self.path.open("rb") as file:
            lines = Lines(file, begin)
            place = begin
            for line in lines:
                if line is None or line.strip():
                    yield place, line
                place = lines.place


class Csv(Source):
    """Rows of texts below a header; empty lines are passed over. A quoted cell may span lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            lines = Lines(file, Place(0, 1))
            try:
                header = next(csv.reader(_texts(lines), strict=True), [])
            except (csv.Error, ServiceError) as error:
                raise SourceError(f"{path}, line 1: no header of a CSV file ({error})") from error
            self._begin = lines.place
        self.columns = header
        if not all(map(str.strip, header)) or len(set(header)) != len(header):
            raise SourceError(f"{path}, line 1: a column has no name, or another's")

    def places(self) -> Iterator[Place]:
        return (record.place for record in self.records(self._begin))

    def records(self, begin: Place) -> Iterator[Record]:
        with self.path.open("rb") as file:
            lines = Lines(file, begin)
            while True:
                place = lines.place
                try:
                    # a reader for each record: none goes on after an error of the lines
                    cells = next(csv.reader(_texts(lines), strict=True))
                    if cells:
                        yield Record(place, self._row(cells))
                except StopIteration:
                    return
                except csv.Error as error:
                    last = lines.place.line - 1
                    spanned = f", which ends in line {last}" if last > place.line else ""
                    yield Record(place, InvalidInput(f"not a row of CSV{spanned}: {error}"))
                except ServiceError as error:
                    yield Record(place, error)

    def _row(self, cells: list[str]) -> Row:
        """An empty cell is None."""
        assert self.columns is not None
        if len(cells) != len(self.columns):
            raise InvalidInput(
                f"{len(cells)} values, but the header names {len(self.columns)} columns"
            )
        return {name: cell or None for name, cell in zip(self.columns, cells, strict=True)}


class Parquet(Source):
    """Rows of a Parquet file. Needs pyarrow."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise SourceError(
                f"{path}: Parquet needs pyarrow; install Duet's extra batch: pip install '.[batch]'"
            ) from error
        self._open, self._errors = parquet.ParquetFile, (pyarrow.ArrowException, OSError)
        try:
            with self._open(path) as file:
                self.columns = file.schema_arrow.names
                groups = range(file.metadata.num_row_groups)
                self._groups = [file.metadata.row_group(group).num_rows for group in groups]
        except self._errors as error:
            raise self._unreadable(error) from error

    def places(self) -> Iterator[Place]:
        return (Place(row, row + 1) for row in range(sum(self._groups)))

    def records(self, begin: Place) -> Iterator[Record]:
        first, row = 0, 0
        while first < len(self._groups) and row + self._groups[first] <= begin.offset:
            row += self._groups[first]
            first += 1
        try:
            with self._open(self.path, buffer_size=BUFFER_BYTES) as file:
                for batch in file.iter_batches(
                    BATCH_ROWS,
                    row_groups=range(first, len(self._groups)),
                    columns=[name for name in self.columns or () if self._matters(name)],
                ):
                    wanted = batch.slice(max(0, begin.offset - row))
                    row += batch.num_rows - wanted.num_rows
                    for content in _python_rows(wanted):
                        yield Record(Place(row, row + 1), content)
                        row += 1
        except self._errors as error:
            raise self._unreadable(error) from error

    def _matters(self, column: str) -> bool:
        return self.wanted is None or column in self.wanted

    def _unreadable(self, error: Exception) -> SourceError:
        reason = getattr(error, "strerror", None) or error
        return SourceError(f"{self.path}: cannot be read as Parquet ({reason})")


class Lines:
    """The lines of a file as bytes; None for one of more than MAX_LINE_BYTES, which is not kept."""

    def __init__(self, file: BinaryIO, begin: Place) -> None:
        file.seek(begin.offset)
        self._file = file
        self.place = begin  # of the next line

    def __iter__(self) -> Iterator[bytes | None]:
        while line := self._file.readline(MAX_LINE_BYTES + 1):
            size, part = len(line), line
            while len(part) > MAX_LINE_BYTES and not part.endswith(b"\n"):
                part = self._file.readline(MAX_LINE_BYTES + 1)
                size += len(part)
            if self.place.offset == 0:
                line = line.removeprefix(b"\xef\xbb\xbf")  # UTF-8's byte order mark
            self.place = Place(self.place.offset + size, self.place.line + 1)
            yield line if size <= MAX_LINE_BYTES else None


def _texts(lines: Lines) -> Iterator[str]:
    for line in lines:
        yield _text(line)


def _text(line: bytes | None) -> str:
    if line is None:
        raise InvalidInput(f"the line has more than {MAX_LINE_BYTES} bytes")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"not UTF-8 at byte {error.start} of the line") from error


def _json_row(line: bytes | None) -> Row:
    text = _text(line)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"not JSON: {unreadable(error)}") from error
    if not isinstance(row, dict | str):
        raise InvalidInput(f"expected an object or a string, got {kind_of(row)}")
    return row


def _python_rows(batch: Any) -> Iterator[Row | ServiceError]:
    try:
        rows: list[Row | ServiceError] = batch.to_pylist()
    except UnicodeDecodeError:  # pyarrow does not look when it reads
        rows = [_python_row(batch.slice(row, 1)) for row in range(batch.num_rows)]
    yield from rows


def _python_row(batch: Any) -> Row | ServiceError:
    try:
        (row,) = batch.to_pylist()
    except UnicodeDecodeError as error:
        return InvalidInput(f"a text is not UTF-8 at its byte {error.start}")
    return row  # type: ignore[no-any-return]
