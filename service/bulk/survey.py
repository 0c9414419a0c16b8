"""What a file of rows holds, and where in it each shard begins."""

import hashlib
from dataclasses import dataclass

from tasks.row_files import Place, RowFile


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
