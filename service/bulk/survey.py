"""Surveys a file of rows: its hash, its number of rows, and where each shard begins."""

import hashlib
from dataclasses import dataclass

from tasks.row_files import Place, RowFile


@dataclass(frozen=True)
class Survey:
    """The hash and the number of rows of a file, and where each shard of `shard_rows` begins."""

    sha256: str
    rows: int
    shard_rows: int
    begins: list[Place]

    def size(self, shard: int) -> int:
        """The number of rows of a shard. The last shard may have fewer."""
        return min(self.shard_rows, self.rows - shard * self.shard_rows)


def survey(file: RowFile, shard_rows: int) -> Survey:
    """Reads a file once to its end. Raises RowFileError, OSError."""
    rows, begins = 0, []
    for place in file.places():
        if rows % shard_rows == 0:
            begins.append(place)
        rows += 1
    with file.path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return Survey(sha256, rows, shard_rows, begins)
