"""The journal: every answer that was paid for, appended the moment it comes, and kept."""

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

log = logging.getLogger("duet.teacher")


class JournalError(ValueError):
    """A file is no journal of answers, or another process writes it. The message says which."""


@dataclass(frozen=True)
class Answer:
    """What came back of one request.

    `refused` is why the endpoint would not take it, in place of a text. Tokens are as the endpoint
    counted them, or guessed from the lengths of the texts where it did not.
    """

    text: str | None
    finish_reason: str | None = None
    model: str | None = None  # as the endpoint calls itself
    refused: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_guessed: bool = False


@dataclass(frozen=True)
class _Entry:
    key: str
    answer: Answer | None  # None: to be asked again


_ENTRIES = TypeAdapter(_Entry)
_BEGINNING = b'{"key": "'  # of every line


@dataclass
class Spent:
    """What all requests of a journal came to, those included that were asked again."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_guessed: bool = False

    def add(self, answer: Answer) -> None:
        self.requests += 1
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens
        self.tokens_guessed |= answer.tokens_guessed


class Journal:
    """A file of JSON lines, one for each answer, by the key of its request.

    A context, of one process at a time. Texts stay in the file, only their places in memory. A last
    line that a killed process left half written is cut off, and said. Raises JournalError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spent = Spent()
        self._places: dict[str, tuple[int, int]] = {}  # offset and length, in bytes
        self._written = self._synced = 0  # answers of this run
        self._syncing = asyncio.Lock()

    def __enter__(self) -> Self:
        self._file = self.path.open("a+b", buffering=0)
        try:
            self._lock()
            self._read()
            _sync_folder(self.path.parent)  # or a new file might be lost with all that it holds
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # which unlocks it, as the death of the process does

    def get(self, key: str) -> Answer | None:
        """The answer to a request, None where there is none yet."""
        if key not in self._places:
            return None
        offset, length = self._places[key]
        return _ENTRIES.validate_json(os.pread(self._file.fileno(), length, offset)).answer

    async def append(self, key: str, answer: Answer) -> None:
        """Keeps an answer; it is on the disk when this returns."""
        self._places[key] = self._write(_Entry(key, answer))
        self.spent.add(answer)
        self._written += 1
        mine = self._written
        async with self._syncing:
            if self._synced < mine:  # or the one before took this answer along
                written = self._written
                await asyncio.to_thread(os.fsync, self._file.fileno())
                self._synced = written

    def forget(self, keys: Iterable[str]) -> None:
        """Lets requests be made again; what they cost stays counted."""
        for key in keys:
            self._write(_Entry(key, None))
            del self._places[key]
        os.fsync(self._file.fileno())

    def _write(self, entry: _Entry) -> tuple[int, int]:
        line = json.dumps(asdict(entry), ensure_ascii=True).encode() + b"\n"
        offset = self._file.seek(0, os.SEEK_END)
        written = self._file.write(line)
        if written != len(line):  # the disk is full
            self._file.truncate(offset)
            raise JournalError(f"{self.path}: {written} of {len(line)} bytes could be written")
        return offset, len(line)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(f"{self.path}: another process is writing it") from error

    def _read(self) -> None:
        offset, size = 0, self._file.seek(0, os.SEEK_END)
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    entry = _ENTRIES.validate_json(line)
                except ValidationError as error:
                    cut = number > 1 or _BEGINNING.startswith(line[: len(_BEGINNING)])
                    if offset + len(line) < size or not cut:
                        raise JournalError(
                            f"{self.path}, line {number}: no answer of a teacher; remove the line "
                            "to lose that answer alone, or choose another --out"
                        ) from error
                    log.warning(
                        "%s: the last line, %d, is no whole answer, and was dropped",
                        self.path,
                        number,
                    )
                    self._file.truncate(offset)
                    return
                if entry.answer is None:
                    self._places.pop(entry.key, None)
                else:
                    self._places[entry.key] = (offset, len(line))
                    self.spent.add(entry.answer)
                offset += len(line)
                if not line.endswith(b"\n"):  # the last one
                    self._file.write(b"\n")
                    return


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
