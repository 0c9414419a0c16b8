"""Reads OUT.answers.jsonl, in which Duet kept answers before it had a store of them."""

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
    answer: Completion | None  # None: to be asked for again


_LINE = TypeAdapter(_Line)


def read_old_answers(path: Path) -> Iterator[tuple[str, Completion | None]]:
    """Yields keys and completions, in order, and nothing where there is no such file.

    Leaves out a last line that was cut off. Raises StoreError for any other line that is wrong.
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
                    f"{path}, line {number}: no answer of a teacher; remove the line to lose that "
                    "answer alone, or choose another --out"
                ) from error
            yield entry.key, entry.answer
    log.info("%s: copied into the new store of answers", path)
