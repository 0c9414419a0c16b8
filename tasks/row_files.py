"""Files of rows: JSON lines, CSV and Parquet, read as a stream from any row on.

A bad row becomes an error in its place; the other rows are read.
"""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, get_args

from tasks.json_errors import why_unreadable

BATCH_ROWS: Final = 256  # of Parquet, decoded at once
BUFFER_BYTES: Final = 2**20  # of a column of Parquet, read at once
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
OTHER_SEPARATORS: Final = {";": "';'", "\t": "tabs", "|": "'|'"}  # of files that are called CSV

Format = Literal["jsonl", "csv", "parquet"]  # each is also the suffix of a file's name


class RowFileError(ValueError):
    """A file cannot be read in the format of its name. The message has the file and the reason."""


class RowError(ValueError):
    """A row cannot be read. The message is the reason, without the row's place."""


class NotJson(RowError):
    """A line is not JSON."""


class Place(NamedTuple):
    """Where a row begins: its byte and its line. In Parquet, both count rows."""

    offset: int  # from 0
    line: int  # from 1


class FileRow(NamedTuple):
    """A row of a file. JSON lines hold any value; other files, an object by column."""

    place: Place
    content: Any  # or a RowError


class RowFile(ABC):
    """A file's rows, in order. Reading raises RowFileError and OSError."""

    unit: str = "line"  # what `Place.line` counts
    begin = Place(0, 1)  # of the first row
    columns: Sequence[str] | None = None  # None: each row has its own

    def __init__(self, path: Path, max_line_bytes: int | None = None) -> None:
        """A line longer than `max_line_bytes` becomes a RowError, and is not kept in memory.

        Raises RowFileError. Raises OSError if the file cannot be opened.
        """
        path.open("rb").close()
        self.path = path
        self.wanted: Collection[str] | None = None  # only these columns are needed; None: all
        self._max_line_bytes = max_line_bytes

    def places(self) -> Iterator[Place]:
        """Where each row begins."""
        return (row.place for row in self.rows())

    @abstractmethod
    def rows(self, begin: Place | None = None) -> Iterator[FileRow]:
        """The rows from a place on; without a place, all rows."""

    def _lines(self, file: BinaryIO, begin: Place | None) -> "_Lines":
        return _Lines(file, begin or self.begin, self._max_line_bytes)

    def _text(self, line: bytes | None) -> str:
        if line is None:
            raise RowError(f"the line has more than {self._max_line_bytes} bytes")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise RowError(f"not UTF-8 at byte {error.start} of the line") from error


def open_rows(
    path: Path, file_format: Format | None = None, max_line_bytes: int | None = None
) -> RowFile:
    """A file of rows. Without `file_format`, the suffix of the name gives the format.

    Raises RowFileError. Raises OSError if the file cannot be opened.
    """
    match file_format or path.suffix.lower().removeprefix("."):
        case "jsonl":
            return JsonLines(path, max_line_bytes)
        case "csv":
            return Csv(path, max_line_bytes)
        case "parquet":
            return Parquet(path)
    *names, last = (f"*.{name}" for name in get_args(Format))
    raise RowFileError(f"{path}: expected a file named {', '.join(names)} or {last}")


class JsonLines(RowFile):
    """A JSON value a line. Empty lines are passed over."""

    def places(self) -> Iterator[Place]:
        return (place for place, _ in self._filled_lines(None))

    def rows(self, begin: Place | None = None) -> Iterator[FileRow]:
        for place, line in self._filled_lines(begin):
            yield FileRow(place, self._value(line))

    def _value(self, line: bytes | None) -> Any:
        try:
            return json.loads(self._text(line))
        except RowError as error:
            return error
        except (ValueError, RecursionError) as error:
            return NotJson(f"not JSON: {why_unreadable(error)}")

    def _filled_lines(self, begin: Place | None) -> Iterator[tuple[Place, bytes | None]]:
        with self.path.open("rb") as file:
            lines = self._lines(file, begin)
            place = lines.place
            for line in lines:
                if line is None or line.strip():
                    yield place, line
                place = lines.place


class Csv(RowFile):
    """Rows of texts below a header. An empty cell is None. Empty lines are skipped.

    A quoted cell may span lines.
    """

    def __init__(self, path: Path, max_line_bytes: int | None = None) -> None:
        super().__init__(path, max_line_bytes)
        try:
            header, self.begin = self._header(",")
        except (csv.Error, RowError) as error:
            self._check_separator()
            raise RowFileError(f"{path}, line 1: no header of a CSV file ({error})") from error
        if len(header) == 1:
            self._check_separator()
        if not all(map(str.strip, header)) or len(set(header)) != len(header):
            raise RowFileError(f"{path}, line 1: a column has no name, or two have the same name")
        self.columns = header

    def _header(self, separator: str) -> tuple[list[str], Place]:
        with self.path.open("rb") as file:
            lines = self._lines(file, RowFile.begin)
            texts = map(self._text, lines)
            return next(csv.reader(texts, delimiter=separator, strict=True), []), lines.place

    def _check_separator(self) -> None:
        """Raises RowFileError if another character than a comma separates the header's names."""
        for separator, name in OTHER_SEPARATORS.items():
            with suppress(csv.Error, RowError):
                if len(self._header(separator)[0]) > 1:
                    raise RowFileError(
                        f"{self.path}, line 1: columns are separated by {name}; "
                        "write the file with ',' between them"
                    )

    def rows(self, begin: Place | None = None) -> Iterator[FileRow]:
        # the standard library's reader: pyarrow and pandas do not give the line of a row
        with self.path.open("rb") as file:
            lines = self._lines(file, begin)
            texts = map(self._text, lines)
            reader = csv.reader(texts, strict=True)
            while True:
                place = lines.place
                content: dict[str, str | None] | RowError | None = None
                try:
                    if cells := next(reader):
                        content = self._content(cells)
                except StopIteration:
                    return
                except csv.Error as error:
                    last = lines.place.line - 1
                    spanned = f", which ends in line {last}" if last > place.line else ""
                    content = RowError(f"not a row of CSV{spanned}: {error}")
                except RowError as error:
                    content = error
                if content is not None:
                    yield FileRow(place, content)
                if isinstance(content, RowError):
                    reader = csv.reader(texts, strict=True)  # forgets the bad row

    def _content(self, cells: list[str]) -> dict[str, str | None]:
        assert self.columns is not None
        if len(cells) != len(self.columns):
            values = f"{len(cells)} value{'s' * (len(cells) > 1)}"
            columns = f"{len(self.columns)} column{'s' * (len(self.columns) > 1)}"
            raise RowError(f"{values}, but the header names {columns}")
        return {name: cell or None for name, cell in zip(self.columns, cells, strict=True)}


class Parquet(RowFile):
    """The rows of a Parquet file. Needs pyarrow."""

    unit = "row"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise RowFileError(
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

    def rows(self, begin: Place | None = None) -> Iterator[FileRow]:
        offset = (begin or self.begin).offset
        first, row = 0, 0
        while first < len(self._groups) and row + self._groups[first] <= offset:
            row += self._groups[first]
            first += 1
        try:
            with self._open(self.path, buffer_size=BUFFER_BYTES) as file:
                for batch in file.iter_batches(
                    BATCH_ROWS,
                    row_groups=range(first, len(self._groups)),
                    columns=[name for name in self.columns or () if self._matters(name)],
                ):
                    wanted = batch.slice(max(0, offset - row))
                    row += batch.num_rows - wanted.num_rows
                    for content in _contents(wanted):
                        yield FileRow(Place(row, row + 1), content)
                        row += 1
        except self._errors as error:
            raise self._unreadable(error) from error

    def _matters(self, column: str) -> bool:
        return self.wanted is None or column in self.wanted

    def _unreadable(self, error: Exception) -> RowFileError:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        return RowFileError(f"{self.path}: cannot be read as Parquet ({reason})")


class _Lines:
    """The lines of a file as bytes; None for a line that is too long."""

    def __init__(self, file: BinaryIO, begin: Place, max_bytes: int | None) -> None:
        file.seek(begin.offset)
        self._file, self._max_bytes = file, max_bytes
        self.place = begin  # of the next line

    def __iter__(self) -> Iterator[bytes | None]:
        most = -1 if self._max_bytes is None else self._max_bytes + 1
        while line := self._file.readline(most):
            size, part = len(line), line
            while len(part) == most and not part.endswith(b"\n"):
                part = self._file.readline(most)
                size += len(part)
            if self.place.offset == 0:
                line = line.removeprefix(BYTE_ORDER_MARK)
            self.place = Place(self.place.offset + size, self.place.line + 1)
            yield line if self._max_bytes is None or size <= self._max_bytes else None


def _contents(batch: Any) -> Iterator[Any]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # pyarrow does not check when it reads
        yield from (_content(batch.slice(row, 1)) for row in range(batch.num_rows))


def _content(batch: Any) -> Any:
    try:
        (row,) = batch.to_pylist()
    except UnicodeDecodeError as error:
        return RowError(f"a text is not UTF-8 at its byte {error.start}")
    return row
