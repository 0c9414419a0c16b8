"""Files that survive a killed process: only one writer at a time, and no half-written file."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

PARTIAL: Final = ".part"  # ends the name of a file that is still being written


def open_locked(path: Path) -> BinaryIO:
    """The file, opened to read and to append, and locked until it is closed.

    Creates the file if it is missing. The end of the process unlocks it, even after `kill -9`.
    Raises BlockingIOError if this or another process has locked it already.
    """
    file = path.open("a+b")
    try:
        # the standard library's lock: lock packages need a second file beside this one
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yields a new file that replaces `path` when the block ends.

    The new file is complete and on the disk before it gets the name. If the block raises an
    exception, the old file stays and the new one is removed.
    """
    # a unique name: two processes may replace the same file, and each must write a whole one
    part = path.with_name(f"{path.name}.{uuid4().hex}{PARTIAL}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else the new name may be lost
    finally:
        os.close(folder)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8 and replaces an old one; see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())
