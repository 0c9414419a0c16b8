"""The rows that a teacher is asked about."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from tasks.task import Task
from training.data.files import READERS, Format
from training.data.load import RowReader
from training.data.row import DataError, Row
from training.data.sources import Columns


@dataclass(frozen=True)
class SourceRow:
    """A row as its file has it, and as it is read."""

    record: dict[str, Any]
    row: Row


@dataclass(frozen=True)
class Rows:
    """The rows of a file, read anew each time they are gone through.

    With `labelled`, they must have a column of labels, which may be null.
    """

    path: Path
    task: Task
    columns: Columns
    labelled: bool
    limit: int | None

    def __iter__(self) -> Iterator[SourceRow]:
        """Yields the first `limit` rows. Raises DataError."""
        kind = self.path.suffix.removeprefix(".")
        if kind not in READERS:
            raise DataError(f"{self.path}: expected a file named *.{', *.'.join(get_args(Format))}")
        reader = RowReader(self.task, self.columns)
        for place, record in islice(READERS[kind](self.path), self.limit):
            yield SourceRow(record, reader.read(place, record, labelled=self.labelled))
