"""The files of an evaluation: `predictions.jsonl` has the records, `run.json` their origin."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.durable_files import open_locked, replace_text
from training.evaluation.labelled import WARNING
from training.evaluation.record import Record
from training.run.differences import differences

PREDICTIONS = "predictions.jsonl"
RUN = "run.json"

Run = dict[str, dict[str, str]]  # facts of the `model` and of the `data`; `source` is their place
_NO_IDENTITY = ("source", WARNING)


class OutputError(ValueError):
    """A folder holds another evaluation, or a damaged one. The message says what to do."""


class Predictions:
    """The records in a folder. A context manager, for one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PREDICTIONS
        self._run = folder / RUN

    def __enter__(self) -> "Predictions":
        """Locks the folder. Raises OutputError where another process writes to it."""
        try:
            self._file = open_locked(self.path)
        except BlockingIOError as error:
            raise OutputError(f"{self.path}: another evaluation is writing it") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def claim(self, run: Run, force: bool) -> None:
        """Makes the folder this run's. With `force`, the records of another run are deleted.

        Without it, raises OutputError where the records are of another model or of other rows.
        """
        if self._file.seek(0, 2) and (changes := self._changes(run)):
            if not force:
                raise OutputError(
                    f"--out: {self.path} is of another evaluation: {'; '.join(changes)}. "
                    "Choose another folder, or start again with --force"
                )
            self._file.truncate(0)
        replace_text(self._run, json.dumps(run, indent=2) + "\n")

    def keep_whole(self, multiple: int, total: int) -> int:
        """The number of records that are kept: all (`total`), or a multiple of `multiple`.

        Deletes an unfinished last line of a killed process, and the lines after the multiple.
        """
        ends = [0]
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n") or not _is_record(line):
                break
            ends.append(ends[-1] + len(line))
        kept = len(ends) - 1
        if kept != total:
            kept = kept // multiple * multiple
        self._file.truncate(ends[kept])
        return kept

    def append(self, record: Record) -> None:
        line = json.dumps(asdict(record), ensure_ascii=False)
        self._file.write(f"{line}\n".encode())
        self._file.flush()

    def _changes(self, run: Run) -> list[str]:
        try:
            before = json.loads(self._run.read_bytes())
            return differences(_facts(before), _facts(run))
        except (OSError, ValueError, AttributeError) as error:
            return [f"{self._run} cannot be read ({error})"]


def read_predictions(folder: Path) -> Iterator[Record]:
    """The records of a finished evaluation. Raises OutputError where a line is no record."""
    path = folder / PREDICTIONS
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Record(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise OutputError(
                    f"{path}, line {number}: not a record ({error}); evaluate again"
                ) from error


def read_run(folder: Path) -> Run:
    """The facts of an evaluation's model and rows."""
    run: Run = json.loads((folder / RUN).read_bytes())
    return run


def _facts(run: Run) -> dict[str, dict[str, Any]]:
    return {
        part: {name: value for name, value in facts.items() if name not in _NO_IDENTITY}
        for part, facts in run.items()
    }


def _is_record(line: bytes) -> bool:
    try:
        Record(**json.loads(line))
    except (ValueError, TypeError):
        return False
    return True
