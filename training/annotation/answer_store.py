"""The answer store: an SQLite file that keeps every paid completion as soon as it comes."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Self

from training.annotation.completion import Completion

APPLICATION = 0x44554554  # "DUET", in the file's header
VERSION = 1  # of the table

Answers = Iterable[tuple[str, Completion | None]]  # by key; None forgets the key's completion

_COLUMNS = ", ".join(field.name for field in fields(Completion))
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE completions (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    forgotten INTEGER NOT NULL DEFAULT 0,
    {_COLUMNS}
);
CREATE UNIQUE INDEX current ON completions (key) WHERE NOT forgotten;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
_MARKS = ", ".join("?" for _ in fields(Completion))
_INSERT = f"INSERT INTO completions (key, {_COLUMNS}) VALUES (?, {_MARKS})"
_SELECT = f"SELECT {_COLUMNS} FROM completions WHERE key = ? AND NOT forgotten"
_FORGET = "UPDATE completions SET forgotten = 1 WHERE key = ? AND NOT forgotten"
_SPENT = """
SELECT count(*), total(input_tokens), total(output_tokens), max(tokens_guessed) FROM completions
"""


_PROBLEMS = {
    sqlite3.SQLITE_BUSY: "another process is writing it",
    sqlite3.SQLITE_FULL: "the disk is full; all answers before are kept",
    sqlite3.SQLITE_NOTADB: "not a store of answers; move it away or choose another file",
}


class StoreError(ValueError):
    """The file cannot be used. The message names it and says why, and what to do."""


@dataclass
class Spent:
    """The tokens of all completions in a store, including the forgotten ones."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_guessed: bool = False

    def add(self, completion: Completion) -> None:
        self.requests += 1
        self.input_tokens += completion.input_tokens
        self.output_tokens += completion.output_tokens
        self.tokens_guessed |= completion.tokens_guessed


class AnswerStore:
    """Completions in a file, by the key of their request. A context manager, for one process.

    A completion is on the disk when `keep` returns. The file has a write-ahead log
    (journal_mode=WAL), and each commit waits for its fsync (synchronous=FULL). SQLite's other
    journals need two or more fsyncs for a commit. SQLite removes the half-written data of a killed
    process at the next start.

    The lock is held until the end (locking_mode=EXCLUSIVE) and ends with the process. So SQLite
    needs no shared memory beside the file. Raises StoreError.
    """

    def __init__(self, path: Path, earlier: Answers = ()) -> None:
        """Opens the file. A new file begins with the answers `earlier`."""
        self.path = path
        self.spent = Spent()
        self._earlier = earlier

    def __enter__(self) -> Self:
        with self._errors():
            self._connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            with self._errors():
                self._open()
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, key: str) -> Completion | None:
        """The completion of a request, or None if it has none."""
        with self._errors():
            row = self._connection.execute(_SELECT, (key,)).fetchone()
        if row is None:
            return None
        text, finish_reason, model, refused, asked, answered, guessed = row
        return Completion(text, finish_reason, model, refused, asked, answered, bool(guessed))

    def keep(self, key: str, completion: Completion) -> None:
        """Keeps a completion; it is on the disk when this returns.

        Blocks for an fsync, which takes milliseconds: much less than an endpoint takes to answer.
        """
        with self._errors():
            self._connection.execute(_INSERT, (key, *astuple(completion)))
        self.spent.add(completion)

    def forget(self, keys: Iterable[str]) -> None:
        """Lets requests be made again. Their cost stays counted."""
        with self._errors(), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(_FORGET, [(key,) for key in keys])

    def _open(self) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        [(tables,)] = run("SELECT count(*) FROM sqlite_master")
        [(application,)], [(version,)] = run("PRAGMA application_id"), run("PRAGMA user_version")
        if tables and (application, version) != (APPLICATION, VERSION):
            raise StoreError(
                f"{self.path}: not a store of answers of this version; move it away or choose "
                "another file"
            )
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        if not tables:
            self._create()
        [(problem,)] = run("PRAGMA quick_check(1)")
        if problem != "ok":
            raise StoreError(_damaged(self.path, problem))
        [(requests, asked, answered, guessed)] = run(_SPENT)
        self.spent = Spent(requests, int(asked), int(answered), bool(guessed))

    def _create(self) -> None:
        """Creates the table in one transaction. A process killed meanwhile leaves an empty file."""
        with self._connection:
            self._connection.executescript(_SCHEMA)
            for key, completion in self._earlier:
                self._connection.execute(_FORGET, (key,))
                if completion is not None:
                    self._connection.execute(_INSERT, (key, *astuple(completion)))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its details
            if code == sqlite3.SQLITE_CORRUPT:
                raise StoreError(_damaged(self.path, str(error))) from error
            raise StoreError(f"{self.path}: {_PROBLEMS.get(code, error)}") from error


def _damaged(path: Path, problem: str) -> str:
    return (
        f"{path}: damaged ({' '.join(problem.split())}); restore a copy, try SQLite's .recover, or "
        "move it away and ask everything again"
    )
