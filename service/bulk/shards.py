"""The output folder: the job that it belongs to, and its shards, which are always complete."""

import json
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from service.bulk.survey import Survey
from tasks.durable_files import PARTIAL, open_locked, replace_text, replacing

MANIFEST = "manifest.json"
LOCK = ".lock"

Run = dict[str, dict[str, Any]]  # facts about input, model and settings; `source` is a path


class OutputError(ValueError):
    """The folder belongs to another job. The message says what to do."""


@dataclass
class Tally:
    """How many rows were answered, the errors by type, and the first line with an error."""

    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    first_error: int | None = None  # line

    def count(self, record: bytes) -> None:
        self.rows += 1
        if b'"error_type":' in record:  # a text may hold this, too
            content = json.loads(record)
            if "error_type" in content:
                self.errors[content["error_type"]] += 1
                self.first_error = min(self.first_error or content["line"], content["line"])

    def add(self, other: Self) -> None:
        self.rows += other.rows
        self.errors += other.errors
        lines = [line for line in (self.first_error, other.first_error) if line is not None]
        self.first_error = min(lines, default=None)


class Output:
    """A folder of shards. As a context manager, it locks the folder: only one job writes to it.

    A shard gets its name when it is complete and on the disk. So every shard with its name is
    finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        """Raises OutputError if another job has it locked."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = open_locked(self.folder / LOCK)
        except BlockingIOError as error:
            raise OutputError(f"--output: another job is writing to {self.folder}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def claim(self, run: Run, force: bool) -> None:
        """Makes the folder this run's. With `force`, the shards of another run are removed.

        Raises OutputError if it holds shards of another run.
        """
        if any(self.folder.glob("part-*.jsonl")) and (changes := self._changes(run)):
            if not force:
                raise OutputError(
                    f"--output: {self.folder} belongs to another job: {'; '.join(changes)}. "
                    "Choose another folder, or remove its shards with --force"
                )
            for path in self.folder.glob("part-*.jsonl"):
                path.unlink()
        for path in self.folder.glob(f"*{PARTIAL}"):
            path.unlink()
        self.write_manifest(run)

    def write_manifest(self, content: dict[str, Any]) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        replace_text(self.folder / MANIFEST, f"{text}\n")

    def finished(self, survey: Survey) -> dict[int, Tally]:
        """The finished shards, each with its tally. Raises OutputError if one was changed."""
        found = {}
        for shard in range(len(survey.begins)):
            path = self._path(shard)
            if path.is_file():
                tally = Tally()
                with path.open("rb") as file:
                    for record in file:
                        tally.count(record)
                if tally.rows != survey.size(shard):
                    raise OutputError(
                        f"{path}: was changed: it has {tally.rows} records, but should have "
                        f"{survey.size(shard)}; remove it and give the same command again"
                    )
                found[shard] = tally
        return found

    def writing(self, shard: int) -> AbstractContextManager[BinaryIO]:
        """A file that takes the shard's name when the block ends without an exception."""
        return replacing(self._path(shard))

    def _path(self, shard: int) -> Path:
        return self.folder / f"part-{shard:05}.jsonl"

    def _changes(self, run: Run) -> list[str]:
        path = self.folder / MANIFEST
        try:
            before: Run = json.loads(path.read_bytes())
            return [
                f"{part}.{name}: {json.dumps(before[part].get(name))} → {json.dumps(value)}"
                for part, facts in run.items()
                for name, value in facts.items()
                if name != "source" and before[part].get(name) != value
            ]
        except (OSError, ValueError, LookupError, TypeError) as error:
            return [f"{path} cannot be read ({error})"]
