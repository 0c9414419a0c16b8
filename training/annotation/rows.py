"""The rows that a teacher is asked about."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tasks.columns import Columns
from tasks.task import Task
from training.data.files import read_rows
from training.data.row import Row
from training.data.row_reader import RowReader


@dataclass(frozen=True)
class SourceRow:
    """A row: its values by column, as in its file, and the row that was read from them."""

    values: dict[str, Any]
    row: Row


@dataclass(frozen=True)
class Rows:
    """The rows of a file. Each iteration reads the file again.

    With `labelled`, the file must have a column of labels, whose values may be null.
    """

    path: Path
    task: Task
    columns: Columns
    labelled: bool
    limit: int | None

    def __iter__(self) -> Iterator[SourceRow]:
        """Yields the first `limit` rows. Raises DataError."""
        reader = RowReader(self.task, self.columns)
        for place, values in islice(read_rows(self.path), self.limit):
            yield SourceRow(values, reader.read(place, values, labelled=self.labelled))
