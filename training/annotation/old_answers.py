"""Reads OUT.answers.jsonl, where Duet kept answers before it had the answer store."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from training.annotation.answer_store import StoreError
from training.annotation.completion import Completion

log = logging.getLogger("duet.teacher")


@dataclass(frozen=True)
class _Line:
    key: str
    answer: Completion | None  # None: ask again


_LINE = TypeAdapter(_Line)


def read_old_answers(path: Path) -> Iterator[tuple[str, Completion | None]]:
    """Yields keys and completions in order; nothing if the file does not exist.

    Leaves out an incomplete last line. Raises StoreError for any other invalid line.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = _LINE.validate_json(line)
            except ValidationError as error:
                if not line.endswith(b"\n"):
                    log.warning("%s: the last line, %d, is cut off: left out", path, number)
                    break
                raise StoreError(
                    f"{path}, line {number}: not a teacher's answer; remove the line to lose that "
                    "answer alone, or choose another --out"
                ) from error
            yield entry.key, entry.answer
    log.info("%s: copied into the new store of answers", path)
