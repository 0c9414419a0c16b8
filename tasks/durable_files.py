"""Files that survive a killed process: one writer at a time, and never half a file."""

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

    The file is made if it is missing. The end of the process unlocks it, even by `kill -9`. Raises
    BlockingIOError where it is locked already, by this process or by another one.
    """
    file = path.open("a+b")
    try:
        # the standard library's: packages of locks take a file of their own beside this one
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends.

    It is whole and on the disk by then. Where the block raises an exception, the old file stays and
    the new one is removed.
    """
    # a name of its own: two processes may write the same file, and each must write a whole one
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
        os.fsync(folder)  # or the new name may be lost
    finally:
        os.close(folder)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, in place of the one that may be there; see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())
