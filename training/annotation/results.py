"""What came of every row: the annotated ones and the failed ones, each in a file of JSON lines."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from training.annotation.answer import Annotation
from training.annotation.dialogue import Dialogue, Failure, Request
from training.annotation.journal import Journal
from training.annotation.rows import SourceRow
from training.annotation.vote import Consensus, vote
from training.sources import Columns
from training.tasks import Task


@dataclass(frozen=True)
class Result:
    """What came of a row; None where it was not asked about yet."""

    source: SourceRow
    outcome: Consensus | Failure | None


def results(
    sources: Iterable[SourceRow],
    task: Task,
    samples: int,
    dialogue: Dialogue,
    journal: Journal,
    unanswered: Mapping[str, str],
) -> Iterator[Result]:
    """The result of each row, in order, by the journal alone.

    `unanswered` tells, by a request's key, why there is no answer.
    """
    for source in sources:
        found: list[Annotation | Failure] = []
        for sample in range(samples):
            last = dialogue.steps(source.row, sample, journal.get)[-1]
            if isinstance(last, Request):
                if last.key not in unanswered:
                    break
                last = Failure(f"unanswered: {unanswered[last.key]}", None)
            found.append(last)
        yield Result(source, vote(found, task) if len(found) == samples else None)


class ResultFiles:
    """Writes the annotated rows to `out`, the failed ones beside it; both replaced as wholes.

    An annotated row is what its file had, and `teacher_label`, `rationale` (several as a list),
    `agreement` where several samples voted, and `label_given`, which is true where the teacher was
    told the label: such a row has no label of the teacher's. Names are as `columns` maps them.
    """

    def __init__(self, out: Path, columns: Columns, samples: int, *, label_given: bool) -> None:
        self.failed_path = out.with_suffix(".failed.jsonl")
        self._out, self._samples, self._label_given = out, samples, label_given
        self._names = {
            name: column
            for name in ("teacher_label", "rationale")
            if isinstance(column := columns.get(name, name), str)
        }

    @contextmanager
    def writing(self, found: Iterable[Result]) -> Iterator[Iterator[Result]]:
        """Passes the results on as they are written; what is not asked about is left out."""
        with _replaced(self._out) as annotated, _replaced(self.failed_path) as failed:

            def each() -> Iterator[Result]:
                for result in found:
                    if isinstance(result.outcome, Consensus):
                        _write(annotated, self._annotated(result.source, result.outcome))
                    elif isinstance(result.outcome, Failure):
                        _write(failed, _failed(result.source, result.outcome))
                    yield result

            yield each()

    def _annotated(self, source: SourceRow, found: Consensus) -> dict[str, Any]:
        rationales = found.rationales
        record = source.record | {
            self._names["rationale"]: rationales[0] if len(rationales) == 1 else [*rationales]
        }
        if self._label_given:
            record.pop(self._names["teacher_label"], None)
        else:
            record[self._names["teacher_label"]] = found.label
        if self._samples > 1:
            record["agreement"] = round(found.agreement, 4)
        return record | {"label_given": self._label_given}


def _failed(source: SourceRow, failure: Failure) -> dict[str, Any]:
    return source.record | {"failed": {"reason": failure.reason, "answer": failure.answer}}


def _write(file: TextIO, record: dict[str, Any]) -> None:
    file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """A file that takes the place of another one when it is whole and on the disk."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
